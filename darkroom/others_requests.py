"""Requests of A1111 and ComfyUI as their pictures tell them, in our fields; pure, used by the
service. What is told may be anything: nothing here takes long, and what comes out is checked as any
body when it is submitted."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from darkroom.schedulers import layout, resolve

LONGEST_INFOTEXT = 2**16
"""Characters; what is longer is not read."""
LONGEST_SETTINGS = 2**13
"""Characters of its last line."""
LARGEST = 2**53 - 1
MOST_TOLD = 20
"""Names of what was left out that are told."""
LONGEST_NAME = 60
DEEPEST = 20
"""Nodes of a graph that are gone through from a sampler on."""

_SETTING = re.compile(r'(\w[\w \-/]{0,60}):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')
_NEGATIVE = "Negative prompt:"
_LEAST_SETTINGS = 3
"""A last line with fewer is a part of the prompt, as A1111 reads it too."""
_SIZE = re.compile(r"([0-9]{1,5})x([0-9]{1,5})", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,16}(\.[0-9]{1,16})?", re.ASCII)

_WEIGHTS = re.compile(
    r"^(?:.*[/\\])?(.+?)(?:\.(?:safetensors|ckpt|pt|pth|gguf))?(?: \[[0-9a-f]{6,64}\])?$", re.DOTALL
)
"""A model is called by its file there, perhaps with a hash behind it."""

_OF_NO_USE = frozenset({"Version", "Model hash", "Lora hashes", "TI hashes", "VAE hash", "RNG"})
"""Settings that change no picture, or only as Darkroom does it anyway."""


@dataclass
class Understood:
    """What was read: fields of a request, and names of what no field stands for."""

    request: dict[str, Any] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def put(self, name: str, value: Any, told: str) -> None:
        """A field, or what told it where that can be no value of it."""
        if value is None:
            self.leave(told)
        else:
            self.request[name] = value

    def leave(self, told: str) -> None:
        if len(self.left_out) < MOST_TOLD:
            self.left_out.append(told[:LONGEST_NAME])

    def schedule(self, name: str, schedule_type: str, told: str) -> None:
        """The noise scheduler, and how it lays out its noise levels."""
        if not (found := resolve(name)):
            self.leave(f"{told} {name}")
            return
        scheduler, sigmas = found
        self.request["scheduler"] = scheduler
        options = layout(schedule_type)
        if options is None:
            self.leave(f"{told} {schedule_type}")
        if options := ({"sigmas": sigmas} if sigmas else {}) | {**(options or {})}:
            self.request["scheduler_options"] = options


def of_infotext(text: str) -> Understood | None:
    """What A1111's description of a picture asks for; None where it is none."""
    if not (settings := parameters_in(text)):
        return None
    found = Understood({"prompt": settings.pop("Prompt")})
    if negative := settings.pop("Negative prompt"):
        found.request["negative_prompt"] = negative
    _take_settings(found, settings)
    return found


def parameters_in(text: str) -> dict[str, str]:
    """What A1111's description of a picture says, by its own names; empty where it is none."""
    if len(text) > LONGEST_INFOTEXT:
        return {}
    before, _, last = text.strip().rpartition("\n")
    settings = _settings(last[:LONGEST_SETTINGS])
    if len(settings) < _LEAST_SETTINGS:
        return {}
    prompt, _, negative = f"\n{before}".partition(f"\n{_NEGATIVE}")
    return settings | {"Prompt": prompt.strip(), "Negative prompt": negative.strip()}


def file_stem(title: str) -> str:
    """A model's name as titles of files have it: `sdxl` of `models/sdxl.safetensors [abcdef]`."""
    return _WEIGHTS.sub(r"\1", title)


