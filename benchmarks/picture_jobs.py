"""The jobs that `same_pictures` sends: each task of each model, and whatever a request can ask."""

import base64
import io
from collections.abc import Iterator, Mapping
from typing import Any

from PIL import Image, ImageDraw

from benchmarks.picture_models import OTHERWISE
from tests import tiny

Body = dict[str, Any]
Variants = Iterator[tuple[str, Body]]


def all_jobs() -> Iterator[tuple[str, Body]]:
    """Each with a name that says task, model and what is special."""
    for task, variants in TASKS.items():
        for what, body in variants():
            yield f"{task}, {body['model']}, {what}", body | {"task": task}


def encoded(image: Image.Image, kind: str = "PNG") -> str:
    file = io.BytesIO()
    image.save(file, kind)
    return base64.b64encode(file.getvalue()).decode()


def disc(side: int, background: str = "white", mode: str = "RGB") -> Image.Image:
    image = Image.new(mode, (side, side), background)
    quarter = side // 4
    ImageDraw.Draw(image).ellipse((quarter, quarter, 3 * quarter, 3 * quarter), fill="red")
    return image


def half(side: int, shift: int = 0) -> Image.Image:
    """White on the right."""
    image = Image.new("L", (side, side), 0)
    ImageDraw.Draw(image).rectangle((side // 2 + shift, 0, side, side), fill=255)
    return image


DISC, MASK = encoded(disc(64)), encoded(half(64))
TINY, TINY_MASK = encoded(disc(16, "blue")), encoded(half(16, 2))
APPLE = {
    "model": "emoji",
    "prompt": "large red apple on a blue background",
    "seed": 1,
    "num_inference_steps": 8,
    "guidance_scale": 3.0,
}
CAT = {"prompt": "a cat", "seed": 3, "num_inference_steps": 4, "guidance_scale": 5.0}
SD15, SDXL = CAT | {"model": "sd15"}, CAT | {"model": "sdxl"}
LORAS = [{"name": "ink"}, {"name": "soft", "scale": 0.5}]
NET = {"name": "net", "image": TINY, "scale": 1.0}
TWO_NETS = [NET | {"end": 0.6}, {"name": "net2", "image": TINY, "scale": 0.5, "start": 0.3}]
CANNY = {"name": "canny", "image": DISC, "preprocess": "canny"}
SCHEDULERS = (
    *("DDIM", "DDPM", "DEIS", "DPM++ 2M", "DPM++ 2S", "Euler", "Euler a", "Heun", "DPM2", "DPM2 a"),
    *("LMS", "PLMS", "UniPC", "DPM++ 2M Karras", "Euler Exponential"),
)


def text_to_image() -> Variants:
    for model in (*tiny.FAMILIES, *OTHERWISE, "gligen"):
        yield "plain", CAT | {"model": model}
    for name in SCHEDULERS:
        yield name, SD15 | {"scheduler": name, "num_inference_steps": 5}
    for what, more in PROMPTED.items():
        yield what, SD15 | more
        yield what, SDXL | more
    yield (
        "trailing",
        SDXL | {"scheduler": "Euler", "scheduler_options": {"timestep_spacing": "trailing"}},
    )
    yield "one step", CAT | {"model": "sdxl-turbo", "num_inference_steps": 1, "guidance_scale": 0.0}
    yield "negative", CAT | {"model": "sd35", "negative_prompt": "a dog", "num_images": 2}
    yield "two nets", CAT | {"model": "sd3", "controls": TWO_NETS}
    for model in ("sd3", "flux"):
        yield "loras", CAT | {"model": model, "loras": LORAS}
    yield "in tiles", CAT | {"model": "sd15-tiled", "width": 48, "height": 32}
    yield "oblong", CAT | {"model": "flux", "width": 32, "height": 16, "num_images": 2}
    yield from outputs()
    yield from apples()


PROMPTED: Mapping[str, Body] = {
    "negative": {"negative_prompt": "a dog", "guidance_scale": 9.0},
    "weighed words": {"prompt": "a (cat:1.6) [on] a ((mat)) \\(red\\)", "num_images": 2},
    "embedding": {"prompt": "a <word> cat", "negative_prompt": "<word>"},
    "long": {"prompt": "a cat " * 40},
    "BREAK": {"prompt": "a cat BREAK a dog"},
    "clip_skip": {"clip_skip": 1},
    "no guidance": {"guidance_scale": 1.0},
    "rescaled": {"guidance_scale": 12.0, "guidance_rescale": 0.7},
    "three pictures": {"num_images": 3, "num_inference_steps": 7},
    "oblong": {"width": 24, "height": 16},
    "net": {"controls": [NET | {"preprocess": "canny"}]},
    "two nets": {"controls": TWO_NETS, "num_images": 2},
    "lora": {"loras": LORAS[:1]},
    "loras": {"loras": LORAS, "scheduler": "Euler a"},
    "references": {"reference_images": [TINY, DISC], "reference_scale": 0.9},
    "all adapters": {
        "prompt": "a <word> (cat:1.2)",
        "loras": LORAS,
        "controls": [NET],
        "reference_images": [DISC],
        "num_images": 2,
    },
}
"""What Stable Diffusion 1.5 and SDXL can."""


def outputs() -> Variants:
    for quality in (75, 95):
        for name in ("jpeg", "webp"):
            yield f"{name} {quality}", APPLE | {"output": {"format": name, "quality": quality}}
    for name, level in (("png", "full"), ("jpeg", "full"), ("webp", "full"), ("png", "minimal")):
        output = {"format": name, "metadata": level}
        yield f"{name}, {level} metadata", SD15 | {"output": output, "num_images": 2}


def apples() -> Variants:
    yield "plain", APPLE
    yield "large", APPLE | {"width": 128, "height": 96, "scheduler": "DPM++ 2M Karras"}
    yield (
        "weighed words",
        APPLE
        | {
            "prompt": "large (green:1.3) apple on a [purple] background",
            "negative_prompt": "blue",
            "num_images": 3,
        },
    )
    yield "canny", APPLE | {"controls": [CANNY]}
    yield "weak canny", APPLE | {"controls": [CANNY | {"scale": 0.4, "end": 0.5}], "num_images": 2}


def image_to_image() -> Variants:
    for strength in (0.0, 0.3, 0.9):
        yield f"strength {strength}", APPLE | {"image": DISC, "strength": strength}
    yield "canny", APPLE | {"image": DISC, "strength": 0.8, "controls": [CANNY]}
    for model in (*tiny.FAMILIES, *OTHERWISE, "gligen"):
        yield "plain", CAT | {"model": model, "image": TINY, "strength": 0.5}
    for body in (SD15, SDXL):
        yield "net", body | {"image": TINY, "controls": [NET], "strength": 0.8}
        yield "loras", body | {"image": TINY, "loras": LORAS, "scheduler": "UniPC", "num_images": 2}
    yield "of a jpeg", SD15 | {"image": encoded(disc(40), "JPEG")}
    yield "of transparency", SD15 | {"image": encoded(disc(40, "#00ff0040", "RGBA"))}
    yield "of grey", SD15 | {"image": TINY_MASK, "strength": 1.0, "width": 24, "height": 16}


def inpaint() -> Variants:
    disc_and_mask = {"image": DISC, "mask_image": MASK}
    yield "blurred", APPLE | disc_and_mask | {"mask_blur": 2, "strength": 1.0}
    yield "sharp", APPLE | disc_and_mask | {"mask_blur": 0, "strength": 0.6, "num_images": 2}
    wider = {"image": DISC, "padding": {"left": 32, "right": 32}, "width": 128, "height": 64}
    yield "wider", APPLE | wider
    yield "taller", APPLE | disc_and_mask | {"padding": {"top": 8, "bottom": 24}, "mask_blur": 6}
    yield "canny", APPLE | disc_and_mask | {"controls": [CANNY]}
    able = [name for name in tiny.FAMILIES if name != "lcm"]
    for model in (*able, *OTHERWISE, "gligen", "sd15-inpaint", "sdxl-inpaint"):
        yield "plain", CAT | {"model": model, "image": TINY, "mask_image": TINY_MASK}
    for body in (SD15, SDXL):
        more = {"image": TINY, "mask_image": TINY_MASK, "mask_blur": 1, "controls": [NET]}
        yield "net and loras", body | more | {"loras": LORAS, "num_images": 2}


def upscale() -> Variants:
    small = encoded(disc(32))
    plain = {"seed": 1, "num_inference_steps": 4}
    for model in ("emoji-upscale", "super-resolution"):
        yield "plain", plain | {"model": model, "image": small}
        yield "two pictures", plain | {"model": model, "image": TINY, "num_images": 2}
    prompted = CAT | {"model": "upscaler", "image": TINY}
    yield "plain", prompted
    yield "noisy", prompted | {"noise_level": 5, "negative_prompt": "a dog", "num_images": 2}


def layout_to_image() -> Variants:
    regions = [
        {"phrase": "a cat", "box": [0.1, 0.1, 0.6, 0.7]},
        {"phrase": "a dog", "box": [0.5, 0.3, 0.9, 0.9]},
    ]
    plain = CAT | {"model": "gligen", "regions": regions}
    yield "plain", plain
    yield "one region", plain | {"regions": regions[:1], "scheduler": "DDIM", "num_images": 2}


def class_to_image() -> Variants:
    plain = {"model": "dit", "class_label": 3, "seed": 1, "num_inference_steps": 4}
    yield "plain", plain
    yield "guided", plain | {"class_label": 207, "guidance_scale": 4.0, "num_images": 2}


def unconditional() -> Variants:
    plain = {"model": "ldm", "seed": 1, "num_inference_steps": 4}
    yield "plain", plain
    yield "three pictures", plain | {"num_images": 3, "num_inference_steps": 7}


TASKS = {
    "text-to-image": text_to_image,
    "image-to-image": image_to_image,
    "inpaint": inpaint,
    "upscale": upscale,
    "layout-to-image": layout_to_image,
    "class-to-image": class_to_image,
    "unconditional": unconditional,
}
