"""A network that learns: its optimizer, its averaged weights, and the run that keeps both."""

import copy
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from training.run import Run, follow, learning_rate

Network = TypeVar("Network", bound=nn.Module)


class Learner(Generic[Network]):
    """Goes on from the newest state of the run, where there is one.

    There the network stands under `name` and its averaged weights (EMA) under `average`, besides
    the `modules` and `optimizers` that learn along with it.
    """

    def __init__(
        self,
        run: Run,
        name: str,
        network: Network,
        weight_decay: float = 0.01,
        modules: Mapping[str, nn.Module] | None = None,
        optimizers: Mapping[str, torch.optim.Optimizer] | None = None,
    ) -> None:
        self.run = run
        self.network = network
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            network.parameters(), weight_decay=weight_decay, betas=(0.9, 0.99), fused=True
        )
        self.modules: dict[str, nn.Module] = {name: network, "average": self.average}
        self.modules |= modules or {}
        self.optimizers: dict[str, torch.optim.Optimizer] = {"optimizer": self.optimizer}
        self.optimizers |= optimizers or {}
        self.start = self.done = run.resume(self.modules, self.optimizers)

    @property
    def sample_path(self) -> Path:
        """Where the samples of the steps done so far belong."""
        return self.run.folder / "samples" / f"{self.done:06}.png"

    def seed(self) -> random.Random:
        """Seed torch, and return Python's numbers: others after every resume."""
        seed = self.run.config["seed"]
        torch.manual_seed(seed + self.start)
        return random.Random(f"{seed} {self.start}")

    def steps(self) -> Iterator[int]:
        """The steps left to do, each with its learning rate set."""
        for step in self.run.steps(self.start):
            rate = learning_rate(step, self.run.part_done(step), self.run.config)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            yield step

    def learn(self, loss: Tensor) -> None:
        """One step down the slope of the loss; the averaged weights follow."""
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.done += 1
        follow(self.average, self.network, self.done, self.run.config["ema_decay"])

    def save(self) -> None:
        self.run.save(self.done, self.modules, self.optimizers)
