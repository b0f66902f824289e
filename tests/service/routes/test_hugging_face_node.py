"""Hugging Face's inference endpoint, asked by its client for Node."""

from tests.service.conftest import png
from tests.service.routes.test_openai_node import (  # noqa: F401
    pictures,
    pytestmark,
    run,
    working,
)


def test_pictures_from_a_prompt_and_from_a_picture(run, jobs):  # noqa: F811
    told = run("hugging-face.mjs", "/hf/pix", count=2)
    assert told["made"] == {"type": "image/png", "bytes": len(png(color=(0, 9, 9)))}
    assert told["changed"]["type"] == "image/png"
    assert told["error"]["status"] == 422
    changed, made = (job.request for job in jobs.page().jobs)
    asked = {"prompt": "a cat", "negative_prompt": "a dog", "width": 64, "height": 128, "seed": 7}
    assert {name: made[name] for name in asked} == asked
    asked = {"task": "image-to-image", "prompt": "blue", "strength": 0.5}
    assert {name: changed[name] for name in asked} == asked