def _settings(line: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for match in _SETTING.finditer(line):
        value = match[2].strip()
        if value.startswith('"'):
            try:
                value = str(json.loads(value))
            except ValueError:
                value = value.strip('"')
        found.setdefault(match[1].strip(), value)
    return found


def _take_settings(found: Understood, settings: dict[str, str]) -> None:
    schedule_type = settings.pop("Schedule type", "")
    if sampler := settings.pop("Sampler", None):
        found.schedule(sampler, schedule_type, "Sampler")
    for name, (target, read) in _FIELDS.items():
        if name in settings:
            value = settings.pop(name)
            found.put(target, read(value), f"{name} {value}")
    if size := _SIZE.fullmatch(settings.pop("Size", "")):
        found.request |= {"width": int(size[1]), "height": int(size[2])}
    _take_hires(found, settings)
    for name in settings:
        if name not in _OF_NO_USE:
            found.leave(name)


def _take_hires(found: Understood, settings: dict[str, str]) -> None:
    """A second part is made of the picture's own latents; a strength without one is of a picture
    that is not told."""
    strength = settings.pop("Denoising strength", None)
    scale = _number(settings.pop("Hires upscale", ""))
    if scale is None:
        if strength is not None:
            found.leave("Denoising strength, of a picture that the file does not hold")
        return
    hires: dict[str, Any] = {"scale": scale}
    if (value := _number(strength or "")) is not None:
        hires["strength"] = value
    if steps := _whole(settings.pop("Hires steps", "")):
        hires["num_inference_steps"] = steps
    upscaler = settings.pop("Hires upscaler", "Latent")
    if upscaler.lower() in ("latent", "lanczos"):
        hires["upscaler"] = upscaler.lower()
    else:
        found.leave(f"Hires upscaler {upscaler}")
    found.request["hires"] = hires


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else None


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 16 else None


def _layers(text: str) -> int | None:
    """A1111 counts the layer it stops at."""
    return count - 1 if (count := _whole(text)) else None


_FIELDS = {
    "Steps": ("num_inference_steps", _whole),
    "CFG scale": ("guidance_scale", _number),
    "Seed": ("seed", _whole),
    "Model": ("model", lambda text: text or None),
    "Clip skip": ("clip_skip", _layers),
}
"""By A1111's name: ours, and how its value is read."""


def of_workflow(text: str) -> Understood | None:
    """What the graph that ComfyUI ran asks for, as far as one sampler with its prompts tells; None
    where there is no such graph."""
    try:
        graph = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(graph, dict):
        return None
    samplers = [
        node
        for node in graph.values()
        if str(_of(node, "class_type", str)).startswith("KSampler") and "positive" in _inputs(node)
    ]
    return _of_sampler(graph, _inputs(samplers[0]), len(samplers)) if samplers else None


def _of_sampler(graph: Mapping[str, Any], sampler: Mapping[str, Any], count: int) -> Understood:
    found = Understood()
    for name, target in (("positive", "prompt"), ("negative", "negative_prompt")):
        if name in sampler:
            text = _follow(graph, sampler[name], ("text", "text_g", "string", "value"), str)
            found.put(target, text, name)
    _take_numbers(found, sampler)
    if "sampler_name" in sampler:
        name, kind = (str(sampler.get(each, "")) for each in ("sampler_name", "scheduler"))
        found.schedule(name[:LONGEST_NAME], kind[:LONGEST_NAME], "sampler_name")
    for name in ("width", "height"):
        if _follow(graph, sampler.get("latent_image"), (name,), object) is not None:
            found.put(name, _follow(graph, sampler["latent_image"], (name,), int), name)
    if number := _follow(graph, sampler.get("latent_image"), ("batch_size",), int):
        found.request["num_images"] = number
    if "model" in sampler:
        model = _follow(graph, sampler["model"], ("ckpt_name", "unet_name"), str)
        found.put("model", model and file_stem(model), "model")
    if sampler.get("denoise", 1) != 1:
        found.leave("denoise, of a picture that the file does not hold")
    if count > 1:
        found.leave(f"{count - 1} more samplers")
    return found


def _take_numbers(found: Understood, sampler: Mapping[str, Any]) -> None:
    """Those that the sampler has; what is not there was not left out either."""
    kinds = {"steps": (int, float), "cfg": (int, float), "seed": int, "noise_seed": int}
    names = {"steps": "num_inference_steps", "cfg": "guidance_scale"}
    for name, kind in kinds.items():
        if name in sampler and names.get(name, "seed") not in found.request:
            found.put(names.get(name, "seed"), _of(sampler, name, kind), name)


def _follow(graph: Mapping[str, Any], link: Any, names: tuple[str, ...], kind: type) -> Any:
    """The first value of these names that a link leads to, nearest first."""
    waiting, seen = [link], 0
    while waiting and seen < DEEPEST:
        node = waiting.pop(0)
        if not (isinstance(node, list) and node and isinstance(node[0], str)):
            continue
        seen += 1
        inputs = _inputs(graph.get(node[0]))
        for name in names:
            if (value := _of(inputs, name, kind)) is not None:
                return value
        waiting += [each for each in inputs.values() if isinstance(each, list)][:DEEPEST]
    return None


def _inputs(node: Any) -> Mapping[str, Any]:
    inputs = node.get("inputs") if isinstance(node, dict) else None
    return inputs if isinstance(inputs, dict) else {}


def _of(values: Any, name: str, kind: Any) -> Any:
    """A value of this type, which is no truth value and no number beyond those that are exact."""
    value = values.get(name) if isinstance(values, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        return None
    is_number = isinstance(value, int | float)
    return value if not is_number or abs(value) <= LARGEST else None
