"""What a card of a family is good to begin with, and models of the Hub by short names; of the
command line only.

Steps, guidance, sizes and licences are those in common use. None of it was compared with what the
repositories say by now. Gigabytes are parameters times two bytes: estimates.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Family:
    """A family of models, as `darkroom.file_families` names them."""

    title: str
    card: Mapping[str, Any] = field(default_factory=dict)
    """Fields of a card for a model of the family."""
    base: str = ""
    """A repository with all parts, for files that hold the network alone."""


@dataclass(frozen=True)
class Preset:
    """A model of the Hub."""

    source: str
    licence: str
    gigabytes: float
    """Of its weights, to download, and in memory in half precision."""
    card: Mapping[str, Any] = field(default_factory=dict)
    terms: str = ""
    """What has to be done on its page before it can be downloaded."""


_SD1 = {
    "defaults": {"num_inference_steps": 25, "guidance_scale": 7.5},
    "limits": {"min_size": 256, "max_size": 1024},
}
_SDXL = {
    "defaults": {"num_inference_steps": 30, "guidance_scale": 7.0},
    "limits": {"min_size": 512, "max_size": 2048, "max_pixels": 1572864},
}
_SD15_SOURCE = "stable-diffusion-v1-5/stable-diffusion-v1-5"
_SDXL_SOURCE = "stabilityai/stable-diffusion-xl-base-1.0"
_GATED = "accept its terms on its page and set HF_TOKEN"

FAMILIES = {
    "sd1": Family("Stable Diffusion 1.x", _SD1, _SD15_SOURCE),
    "sd1-inpaint": Family("Stable Diffusion 1.x for inpainting", _SD1),
    "sd1-edit": Family("Stable Diffusion 1.x for editing by instruction"),
    "sd2": Family("Stable Diffusion 2.x", _SD1),
    "sd2-inpaint": Family("Stable Diffusion 2.x for inpainting", _SD1),
    "sd2-depth": Family("Stable Diffusion 2 with depth"),
    "sdxl": Family("SDXL", _SDXL, _SDXL_SOURCE),
    "sdxl-inpaint": Family("SDXL for inpainting", _SDXL),
    "sdxl-edit": Family("SDXL for editing by instruction"),
    "sdxl-refiner": Family("SDXL's refiner", {"defaults": {"strength": 0.3}}),
    "sd3": Family("Stable Diffusion 3", {}, "stabilityai/stable-diffusion-3-medium-diffusers"),
    "sd35-medium": Family(
        "Stable Diffusion 3.5 Medium",
        {"defaults": {"num_inference_steps": 28, "guidance_scale": 4.5}},
        "stabilityai/stable-diffusion-3.5-medium",
    ),
    "sd35-large": Family(
        "Stable Diffusion 3.5 Large",
        {"defaults": {"num_inference_steps": 28, "guidance_scale": 3.5}},
        "stabilityai/stable-diffusion-3.5-large",
    ),
    "flux-dev": Family(
        "FLUX.1 dev",
        {"defaults": {"num_inference_steps": 28, "guidance_scale": 3.5}},
        "black-forest-labs/FLUX.1-dev",
    ),
    "flux-schnell": Family(
        "FLUX.1 schnell",
        {"defaults": {"num_inference_steps": 4, "guidance_scale": 0.0}},
        "black-forest-labs/FLUX.1-schnell",
    ),
    "flux-fill": Family("FLUX.1 Fill", {}, "black-forest-labs/FLUX.1-Fill-dev"),
    "flux-control": Family("FLUX.1 with control"),
    "flux2": Family("FLUX.2"),
    "flux2-dev": Family("FLUX.2 dev", {}, "black-forest-labs/FLUX.2-dev"),
    "flux2-klein": Family("FLUX.2 klein", {}, "black-forest-labs/FLUX.2-klein-4B"),
    "chroma": Family("Chroma", {}, "lodestones/Chroma1-HD"),
    "qwen-image": Family("Qwen-Image", {}, "Qwen/Qwen-Image"),
    "z-image": Family("Z-Image", {}, "Tongyi-MAI/Z-Image-Turbo"),
    "lumina2": Family("Lumina 2", {}, "Alpha-VLLM/Lumina-Image-2.0"),
    "auraflow": Family("AuraFlow", {}, "fal/AuraFlow-v0.3"),
}

PRESETS = {
    "sd15": Preset(_SD15_SOURCE, "CreativeML OpenRAIL-M", 2.1, {"variant": "fp16", **_SD1}),
    "sdxl": Preset(_SDXL_SOURCE, "CreativeML Open RAIL++-M", 7, {"variant": "fp16", **_SDXL}),
    "sdxl-turbo": Preset(
        "stabilityai/sdxl-turbo",
        "sai-nc-community (Stability AI)",
        7,
        {
            "variant": "fp16",
            "defaults": {
                "num_inference_steps": 1,
                "guidance_scale": 0.0,
                "width": 512,
                "height": 512,
            },
            "limits": {"min_size": 256, "max_size": 1024, "max_steps": 8},
        },
    ),
    "sd35": Preset(
        "stabilityai/stable-diffusion-3.5-medium",
        "Stability AI Community License",
        16,
        FAMILIES["sd35-medium"].card,
        _GATED,
    ),
    "schnell": Preset(
        "black-forest-labs/FLUX.1-schnell",
        "Apache-2.0",
        34,
        {**FAMILIES["flux-schnell"].card, "limits": {"max_steps": 12}},
        _GATED,
    ),
    "z-image-turbo": Preset(
        "Tongyi-MAI/Z-Image-Turbo",
        "Apache-2.0",
        21,
        {"defaults": {"num_inference_steps": 9, "guidance_scale": 0.0}},
    ),
    "flux2-klein": Preset(
        "black-forest-labs/FLUX.2-klein-4B",
        "Apache-2.0",
        16,
        {"defaults": {"num_inference_steps": 4, "guidance_scale": 1.0}},
    ),
}
"""By the names that `models pull` and `models add` take."""


def title(family: str | None) -> str:
    """A family in words for people."""
    known = FAMILIES.get(family or "")
    return known.title if known else family or "a family that its header does not tell"
