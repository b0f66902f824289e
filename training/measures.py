"""What is measured on pictures: which colours, how large, how red, what they are most like."""

import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from training.classifier import Classifier
from training.data import COLOURS, SCALES, Composition, draw_composition, load_pictures, render
from training.run import to_tensor

RESOLUTION = 64
PROMPT_SEED = 2_000_003
EXAMPLES = 16  # compositions of each picture whose mean it is known by in the feature space
MIDDLING = (SCALES["small"][1] + SCALES["large"][0]) / 2  # between a small and a large picture

MEASURES = {
    "background": "background colour right",
    "size": "size right",
    "nearest": "the named picture is nearest of all",
    "among five": "it is among the five nearest",
}


def background_colour(picture: np.ndarray) -> np.ndarray:
    """The median of the four corners: even a large picture leaves them free."""
    edge = max(3, len(picture) // 16)
    corners = [
        picture[y, x]
        for y in (slice(edge), slice(-edge, None))
        for x in (slice(edge), slice(-edge, None))
    ]
    return np.median(np.concatenate([corner.reshape(-1, 3) for corner in corners]), axis=0)


def nearest_colour(colour: np.ndarray) -> str:
    return min(COLOURS, key=lambda name: np.square(colour - np.array(COLOURS[name])).sum())


def extent(picture: np.ndarray) -> float:
    """The longer side of what is not background, as a share of the canvas."""
    distance = np.abs(picture.astype(float) - background_colour(picture)).max(axis=2)
    subject = distance > 40
    sides = [np.flatnonzero(subject.sum(axis=axis) > 1) for axis in (0, 1)]
    return max((side[-1] - side[0] + 1 if len(side) else 0) for side in sides) / len(picture)


class Judge:
    """Knows each picture by the mean of its examples in the feature space of a classifier."""

    def __init__(self, classifier: Classifier) -> None:
        rng, pictures = random.Random(PROMPT_SEED), load_pictures()
        self.classifier = classifier
        means = []
        for number in range(len(pictures)):
            examples = [draw_composition(rng, pictures, number) for _ in range(EXAMPLES)]
            rendered = np.stack([render(c, pictures, RESOLUTION) for c in examples])
            means.append(self.embed(rendered).mean(0))
        self.means = torch.stack(means)

    @torch.no_grad()
    def embed(self, pictures: np.ndarray) -> Tensor:
        return self.classifier.embed(to_tensor(pictures, torch.device("cpu")))

    def nearest(self, pictures: np.ndarray, count: int) -> list[list[int]]:
        """The numbers of the pictures that each of these is most like, the nearest first."""
        distances = torch.cdist(self.embed(pictures), self.means)
        return distances.topk(count, dim=1, largest=False).indices.tolist()


def follow_rates(pictures: np.ndarray, wanted: list[Composition], judge: Judge) -> dict[str, float]:
    """How often each part of the prompt is to be seen, in per cent."""
    best = judge.nearest(pictures, 5)
    checks = {
        "background": [
            nearest_colour(background_colour(p)) == c.background
            for p, c in zip(pictures, wanted, strict=True)
        ],
        "size": [
            (extent(p) > MIDDLING) == (c.size == "large")
            for p, c in zip(pictures, wanted, strict=True)
        ],
        "nearest": [c.picture == top[0] for c, top in zip(wanted, best, strict=True)],
        "among five": [c.picture in top for c, top in zip(wanted, best, strict=True)],
    }
    return {name: 100 * float(np.mean(right)) for name, right in checks.items()}


def redness(pictures: np.ndarray) -> float:
    """The share of pixels, in per cent, whose red is well above their green and blue."""
    red, green, blue = (pictures[..., channel].astype(int) for channel in range(3))
    return 100 * float(((red > green + 60) & (red > blue + 60)).mean())


def overlap(edges: np.ndarray, others: np.ndarray) -> float:
    """Edge pixels that both have over those that either has, in per cent."""
    return 100 * float((edges & others).sum() / (edges | others).sum())


def nearness(edges: np.ndarray, others: np.ndarray) -> float:
    """In per cent: how many edge pixels of either have one of the other at most one pixel away."""
    hits = total = 0
    for one, other in ((edges, others), (others, edges)):
        near = F.max_pool2d(torch.from_numpy(other)[:, None].float(), 3, stride=1, padding=1)
        hits += (one & (near[:, 0] > 0).numpy()).sum()
        total += one.sum()
    return 100 * float(hits / total)
