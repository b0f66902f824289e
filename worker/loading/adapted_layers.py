"""Layers of a network that adapters change: how a changed weight is computed, and which changes are
at work; engine thread of the worker only, knows no files and no jobs.

peft's own layers are for one kind of adapter each, whose factors have the shapes that its settings
ask for, and one kind lies around the other. Here a layer holds changes of all kinds side by side,
as files have them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional

Factors = Mapping[str, torch.Tensor]
Formula = Callable[[Factors, torch.Tensor], torch.Tensor]
"""How much is added to a weight: from factors and the weight, in the weight's shape."""


class Change(torch.nn.Module):
    """What one adapter does to one layer. Its tensors are buffers: they are counted and moved with
    the layer's own."""

    def __init__(
        self,
        formula: Formula,
        factors: Factors,
        strength: float = 1.0,
        *,
        magnitude: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        rows: slice = slice(None),
    ) -> None:
        """`strength` is multiplied with what `formula` gives of `factors`, of which only `rows`
        are this layer's. `magnitude`: how long each row or, of the shape 1 x in, each column of the
        changed weight is to be. `bias` is added to the layer's."""
        super().__init__()
        self.formula, self.strength, self.rows = formula, strength, rows
        self.names = tuple(factors)
        for name, tensor in (*factors.items(), ("magnitude", magnitude), ("bias", bias)):
            self.register_buffer(name, tensor)

    @property
    def factors(self) -> Factors:
        return {name: self.get_buffer(name) for name in self.names}

    @property
    def is_low_rank(self) -> bool:
        """Whether two factors can be applied one after the other, with far less work than a
        change of the weight."""
        return self.names == ("down", "up") and self.magnitude is None

    def delta(self, weight: torch.Tensor) -> torch.Tensor:
        """What is added to `weight` at full scale."""
        change = self.formula(self.factors, weight)[self.rows]
        change = change.reshape(weight.shape) * self.strength
        lengths: Any = self.magnitude
        if lengths is None:
            return change
        changed = weight + change
        # DoRA, arXiv 2402.09353, equation 5.
        return changed * (lengths / _lengths(changed, lengths)) - weight


