"""The LoRAs, IP-Adapters, ControlNets and textual inversions of a loaded model, and which of them a
job works with; engine thread of the worker only, knows no files and no queue.

Modules that an adapter changes are objects of their own that share the weights of the plain ones:
plain jobs run on exactly what they would run on if the card named no adapters.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from PIL import Image

from darkroom.errors import UnsupportedError
from darkroom.input_images import Place, reference
from darkroom.model_record import RefusedUpload
from darkroom.request import Request
from worker.gathering.gather import ModuleState
from worker.loading.adapted_layers import Adapted, adapted_layers
from worker.loading.uploads import Uploads


@dataclass(frozen=True)
class Setting:
    """How adapted modules are to work for one job."""

    loras: tuple[tuple[str, float], ...] = ()
    """The names that layers know them by, sorted, with their scales."""
    reference_scale: float | None = None


@dataclass
class Current:
    """The setting of the call that parks or runs now. The gather keeps it, so it refers to no
    module."""

    setting: Setting = Setting()
    changes: int = 0
    """How often LoRAs have come or gone."""

    def capture(self) -> Setting:
        return self.setting

    def restore(self, setting: Setting) -> None:
        self.setting = setting


@dataclass(frozen=True)
class Choice:
    """The adapters that one job works with."""

    components: Mapping[str, Any] = field(default_factory=dict)
    """What the job's pipeline is built from in place of the model's own components."""
    is_controlled: bool = False
    """Whether there are ControlNets among them."""


@dataclass(frozen=True)
class Adapters:
    """The adapters of one loaded model."""

    model: str = ""
    loras: Mapping[str, str] = field(default_factory=dict)
    """The name that layers know each LoRA by."""
    adapted: Mapping[str, torch.nn.Module] = field(default_factory=dict)
    """The components that have LoRA layers, in place of the plain ones."""
    reference: Mapping[str, Any] = field(default_factory=dict)
    """Components for jobs with reference images, in place of the plain ones."""
    controlnets: Mapping[str, torch.nn.Module] = field(default_factory=dict)
    embeddings: tuple[str, ...] = ()
    """Words that textual inversions added to the tokenizers."""
    faults: Mapping[str, str] = field(default_factory=dict)
    """What of the card cannot be used and why: `lora:NAME`, `controlnet:NAME`, `embedding:TOKEN`,
    `ip_adapter`."""
    current: Current = field(default_factory=Current)
    uploads: Uploads | None = None
    """What reads LoRAs that come later, where clients may upload some."""

    def bring(self, request: Request, *, alone: bool) -> bool:
        """Read what the request names and clients have uploaded since; whether anything has
        changed. `alone`: no other job of the model runs. Raises UnsupportedError."""
        wanted = [each.name for each in getattr(request, "loras", ())]
        if self.uploads is None or not self.uploads.bring(wanted, alone=alone):
            return False
        self.current.changes += 1
        return True

    @property
    def refused_uploads(self) -> dict[str, RefusedUpload]:
        """What clients have uploaded that was read in vain."""
        return self.uploads.refused if self.uploads else {}

    @property
    def modules(self) -> list[tuple[str, torch.nn.Module]]:
        """All modules beside the model's own, by the names of the components they stand for."""
        named = [*self.adapted.items(), *self.reference.items()]
        named += [("controlnet", module) for module in self.controlnets.values()]
        return [(name, part) for name, part in named if isinstance(part, torch.nn.Module)]

    @cached_property
    def _state(self) -> ModuleState:
        return ModuleState(self.current.capture, self.current.restore)

    def is_adapted(self, module: Any) -> bool:
        """Whether a setting changes how `module`, one of these, works."""
        return any(each is module for each in (*self.adapted.values(), self.reference.get("unet")))

    def state_of(self, module: torch.nn.Module, own: ModuleState | None) -> ModuleState | None:
        """What `module` holds beside its weights, when without adapters that would be `own`."""
        if not self.is_adapted(module):
            return own
        return self._state if own is None else _join_states(self._state, own)

    def choose(self, request: Request) -> Choice:
        """The adapters that a request asks for. Raises UnsupportedError."""
        scales, references = self._scales(request), _references(request)
        chosen: dict[str, Any] = {}
        if scales:
            chosen |= self.adapted
        if references:
            if not self.reference:
                raise self._unusable("ip_adapter", "takes no reference images")
            chosen |= self.reference
        setting = Setting(scales, getattr(request, "reference_scale", None) if references else None)
        components = {
            name: bind(part, self.current, setting) if self.is_adapted(part) else part
            for name, part in chosen.items()
        }
        controls = getattr(request, "controls", ())
        nets = [self._controlnet(each.name, request.task) for each in controls]
        if nets:
            components["controlnet"] = nets if len(nets) > 1 else nets[0]
        return Choice(components, is_controlled=bool(nets))

    def arguments(self, request: Request, inputs: Mapping[Place, Image.Image]) -> dict[str, Any]:
        """What the pipeline is called with because of reference images: all of them for the one
        IP-Adapter."""
        count = len(_references(request))
        images = [inputs[reference(index)].convert("RGB") for index in range(count)]
        return {"ip_adapter_image": [images]} if images else {}

    def _scales(self, request: Request) -> tuple[tuple[str, float], ...]:
        """The LoRAs at work; one that is named twice has the sum of both scales."""
        scales: dict[str, float] = {}
        for each in getattr(request, "loras", ()):
            if each.name not in self.loras:
                raise self._unusable(f"lora:{each.name}", f"has no LoRA {each.name!r}")
            name = self.loras[each.name]
            scales[name] = scales.get(name, 0.0) + each.scale
        return tuple(sorted((name, scale) for name, scale in scales.items() if scale))

    def _controlnet(self, name: str, task: str) -> torch.nn.Module:
        if name not in self.controlnets:
            raise self._unusable(f"controlnet:{name}", f"has no ControlNet {name!r}")
        net = self.controlnets[name]
        # Stable Diffusion 3's are told a mask, too, or no picture to inpaint.
        masks = getattr(net.config, "extra_conditioning_channels", None)
        if masks is not None and bool(masks) != (task == "inpaint"):
            takes = "takes part in inpaint alone" if masks else "takes no part in inpaint"
            raise UnsupportedError(f"The ControlNet {name!r} of this model {takes}.")
        return net

    def _unusable(self, what: str, otherwise: str) -> UnsupportedError:
        if fault := self.faults.get(what):
            return UnsupportedError(f"{what} of the model {self.model!r} cannot be used: {fault}")
        return UnsupportedError(f"The model {self.model!r} {otherwise}.")


