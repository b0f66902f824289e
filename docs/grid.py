"""Makes the README's grid of pictures with a running service: `python -m docs.grid URL`.

Picture i has seed i; none is picked or left out.
"""

import io
import sys
from pathlib import Path

import httpx2
from PIL import Image

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


def main(url: str) -> None:
    with httpx2.Client(base_url=url, timeout=120) as http:
        asked = [{"prompt": prompt, "seed": i} for i, prompt in enumerate(PROMPTS)]
        jobs = [http.post("/api/v1/jobs", json=one).raise_for_status().json() for one in asked]
        pictures = [_picture(http, job) for job in jobs]
    grid = Image.new("RGB", (COLUMNS * SIDE, len(pictures) // COLUMNS * SIDE))
    for i, picture in enumerate(pictures):
        large = picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        grid.paste(large, (i % COLUMNS * SIDE, i // COLUMNS * SIDE))
    grid.save(Path(__file__).with_name("grid.png"), optimize=True)


def _picture(http: httpx2.Client, job: dict) -> Image.Image:
    while job["status"] in ("queued", "running"):
        answer = http.get(job["urls"]["self"], params={"wait": 60})
        job = answer.raise_for_status().json()
    data = http.get(job["images"][0]["url"]).raise_for_status().content
    return Image.open(io.BytesIO(data))


if __name__ == "__main__":
    main(sys.argv[1])
