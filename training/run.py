"""What every stage shares: where it runs, how it stops and goes on, what it writes down."""

import argparse
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

CONFIGS = Path(__file__).parent / "configs"
RUNS = Path(".darkroom/training")


def read_config(stage: str) -> dict:
    return json.loads((CONFIGS / f"{stage}.json").read_text())


def stage_parser(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--steps", type=int, help="stop after this many steps in all")
    parser.add_argument(
        "--minutes", type=float, help="stop this long after the start at the latest"
    )
    parser.add_argument(
        "--begin-from", metavar="FOLDER", help="begin with what a finished model has learnt"
    )
    return parser


def read_settings(stage: str, arguments: argparse.Namespace) -> dict:
    """The settings of a stage, with what the command line says instead."""
    said = {name: getattr(arguments, name) for name in ("steps", "minutes", "begin_from")}
    return read_config(stage) | {name: value for name, value in said.items() if value is not None}


def choose_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(device: torch.device, enabled: bool = True) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def to_tensor(pictures: np.ndarray, device: torch.device) -> Tensor:
    """Bytes of N x H x W x 3 to floats of N x 3 x H x W in -1..1."""
    tensor = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2)
    return (tensor.float() / 127.5 - 1).contiguous()


def to_pictures(tensor: Tensor) -> np.ndarray:
    pixels = (tensor.float().clamp(-1, 1) + 1) * 127.5
    return pixels.round().byte().permute(0, 2, 3, 1).cpu().numpy()


def save_sheet(path: Path, rows: Iterable[np.ndarray], enlarge: int = 2) -> None:
    """One picture file of several rows of pictures."""
    sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width, _ = sheet.shape
    Image.fromarray(sheet).resize(
        (width * enlarge, height * enlarge), Image.Resampling.NEAREST
    ).save(path)


def learning_rate(step: int, part_done: float, config: dict) -> float:
    """Warm up, hold, then fall linearly to nothing over the last part of the run.

    A run may be made longer or shorter when it is resumed: only the fall depends on its length.
    """
    warm = (step + 1) / config["warmup_steps"]
    fall = (1 - part_done) / config["decay"]
    return config["learning_rate"] * max(0.0, min(1.0, warm, fall))


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, done: int, decay: float) -> None:
    """Move the averaged weights a little towards the newest ones, in the first steps by more."""
    weight = 1 - min(decay, done / (done + 20))
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), weight)


class Run:
    """One stage's folder: its newest state, its losses, its sample sheets."""

    def __init__(self, stage: str, config: dict) -> None:
        self.config = config
        self.minutes = config.get("minutes")
        self.folder = RUNS / stage
        self.folder.mkdir(parents=True, exist_ok=True)
        self.state_path = self.folder / "state.safetensors"
        self.running: dict[str, float] = {}
        self.started = time.monotonic()
        self.seconds_before = 0.0

    @property
    def seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def part_done(self, step: int) -> float:
        """0 to 1, by steps or by this start's minutes, whichever is further."""
        by_time = (time.monotonic() - self.started) / (60 * self.minutes) if self.minutes else 0.0
        return max(step / self.config["steps"], by_time)

    def resume(
        self, modules: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]
    ) -> int:
        """Load the newest state, where there is one; the step to go on from.

        Raises ValueError where the state is that of other modules.
        """
        if not self.state_path.exists():
            return 0
        state = load_file(self.state_path)
        for name, module in modules.items():
            if not (part := select(state, name)):
                raise ValueError(f"{self.state_path} has no {name}: move it away to begin anew")
            module.load_state_dict(part)
        for name, optimizer in optimizers.items():
            load_optimizer(optimizer, select(state, name))
        facts = json.loads(self.state_path.with_suffix(".json").read_text())
        self.seconds_before = facts["seconds"]
        return facts["step"]

    def save(
        self,
        step: int,
        modules: Mapping[str, nn.Module],
        optimizers: Mapping[str, torch.optim.Optimizer],
    ) -> None:
        state: dict[str, Tensor] = {}
        for name, module in modules.items():
            state |= {f"{name}/{key}": value for key, value in module.state_dict().items()}
        for name, optimizer in optimizers.items():
            state |= {f"{name}/{key}": value for key, value in optimizer_tensors(optimizer).items()}
        state = {key: value.detach().contiguous().clone() for key, value in state.items()}
        facts = {"step": step, "seconds": round(self.seconds), "config": self.config}
        newer = self.state_path.with_suffix(".new")
        save_file(state, newer)
        os.replace(newer, self.state_path)
        self.state_path.with_suffix(".json").write_text(json.dumps(facts, indent=2) + "\n")

    def log(self, step: int, losses: dict[str, float], every: int) -> None:
        """Smooth the losses and write them down every so often."""
        for name, value in losses.items():
            self.running[name] = 0.95 * self.running.get(name, value) + 0.05 * value
        if step % every == 0:
            line: dict[str, float] = {"step": step, "seconds": round(self.seconds)}
            line |= {name: round(value, 5) for name, value in self.running.items()}
            with (self.folder / "losses.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")

    def steps(self, start: int) -> Iterator[int]:
        """The steps left to do, with a progress bar."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns) as progress:
            total = self.config["steps"]
            task = progress.add_task(self.folder.name, total=total, completed=start)
            for step in range(start, total):
                if self.part_done(step) >= 1:
                    break
                yield step
                loss = self.running.get("loss", 0.0)
                progress.update(task, advance=1, description=f"{self.folder.name} {loss:.4f}")


def select(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    prefix = f"{name}/"
    return {
        key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)
    }


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimizer's moments as plain tensors, by the number of the parameter."""
    return {
        f"{number}/{key}": torch.as_tensor(value)
        for number, moments in optimizer.state_dict()["state"].items()
        for key, value in moments.items()
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state = optimizer.state_dict()
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        number, key = name.split("/")
        moments.setdefault(int(number), {})[key] = value
    optimizer.load_state_dict({"state": moments, "param_groups": state["param_groups"]})
