"""Whether two versions of Darkroom make the same pictures, byte for byte, on one machine.

    python -m benchmarks.same_pictures --write FILE.json
    python -m benchmarks.same_pictures --compare FILE.json

Starts `darkroom up` with the demo models and a tiny random one of each family, and sends the same
jobs in three rounds: `apart`, all at once, each `deterministic`; `alone`, without that and one
after another; `together`, without that and all at once, those that company does not change. Writes
down what each job became: its request as the service filled it in and the SHA-256 of each picture,
of the file and of its pixels; or compares with what was written and exits with 1 if anything
differs or a job failed.

Knows the command line, HTTP and the tests' models, so that modules can move meanwhile. On another
kind of processor or with another torch the bits may be others; files with metadata tell the
version. Without `deterministic` company may change a last bit, and who shares a pass depends on the
clock: where `together` alone differs, run it again.
"""

import argparse
import base64
import hashlib
import io
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import torch
from PIL import Image, ImageDraw
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests import tiny, tiny_adapters
from tests.running import ROOT, RunningUp

Body = dict[str, Any]
Variants = Iterator[tuple[str, Body]]
Records = dict[str, Any]

DEMO = ROOT / "models"
CHANGED_BY_COMPANY = (
    *(", emoji, ", ", flux, ", ", ldm, ", ", upscaler, "),
    *("sd15, DDIM", "sd15, UniPC", "sdxl, rescaled", "sd15, loras", "sdxl, loras"),
    *("inpaint, sd3, plain", "inpaint, gligen, plain"),
)
"""Parts of the names of jobs that `together` leaves out: in eighteen rounds of all jobs, half of
them shuffled, the pictures of some of these were not always the same."""
LONGEST_S = 300.0
"""How long a round may take."""