def _lengths(weight: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Of the rows of a weight or, if `like` has one row, of its columns."""
    axis = 1 if like.shape[0] == 1 else 0
    others = [each for each in range(weight.ndim) if each != axis]
    return torch.linalg.vector_norm(weight, dim=others, keepdim=True)


class Adapted(torch.nn.Module):
    """A layer that adapters change. Without changes at work it is the layer that it was."""

    changes: torch.nn.ModuleDict
    at_work: Sequence[tuple[Any, float]]
    """The changes, and how strongly they work."""
    weight: Any
    bias: Any

    def add(self, name: str, change: Change) -> None:
        self.changes[name] = change

    def drop(self, name: str) -> None:
        """Nothing may work with that change any more."""
        self.changes.pop(name)
        self.at_work = ()

    def turn(self, scales: Sequence[tuple[str, float]]) -> None:
        """Let the changes of these names work, and no others."""
        there = self.changes
        self.at_work = [(there[name], scale) for name, scale in scales if name in there]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight: torch.Tensor = self.weight
        bias: torch.Tensor | None = self.bias
        factored = []
        for change, scale in self.at_work:
            if change.is_low_rank and self._can_factor:
                factored.append((change, scale))
            elif change.names:
                weight = weight + change.delta(self.weight) * scale
            if change.bias is not None:
                added = change.bias * scale
                bias = added if bias is None else bias + added
        result = self._apply_to(x, weight, bias)
        for change, scale in factored:
            result = result + self._apply_factors(x, change) * (change.strength * scale)
        return result

    @property
    def _can_factor(self) -> bool:
        return True

    def _apply_to(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        raise NotImplementedError

    def _apply_factors(self, x: torch.Tensor, change: Any) -> torch.Tensor:
        raise NotImplementedError


class AdaptedLinear(Adapted, torch.nn.Linear):
    def _apply_to(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        return functional.linear(x, weight, bias)

    def _apply_factors(self, x: torch.Tensor, change: Any) -> torch.Tensor:
        return functional.linear(functional.linear(x, change.down), change.up)


class AdaptedConv2d(Adapted, torch.nn.Conv2d):
    def _apply_to(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        return self._conv_forward(x, weight, bias)

    @property
    def _can_factor(self) -> bool:
        return self.groups == 1

    def _apply_factors(self, x: torch.Tensor, change: Any) -> torch.Tensor:
        return functional.conv2d(self._conv_forward(x, change.down, None), change.up)


def adapt(layer: torch.nn.Module) -> Adapted:
    """`layer` itself, a linear layer or a convolution, as one that takes changes."""
    if isinstance(layer, Adapted):
        return layer
    made: Any = layer
    made.__class__ = AdaptedLinear if isinstance(layer, torch.nn.Linear) else AdaptedConv2d
    made.changes, made.at_work = torch.nn.ModuleDict(), ()
    return made


def adapted_layers(module: torch.nn.Module) -> list[Adapted]:
    """The layers of `module` that adapters change."""
    return [each for each in module.modules() if isinstance(each, Adapted)]


# Formulas. Of a convolution they give out x in x height x width or the same flattened.


def whole(factors: Factors, _: torch.Tensor) -> torch.Tensor:
    """The change as it is."""
    return factors["diff"]


def nothing(_: Factors, weight: torch.Tensor) -> torch.Tensor:
    """Of a change of the bias alone."""
    return torch.zeros_like(weight)


def low_rank(factors: Factors, _: torch.Tensor) -> torch.Tensor:
    """LoRA, arXiv 2106.09685: up times down; with `mid`, r x r x height x width, between the two
    (LyCORIS, arXiv 2309.14859, appendix on Tucker decomposition)."""
    down, up = factors["down"], factors["up"]
    if "mid" in factors:
        return torch.einsum("or,rshw,si->oihw", up.flatten(1), factors["mid"], down.flatten(1))
    return up.flatten(1) @ down.flatten(1)


def hadamard(factors: Factors, _: torch.Tensor) -> torch.Tensor:
    """LoHa, arXiv 2108.06098: the product, number by number, of two changes of low rank."""
    return _product(factors, "hada_w1", "hada_t1") * _product(factors, "hada_w2", "hada_t2")


def kronecker(factors: Factors, _: torch.Tensor) -> torch.Tensor:
    """LoKr, arXiv 2309.14859: the Kronecker product of two matrices, each of them given whole or
    as a product."""
    one = _product(factors, "lokr_w1", "lokr_t1")
    other = _product(factors, "lokr_w2", "lokr_t2")
    return torch.kron(one.reshape(*one.shape, *[1] * (other.ndim - one.ndim)), other.contiguous())


def scaled(factors: Factors, weight: torch.Tensor) -> torch.Tensor:
    """(IA)3, arXiv 2205.05638: each row or column of the weight times a number."""
    return weight * factors["ia3"]


def _product(factors: Factors, name: str, core: str) -> torch.Tensor:
    """`name` itself or the product of its sides, with a core between them if there is one."""
    if name in factors:
        return factors[name]
    left, right = factors[f"{name}_a"], factors[f"{name}_b"]
    if core in factors:  # LyCORIS keeps the rank in front on both sides then
        return torch.einsum("rshw,si,ro->oihw", factors[core], right, left)
    return left @ right


def copy_sharing_weights(module: torch.nn.Module) -> torch.nn.Module:
    """A copy of `module` that may be changed, with the very same parameters and buffers. Nothing
    may be wrapped around it yet: the copy would call the original."""
    kept = {id(each): each for each in (*module.parameters(), *module.buffers())}
    return copy.deepcopy(module, kept)
