"""Makes the pictures of the pages with a running service: `python -m docs.pictures URL`.

grid.png for the README: picture i has seed i, none is picked or left out. pictures/*.png for
tasks.md, each from the body that stands above it there.
"""

import base64
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
from PIL import Image, ImageDraw

DOCS = Path(__file__).parent
COLUMNS, SIDE = 8, 96
PROMPTS = """
a rocket
large cat face on a green background
grinning face on a purple background
red apple
pizza
car on a white background
red heart
tree on a yellow background
frog face on a pink background
large penguin on a blue background
mushroom on a blue background
smiling face with sunglasses on a pink background
banana on a gray background
robot on an orange background
snowman on a blue background
cherries
strawberry on a white background
green apple on a purple background
panda face on a green background
hamburger
watermelon on a black background
sunflower on a blue background
cactus on an orange background
soccer ball on a green background
""".strip().splitlines()

_EXAMPLE = re.compile(r"```json\n(?P<body>[^`]*)```\n(?P<images>\n<img [^\n]*\n)?")


def main(url: str) -> None:
    with httpx2.Client(base_url=url, timeout=120) as http:
        _grid([made(http, {"prompt": p, "seed": i}) for i, p in enumerate(PROMPTS)])
        _mask().save(DOCS / "pictures" / "mask.png")
        for body, name in examples():
            if name is None:
                continue
            picture = made(http, with_pictures(body))
            (DOCS / "pictures" / name).write_bytes(picture)
            if name == "apple.png":
                small = opened(picture).resize((32, 32), Image.Resampling.BICUBIC)
                small.save(DOCS / "pictures" / "small.png")


def examples() -> Iterator[tuple[dict, str | None]]:
    """Each body of tasks.md with the picture that it makes: the last one below it."""
    for found in _EXAMPLE.finditer((DOCS / "tasks.md").read_text()):
        names = re.findall(r'src="pictures/([^"]+)"', found["images"] or "")
        yield json.loads(found["body"]), names[-1] if names else None


def with_pictures(body: dict) -> dict:
    """`<pictures/x.png>` replaced by the base64 of that file."""

    def encoded(match: re.Match[str]) -> str:
        return base64.b64encode((DOCS / match[1]).read_bytes()).decode()

    return json.loads(re.sub(r"<(pictures/[\w.-]+)>", encoded, json.dumps(body)))


def _grid(pictures: list[bytes]) -> None:
    grid = Image.new("RGB", (COLUMNS * SIDE, len(pictures) // COLUMNS * SIDE))
    for i, picture in enumerate(pictures):
        large = opened(picture).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        grid.paste(large, (i % COLUMNS * SIDE, i // COLUMNS * SIDE))
    grid.save(DOCS / "grid.png", optimize=True)


def _mask() -> Image.Image:
    mask = Image.new("L", (64, 64))
    ImageDraw.Draw(mask).rectangle((32, 0, 63, 63), fill=255)
    return mask


def made(http: httpx2.Client, body: dict) -> bytes:
    """The first picture of a job, as the service sends it."""
    job = http.post("/api/v1/jobs", json=body).raise_for_status().json()
    while job["status"] in ("queued", "running"):
        job = http.get(job["urls"]["self"], params={"wait": 60}).raise_for_status().json()
    return http.get(job["images"][0]["url"]).raise_for_status().content


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


if __name__ == "__main__":
    main(sys.argv[1])
