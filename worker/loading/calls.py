"""What pipelines of diffusers call the same things, and what they take where they are told nothing;
worker side, knows no jobs."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

from diffusers.image_processor import VaeImageProcessor

from darkroom.networks import main_names

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

GUIDANCE = ("guidance_scale", "true_cfg_scale", "distilled_guidance_scale")
"""What calls name the scale of guidance."""
_BY_NETWORK = ("SanaPipeline", "SanaSprintPipeline", "SanaSprintImg2ImgPipeline")
"""Published for sizes from 512 to 4096, as their network's `sample_size` says; their calls say 1024
for all."""
_OWN_GUIDANCE = {"Ideogram4Pipeline": 7.0}
"""It has a schedule: this for most steps, 3 for the last three."""
_MULTIPLES = {
    "BriaFiboEditPipeline": 1,
    "BriaFiboPipeline": 1,
    "GlmImagePipeline": 4,
    "Ideogram4Pipeline": 2,
    "Kandinsky3Img2ImgPipeline": 64,
    "Kandinsky3Pipeline": 64,
    "Kandinsky5I2IPipeline": 2,
    "Kandinsky5T2IPipeline": 2,
    "Krea2Pipeline": 2,
}
"""GLM-Image wants two patches of its network's. Kandinsky 3 rounds both sides up to 64, which are
pixels: it does not say how much smaller latents are. The others have it in a configuration that is
the same for all."""
_GUIDED = {"HunyuanImagePipeline": (1, 2), "Ideogram4Pipeline": (1, 2), "OmniGenPipeline": (2, 1)}
"""By an object of its own; by a second network; by a number of rows that is counted."""
_ROWS = re.compile(r"\] \* [23]\b|\.repeat\(2\b|\[latents, latents\]")
_CLASS = re.compile(r"\w+$|\w+(?= \|)")
_IN_TWOS = "self.vae_scale_factor * 2"


def guidance_argument(cls: type[DiffusionPipeline]) -> str | None:
    """The argument of the call that says how strongly a prompt is followed; None if there is none.

    Qwen-Image's pipelines keep `guidance_scale` for networks that are told of it, and have
    classifier-free guidance by `true_cfg_scale`."""
    call = inspect.signature(cls.__call__).parameters
    told = [name for name in GUIDANCE if name in call]
    return next((name for name in told if call[name].default is not None), next(iter(told), None))


def guided(cls: type[DiffusionPipeline]) -> tuple[int, int]:
    """How many rows a picture has in each call of the network, and how many calls make a step,
    where it is guided: classifier-free guidance takes a row or a call more, and a network that is
    told the scale takes none."""
    if cls.__name__ in _GUIDED:
        return _GUIDED[cls.__name__]
    body, argument = inspect.getsource(cls.__call__), guidance_argument(cls)
    rows = max((3 if "3" in found else 2 for found in _ROWS.findall(body)), default=1)
    if rows > 1 or argument is None:
        return rows, 1
    is_asked_for = argument != "true_cfg_scale" and "do_true_cfg" in body
    calls = len(re.findall(r"self\.(?:transformer|unet)\(", body))
    return 1, 1 if is_asked_for else min(calls, 2)


def latents(cls: type[DiffusionPipeline]) -> int | str | None:
    """How many channels what it begins with must have to be latents and no picture: as many as its
    `vae` has, or a number; None if it takes pictures only."""
    made = inspect.getsource(cls.__init__)
    if "VaeImageProcessor(" not in made:
        return None
    if "vae_latent_channels" in made:
        return "vae" if "self.vae.config.latent_channels" in made else None
    default: int = inspect.signature(VaeImageProcessor).parameters["vae_latent_channels"].default
    return default


def defaults(cls: type[DiffusionPipeline]) -> dict[str, float]:
    """What the pipeline takes for `num_inference_steps`, `guidance_scale`, `width` and `height`
    where it is told nothing, as far as its code says it in numbers."""
    call = inspect.signature(cls.__call__).parameters
    found = {"num_inference_steps": call["num_inference_steps"].default}
    if guidance := guidance_argument(cls):
        found["guidance_scale"] = call[guidance].default
    if {"width", "height"} <= call.keys() and cls.__name__ not in _BY_NETWORK:
        found |= {name: call[name].default or _size(cls, name) for name in ("width", "height")}
    if cls.__name__ in _OWN_GUIDANCE:
        found["guidance_scale"] = _OWN_GUIDANCE[cls.__name__]
    numbers = {name: each for name, each in found.items() if isinstance(each, (int, float))}
    return dict(sorted(numbers.items()))


def _size(cls: type[DiffusionPipeline], name: str) -> int | None:
    """A size that stands in the code of a class: in pixels, or in latents beside how many times
    smaller these are with the VAE that it was written for."""
    if told := re.search(rf"\b{name} = {name} or (\d+)\b", inspect.getsource(cls.__call__)):
        return int(told[1])
    if any_size := inspect.signature(cls.__call__).parameters.get("output_resolution"):
        return int(any_size.default)
    written = inspect.getsource(cls.__init__)
    latents = re.search(r"self\.default_sample_size = (\d+)\b", written)
    smaller = re.search(
        r"self\.vae_scale_factor = [^\n]*?\(?\n?[^\n]*?(?:else )?\b(\d+)\s*\)?\n", written
    )
    return int(latents[1]) * int(smaller[1]) if latents and smaller else None


def multiple(cls: type[DiffusionPipeline]) -> int | None:
    """Of how many latents both sides of a picture have to be multiples, where the class says it:
    most put latents together in twos before or after they are noise. None: its network does."""
    if known := _MULTIPLES.get(cls.__name__):
        return known
    return 2 if _IN_TWOS in inspect.getsource(cls) else None


def network(cls: type[DiffusionPipeline]) -> str | None:
    """The class of the network that it calls at each step."""
    parts = inspect.signature(cls.__init__).parameters
    kinds = (parts[name].annotation for name in main_names() if name in parts)
    named = (getattr(kind, "__name__", str(kind)) for kind in kinds)
    return next((found[0] for each in named if (found := _CLASS.search(each))), None)


def size_multiple(pipeline: Any, latents: int | None) -> int:
    """Of how many pixels both sides of its pictures have to be multiples; `latents` is what
    `multiple` said of its class."""
    names = ("vae_scale_factor", "vae_scale_factor_spatial")
    factor = next((getattr(pipeline, name) for name in names if hasattr(pipeline, name)), 1)
    config = getattr(getattr(pipeline, "transformer", None), "config", {})
    patch = config.get("patch_size") if latents is None else latents
    return factor * patch if isinstance(patch, int) else factor
