"""What pictures tell of the requests that made them, and the request back; used by all processes,
knows neither HTTP nor torch. How it is written into a file is in marks.py."""

import io
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from PIL import Image

from darkroom import __version__
from darkroom.errors import InvalidImageError
from darkroom.hires import upscale_model
from darkroom.marks import Provenance, marks_of
from darkroom.request import MetadataLevel
from darkroom.schedulers import SCHEDULE_TYPES, short

_LABEL = re.compile(
    r"(negative\s+prompt|steps|sampler|schedule\s+type|cfg\s+scale|seed|size|model|"
    r"denoising\s+strength|clip\s+skip|version)\s*:",
    re.IGNORECASE,
)


def least(*levels: MetadataLevel) -> MetadataLevel:
    """The one that tells least."""
    return max(levels, key=get_args(MetadataLevel).index)


def describe(request: Mapping[str, Any], index: int, level: MetadataLevel) -> Provenance | None:
    """What picture `index` of a job says of itself, from the request as it was stored."""
    model, seed = request["model"], request["seed"] + index
    if level == "none":
        return None
    if level == "minimal":
        return Provenance(model, seed)
    exact = {"version": __version__, "request": request, "index": index, "seed": seed}
    return Provenance(
        model,
        seed,
        prompt=request.get("prompt") or None,
        infotext=infotext(request, seed),
        exact=json.dumps(exact, ensure_ascii=True, separators=(",", ":")),
    )


def request_of(data: bytes) -> dict[str, Any]:
    """The request that makes the picture in the file `data` again, and no other picture of its
    job. Raises InvalidImageError."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
            exact = marks_of(image).exact
    except (OSError, SyntaxError, ValueError) as error:
        raise InvalidImageError("Not a whole picture in PNG, JPEG or WebP.") from error
    try:
        return exact_request(json.loads(exact or ""))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InvalidImageError("The picture does not hold the request that made it.") from error


def exact_request(made: Mapping[str, Any]) -> dict[str, Any]:
    """The request of one picture, out of what it holds. Raises TypeError, KeyError."""
    one = {"num_images": 1} if "num_images" in made["request"] else {}
    return {**made["request"], "seed": made["seed"], **one}


def infotext(request: Mapping[str, Any], seed: int) -> str:
    """A1111's description of a picture: prompt, negative prompt, one line of settings."""
    options, hires = request.get("scheduler_options") or {}, request.get("hires") or {}
    clip_skip = request.get("clip_skip")
    settings = {
        "Steps": request["num_inference_steps"],
        "Sampler": short(request["scheduler"]),
        "Schedule type": SCHEDULE_TYPES.get(options.get("sigmas") or ""),
        "CFG scale": request.get("guidance_scale"),
        "Seed": seed,
        "Size": f"{request['width']}x{request['height']}",
        "Model": request["model"],
        "Denoising strength": request.get("strength", hires.get("strength")),
        "Hires upscale": hires.get("scale"),
        "Hires steps": hires.get("num_inference_steps"),
        "Hires upscaler": upscale_model(request) or str(hires.get("upscaler", "")).title(),
        "Mask blur": request.get("mask_blur"),
        "Masked area padding": request.get("padding_mask_crop"),
        "Clip skip": clip_skip + 1 if clip_skip else None,  # A1111 counts the layer it stops at
        "Class": request.get("class_label"),
        "Lora": _names_and_scales(request.get("loras", ())),
        "ControlNet": _names_and_scales(request.get("controls", ())),
        "Version": f"darkroom-{__version__}",
    }
    line = ", ".join(f"{k}: {_quote(v)}" for k, v in settings.items() if v not in (None, ""))
    prompt, negative = (_on_one_line(request.get(f) or "") for f in ("prompt", "negative_prompt"))
    parts = [prompt, f"Negative prompt: {negative}" if negative else "", line]
    return "\n".join(part for part in parts if part)


def _on_one_line(text: str) -> str:
    """A prompt that no reader takes for settings or for the other prompt: some look for their names
    anywhere."""
    return _LABEL.sub(r"\1 :", " ".join(text.splitlines()).strip())


def _names_and_scales(adapters: Iterable[Mapping[str, Any]]) -> str:
    """`one:0.8; other:1.0`. Without commas: many readers split there, quoted or not."""
    return "; ".join(f"{each['name']}:{each['scale']}" for each in adapters)


def _quote(value: Any) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if re.search(r"[,:\n]", text) else text