CARD = """
[[models]]
name = "{name}"
source = "{source}"
limits = {{ min_size = 8, max_size = 256, size_multiple = 4 }}
{more}
"""
LORAS_OF = """
loras = [{{ name = "ink", source = "{family}-ink" }}, {{ name = "soft", source = "{family}-soft" }}]
"""
NETS = """
controlnets = [
    {{ name = "net", source = "{family}-net" }},
    {{ name = "net2", source = "{family}-net2" }},
]
"""
WORDS = """
embeddings = [{{ token = "<word>", source = "{family}-word" }}]
[models.ip_adapter]
source = "{family}-reference"
weight_name = "ip-adapter.safetensors"
image_encoder = "image_encoder"
"""
MORE: Mapping[str, str] = {
    "sd15": LORAS_OF + NETS + WORDS,
    "sdxl": LORAS_OF + NETS + WORDS,
    "sd3": LORAS_OF + NETS,
    "flux": LORAS_OF,
    "lcm": 'scheduler = "LCMScheduler"',
}
"""What stands in a family's card besides its folder."""
OTHERWISE: Mapping[str, tuple[str, str]] = {
    "sd15-half": ("sd15", 'dtype = "bfloat16"\nscheduler = "DDIMScheduler"'),
    "sd15-offloaded": ("sd15", 'offload = "model"\nvae_slicing = true'),
    "sd15-tiled": ("sd15", "vae_tiling = true\nmax_jobs = 2"),
    "sd35-short": ("sd35", "text_encoders = false"),
}
"""Further cards: the folder and how else it is loaded."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--write", type=Path, metavar="FILE")
    wanted.add_argument("--compare", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    before = json.loads(arguments.compare.read_text()) if arguments.compare else None
    with tempfile.TemporaryDirectory() as folder:
        now = measure(Path(folder))
    if arguments.write:
        arguments.write.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n")
    return show(now, before)


def measure(folder: Path) -> dict[str, Records]:
    """What the weight files hold, and what each job became."""
    models = folder / "models"
    write_models(models)
    jobs = {
        name: body | {"output": {"metadata": "none"} | body.get("output", {})}
        for name, body in all_jobs()
    }
    with (
        RunningUp(folder / "state", models / "models.toml", "--device", "cpu") as up,
        httpx2.Client(base_url=up.ready(), timeout=60, trust_env=False) as http,
    ):
        records = rounds(http, jobs)
    weights = dict(digests(models)) | dict(digests(DEMO))
    return {"weights": weights, "jobs": records}


def rounds(http: httpx2.Client, jobs: Mapping[str, Body]) -> Records:
    apart = {f"apart: {name}": body | {"deterministic": True} for name, body in jobs.items()}
    records = made(http, apart)
    for name, body in jobs.items():
        records |= made(http, {f"alone: {name}": body})
    together = {f"together: {name}": body for name, body in jobs.items() if steady(name)}
    return records | made(http, together)


def steady(name: str) -> bool:
    return not any(part in name for part in CHANGED_BY_COMPANY)


def show(now: Mapping[str, Records], before: Mapping[str, Records] | None) -> int:
    """Print what failed and what differs; returns the exit status."""
    failed = {name: job for name, job in now["jobs"].items() if job["status"] != "succeeded"}
    for name, job in failed.items():
        print(f"{job['status']}: {name}: {job['error']}")
    pictures = sum(len(job["pictures"]) for job in now["jobs"].values())
    print(f"{len(now['jobs'])} jobs, {pictures} pictures, {len(failed)} not succeeded")
    if before is None:
        return 1 if failed else 0
    differing = [
        line for part in ("weights", "jobs") for line in differences(before[part], now[part])
    ]
    print("\n".join([*differing, f"{len(differing)} differ"]))
    return 1 if failed or differing else 0


def differences(before: Records, now: Records) -> Iterator[str]:
    """A line for each name whose records are not equal, with the fields that are not."""
    for name in sorted(before.keys() | now.keys()):
        if name not in before or name not in now:
            yield f"only {'before' if name in before else 'now'}: {name}"
        elif before[name] != now[name]:
            fields = before[name].keys() | now[name].keys() if isinstance(now[name], dict) else ()
            unequal = [
                each for each in sorted(fields) if before[name].get(each) != now[name].get(each)
            ]
            yield f"differs: {name} {' '.join(unequal)}".rstrip()


def made(http: httpx2.Client, jobs: Mapping[str, Body]) -> Records:
    """Send all jobs, then wait for each."""
    sent = {name: submitted(http, name, body) for name, body in jobs.items()}
    return {name: record(http, ended(http, job)) for name, job in sent.items()}


def submitted(http: httpx2.Client, name: str, body: Body) -> dict[str, Any]:
    answer = http.post("/api/v1/jobs", json=body)
    if answer.status_code != 202:
        raise SystemExit(f"{name} is refused: {answer.text}")
    return answer.json()


def ended(http: httpx2.Client, job: dict[str, Any]) -> dict[str, Any]:
    end = time.monotonic() + LONGEST_S
    while job["status"] in ("queued", "running"):
        if time.monotonic() > end:
            raise SystemExit(f"Not done after {LONGEST_S:g} s: {json.dumps(job)}")
        url = f"/api/v1/jobs/{job['id']}"
        job = http.get(url, params={"wait": 20}).raise_for_status().json()
    return job


def record(http: httpx2.Client, job: dict[str, Any]) -> dict[str, Any]:
    files = [http.get(each["url"]).raise_for_status().content for each in job["images"]]
    return {
        "status": job["status"],
        "error": job["error"] and job["error"]["message"],
        "request": job["request"],
        "pictures": [sha256(file) for file in files],
        "pixels": [pixels(file) for file in files],
    }


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def pixels(file: bytes) -> str:
    image = Image.open(io.BytesIO(file))
    return f"{image.format} {image.mode} {image.width}x{image.height} {sha256(image.tobytes())}"


# The models


def write_models(folder: Path) -> None:
    """The tiny models with their adapters, and a models.toml for them and the demo models."""
    families = (*tiny.FAMILIES, *tiny.SPECIAL)
    for family in families:
        tiny.write(family, folder / family)
    write_adapters(folder)
    cards = [card(name, name, MORE.get(name, "").format(family=name)) for name in families]
    cards += [card(name, source, more) for name, (source, more) in OTHERWISE.items()]
    canny = f'controlnets = [{{ name = "canny", source = "{DEMO}/emoji-canny" }}]'
    cards.append(card("emoji", f"{DEMO}/emoji", canny))
    cards.append(card("emoji-upscale", f"{DEMO}/emoji-upscale", ""))
    (folder / "models.toml").write_text("".join(cards))


def card(name: str, source: str, more: str) -> str:
    return CARD.format(name=name, source=source, more=more)


def write_adapters(folder: Path) -> None:
    for family in ("sd15", "sdxl", "sd3", "flux"):
        for seed, name in enumerate(("ink", "soft")):
            where = folder / f"{family}-{name}"
            tiny_adapters.write_lora(family, where, seed, text=family in ("sd15", "sdxl"))
            put_in_order(where / tiny_adapters.LORA)
    for family in ("sd15", "sdxl"):
        config = tiny.SDXL if family == "sdxl" else {}
        for seed, name in enumerate(("net", "net2")):
            tiny_adapters.write_controlnet(folder / f"{family}-{name}", seed, **config)
        tiny_adapters.write_embedding(family, folder / f"{family}-word", 0)
        tiny_adapters.write_ip_adapter(family, folder / f"{family}-reference", 0)
    for seed, name in enumerate(("net", "net2")):
        torch.manual_seed(seed)
        tiny.sd3_controlnet().save_pretrained(folder / f"sd3-{name}")


def put_in_order(lora: Path) -> None:
    """Write what a LoRA's file tells in one order: sets of layers come in another from each
    process, and so do entries of a header that has more than one."""
    with safe_open(lora, "pt") as file:
        told = json.loads(file.metadata()["lora_adapter_metadata"])
    ordered = {k: sorted(v) if isinstance(v, list) else v for k, v in told.items()}
    metadata = {"lora_adapter_metadata": json.dumps(ordered, sort_keys=True)}
    save_file(load_file(lora), lora, metadata)


def digests(folder: Path) -> Iterator[tuple[str, str]]:
    """The SHA-256 of each weight file below."""
    for path in sorted(folder.rglob("*.safetensors")):
        yield path.relative_to(folder).as_posix(), sha256(path.read_bytes())


# The jobs


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

if __name__ == "__main__":
    sys.exit(main())
