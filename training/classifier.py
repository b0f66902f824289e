"""A small classifier of the pictures: its feature maps judge what the autoencoder makes.

Ready-made perceptual networks would bring somebody else's weights; this one is trained here, on the
same pictures. A second one, with another seed, judges the finished model in `evaluate.py`.
"""

import argparse
import random
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from training.data import COLOURS, HUES, Composition, draw_composition, load_pictures, render
from training.run import (
    RUNS,
    Run,
    autocast,
    choose_device,
    learning_rate,
    read_config,
    select,
    to_tensor,
)


class Classifier(nn.Module):
    """Five convolutions, then one linear layer for each question about the picture."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        widths = [3, *channels]
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, stride=1 if before == 3 else 2, padding=1),
                nn.GroupNorm(1, after),
                nn.ReLU(),
            )
            for before, after in pairwise(widths)
        )
        answers = {
            "picture": len(load_pictures()),
            "background": len(COLOURS),
            "hue": len(HUES) + 1,
        }
        self.heads = nn.ModuleDict(
            {name: nn.Linear(channels[-1], n) for name, n in answers.items()}
        )

    def features(self, pictures: Tensor) -> list[Tensor]:
        maps = []
        for stage in self.stages:
            pictures = stage(pictures)
            maps.append(pictures)
        return maps

    def embed(self, pictures: Tensor) -> Tensor:
        return self.features(pictures)[-1].amax((2, 3))

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        embedding = self.embed(pictures)
        return {name: head(embedding) for name, head in self.heads.items()}


def targets(compositions: list[Composition], device: torch.device) -> dict[str, Tensor]:
    colours, hues = list(COLOURS), [None, *HUES]
    columns = {
        "picture": [c.picture for c in compositions],
        "background": [colours.index(c.background) for c in compositions],
        "hue": [hues.index(c.hue) for c in compositions],
    }
    return {name: torch.tensor(column, device=device) for name, column in columns.items()}


def load_classifier(name: str, device: torch.device) -> Classifier:
    classifier = Classifier(read_config("classifier")["channels"]).to(device)
    classifier.load_state_dict(select(load_file(RUNS / name / "state.safetensors"), "classifier"))
    return classifier.eval().requires_grad_(False)


def train(name: str, config: dict) -> None:
    device = choose_device()
    run = Run(name, config)
    torch.manual_seed(config["seed"])
    classifier = Classifier(config["channels"]).to(device)
    optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=0.01)
    parts = {"classifier": classifier}, {"optimizer": optimizer}
    start = run.resume(*parts)
    rng = random.Random(f"{config['seed']} {start}")
    pictures = load_pictures()

    for step in run.steps(start):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, run.part_done(step), config)
        batch = [draw_composition(rng, pictures) for _ in range(config["batch_size"])]
        rendered = np.stack([render(c, pictures, config["resolution"]) for c in batch])
        right = targets(batch, device)
        with autocast(device):
            answers = classifier(to_tensor(rendered, device))
        loss = sum(
            (F.cross_entropy(answers[part].float(), right[part]) for part in answers),
            start=torch.zeros((), device=device),
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

        done = step + 1
        correct = (answers["picture"].argmax(1) == right["picture"]).float().mean()
        run.log(done, {"loss": loss.item(), "correct": correct.item()}, config["log_every"])
        if done % config["save_every"] == 0 or done == config["steps"]:
            run.save(done, *parts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--judge", action="store_true", help="train the one that evaluate.py asks")
    arguments = parser.parse_args()
    settings = read_config("classifier")
    if arguments.judge:
        settings["seed"] += 1
    train("judge" if arguments.judge else "classifier", settings)