def bind(module: torch.nn.Module, current: Current, setting: Setting) -> torch.nn.Module:
    """`module` as one job sees it, whose calls ask for `setting`: an object of its own that holds
    the very parts and weights of the other."""
    bound, inner = copy.copy(module), module.forward

    @functools.wraps(inner)
    def forward(*args: Any, **kwargs: Any) -> Any:
        current.setting = setting  # the call within takes it along when it parks, which is next
        return inner(*args, **kwargs)

    bound.forward = forward
    return bound


def follow(module: torch.nn.Module, current: Current) -> None:
    """Make `module` turn to the current setting when it is called, unless it stands there already.
    Later than restoring would: jobs of other models and modules turn nothing."""
    layers: list[Adapted] = []
    processors = [
        each
        for each in getattr(module, "attn_processors", {}).values()
        if type(each).__name__.startswith("IPAdapter")
    ]
    inner, stands_at, seen = module.forward, None, -1

    @functools.wraps(inner)
    def forward(*args: Any, **kwargs: Any) -> Any:
        nonlocal stands_at, seen
        wanted = current.setting
        if seen != current.changes:
            layers[:], stands_at, seen = adapted_layers(module), None, current.changes
        if wanted != stands_at:
            turn(layers, processors, wanted)
            stands_at = wanted
        return inner(*args, **kwargs)

    module.forward = forward


def turn(layers: Sequence[Adapted], processors: Sequence[Any], setting: Setting) -> None:
    """Let adapted `layers` and the `processors` of an IP-Adapter work as `setting` says."""
    for layer in layers:
        layer.turn(setting.loras)
    for processor in processors:
        processor.scale = [setting.reference_scale] * len(processor.scale)


def _join_states(one: ModuleState, other: ModuleState) -> ModuleState:
    def restore(values: tuple[Any, Any]) -> None:
        one.restore(values[0])
        other.restore(values[1])

    return ModuleState(lambda: (one.capture(), other.capture()), restore)


def _references(request: Request) -> Sequence[str]:
    return getattr(request, "reference_images", ())
