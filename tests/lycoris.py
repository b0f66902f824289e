"""Adapters of other kinds than LoRA, as LyCORIS, ComfyUI and peft write them, with random numbers;
and what each makes of a layer's weight, computed here by its definition, number by number or with
numpy alone."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

RANK, ALPHA = 2, 3.0


@dataclass(frozen=True)
class Written:
    """What a file says of one layer, by the ends of its keys, and the weight that it makes."""

    said: dict[str, np.ndarray]
    weight: np.ndarray
    bias: np.ndarray | float = 0.0
    """What is added to the bias."""

    def tensors(self, layer: str) -> dict[str, torch.Tensor]:
        return {f"{layer}.{key}": torch.from_numpy(np.array(v)) for key, v in self.said.items()}


Kind = Callable[[np.ndarray, np.random.Generator], Written]


def loha(weight: np.ndarray, draw: np.random.Generator) -> Written:
    out, into = weight.shape[0], weight[0].size
    sides = [draw.normal(size=shape) for shape in ((out, RANK), (RANK, into)) * 2]
    names = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
    change = np.zeros((out, into))
    for row in range(out):
        for column in range(into):
            one = sum(sides[0][row, k] * sides[1][k, column] for k in range(RANK))
            other = sum(sides[2][row, k] * sides[3][k, column] for k in range(RANK))
            change[row, column] = one * other
    said = dict(zip(names, sides, strict=True)) | {"alpha": np.array(ALPHA)}
    return Written(said, weight + ALPHA / RANK * change.reshape(weight.shape))


def loha_with_cores(weight: np.ndarray, draw: np.random.Generator) -> Written:
    """Of convolutions: a core that has the height and width, between sides that have neither."""
    out, into, *kernel = weight.shape
    said: dict[str, np.ndarray] = {"alpha": np.array(ALPHA)}
    products = []
    for half in ("1", "2"):
        core = draw.normal(size=(RANK, RANK, *kernel))
        left, right = draw.normal(size=(RANK, out)), draw.normal(size=(RANK, into))
        said |= {f"hada_t{half}": core, f"hada_w{half}_a": left, f"hada_w{half}_b": right}
        # out x in at each pixel of the kernel: left' core right
        products.append(
            np.array(
                [
                    [left.T @ core[:, :, y, x] @ right for x in range(kernel[1])]
                    for y in range(kernel[0])
                ]
            )
        )
    change = (products[0] * products[1]).transpose(2, 3, 0, 1)
    return Written(said, weight + ALPHA / RANK * change)


def _lokr(weight: np.ndarray, draw: np.random.Generator, *, split: tuple[bool, bool]) -> Written:
    out, into, *kernel = weight.shape
    one = draw.normal(size=(2, 4))
    other = draw.normal(size=(out // 2, into // 4, *kernel))
    said: dict[str, np.ndarray] = {"alpha": np.array(ALPHA)}
    if split[0]:
        left, right = draw.normal(size=(2, RANK)), draw.normal(size=(RANK, 4))
        one = left @ right
        said |= {"lokr_w1_a": left, "lokr_w1_b": right}
    else:
        said["lokr_w1"] = one
    if split[1]:
        left, right = draw.normal(size=(out // 2, RANK)), draw.normal(size=(RANK, other[0].size))
        other = (left @ right).reshape(other.shape)
        said |= {"lokr_w2_a": left, "lokr_w2_b": right}
    else:
        said["lokr_w2"] = other
    change = np.zeros_like(weight)
    for row in range(out):
        for column in range(into):
            block = one[row // other.shape[0], column // other.shape[1]]
            change[row, column] = block * other[row % other.shape[0], column % other.shape[1]]
    # Who keeps both matrices whole has no rank, and alpha means nothing.
    return Written(said, weight + (ALPHA / RANK if any(split) else 1.0) * change)


def lokr_whole(weight: np.ndarray, draw: np.random.Generator) -> Written:
    return _lokr(weight, draw, split=(False, False))


def lokr_half(weight: np.ndarray, draw: np.random.Generator) -> Written:
    return _lokr(weight, draw, split=(False, True))


def lokr_split(weight: np.ndarray, draw: np.random.Generator) -> Written:
    return _lokr(weight, draw, split=(True, True))


def lokr_with_core(weight: np.ndarray, draw: np.random.Generator) -> Written:
    out, into, *kernel = weight.shape
    one, core = draw.normal(size=(2, 4)), draw.normal(size=(RANK, RANK, *kernel))
    left, right = draw.normal(size=(RANK, out // 2)), draw.normal(size=(RANK, into // 4))
    other = _around(core, left.T, right)
    change = np.kron(one[:, :, None, None], other)
    said = {"lokr_w1": one, "lokr_w2_a": left, "lokr_w2_b": right, "lokr_t2": core}
    return Written(said | {"alpha": np.array(ALPHA)}, weight + ALPHA / RANK * change)


def locon_with_core(weight: np.ndarray, draw: np.random.Generator) -> Written:
    out, into, *kernel = weight.shape
    down, up = draw.normal(size=(RANK, into, 1, 1)), draw.normal(size=(out, RANK, 1, 1))
    core = draw.normal(size=(RANK, RANK, *kernel))
    change = np.array(
        [
            [up[..., 0, 0] @ core[:, :, y, x] @ down[..., 0, 0] for x in range(kernel[1])]
            for y in range(kernel[0])
        ]
    ).transpose(2, 3, 0, 1)
    said = {"lora_down.weight": down, "lora_mid.weight": core, "lora_up.weight": up}
    return Written(said | {"alpha": np.array(ALPHA)}, weight + ALPHA / RANK * change)


def difference(weight: np.ndarray, draw: np.random.Generator) -> Written:
    change, bias = draw.normal(size=weight.shape), draw.normal(size=weight.shape[0])
    return Written({"diff": change, "diff_b": bias}, weight + change, bias)


def bias_alone(weight: np.ndarray, draw: np.random.Generator) -> Written:
    bias = draw.normal(size=weight.shape[0])
    return Written({"diff_b": bias}, weight, bias)


def ia3_of_outputs(weight: np.ndarray, draw: np.random.Generator) -> Written:
    numbers = draw.normal(size=weight.shape[0])
    made = np.array([row * (1 + number) for row, number in zip(weight, numbers, strict=True)])
    return Written({"weight": numbers.reshape(-1, 1), "on_input": np.array(False)}, made)


def ia3_of_inputs(weight: np.ndarray, draw: np.random.Generator) -> Written:
    numbers = draw.normal(size=weight.shape[1])
    made = weight.copy()
    for column, number in enumerate(numbers):
        made[:, column] *= 1 + number
    return Written({"weight": numbers, "on_input": np.array(True)}, made)


def _around(core: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """A product of matrices at each pixel of the core."""
    high, wide = core.shape[2:]
    made = np.zeros((left.shape[0], right.shape[1], high, wide))
    for y in range(high):
        for x in range(wide):
            made[:, :, y, x] = left @ core[:, :, y, x] @ right
    return made


def _with_lengths(weight: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    rows = zip(weight, lengths, strict=True)
    return np.array([row / np.sqrt((row**2).sum()) * length for row, length in rows])


def _lora(
    weight: np.ndarray, draw: np.random.Generator
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    out, into, *kernel = weight.shape
    down = draw.normal(size=(RANK, into, *kernel))
    up = draw.normal(size=(out, RANK, *[1] * len(kernel)))
    product = (up.reshape(out, RANK) @ down.reshape(RANK, -1)).reshape(weight.shape)
    said = {"lora_down.weight": down, "lora_up.weight": up, "alpha": np.array(ALPHA)}
    return said, ALPHA / RANK * product


def dora_of_rows(weight: np.ndarray, draw: np.random.Generator) -> Written:
    said, change = _lora(weight, draw)
    lengths = draw.uniform(0.5, 2, size=weight.shape[0])
    made = np.array(
        [
            row / np.sqrt((row**2).sum()) * length
            for row, length in zip(weight + change, lengths, strict=True)
        ]
    )
    ones = [1] * (weight.ndim - 1)
    return Written(said | {"dora_scale": lengths.reshape(-1, *ones)}, made)


def dora_of_columns(weight: np.ndarray, draw: np.random.Generator) -> Written:
    """As LyCORIS and kohya's scripts wrote it first."""
    said, change = _lora(weight, draw)
    lengths, made = draw.uniform(0.5, 2, size=weight.shape[1]), weight + change
    for column, length in enumerate(lengths):
        made[:, column] *= length / np.sqrt((made[:, column] ** 2).sum())
    ones = [1] * (weight.ndim - 2)
    return Written(said | {"dora_scale": lengths.reshape(1, -1, *ones)}, made)


def dora_of_loha(weight: np.ndarray, draw: np.random.Generator) -> Written:
    inner = loha(weight, draw)
    lengths = draw.uniform(0.5, 2, size=weight.shape[0])
    made = np.array(
        [
            row / np.sqrt((row**2).sum()) * length
            for row, length in zip(inner.weight, lengths, strict=True)
        ]
    )
    return Written(inner.said | {"dora_scale": lengths.reshape(-1, *[1] * (weight.ndim - 1))}, made)


OF_ALL: tuple[Kind, ...] = (
    loha,
    lokr_whole,
    lokr_half,
    lokr_split,
    difference,
    bias_alone,
    ia3_of_outputs,
    ia3_of_inputs,
    dora_of_rows,
    dora_of_columns,
    dora_of_loha,
)
"""Of linear layers and convolutions."""
OF_CONVOLUTIONS: tuple[Kind, ...] = (loha_with_cores, lokr_with_core, locon_with_core)
