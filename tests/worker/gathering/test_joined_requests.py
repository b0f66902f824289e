"""Requests for models of today's families, from prompts to pictures: in company they make what they
make alone."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from darkroom.catalog import Catalog
from darkroom.input_images import IMAGE, MASK, edited
from darkroom.model_card import ModelCard
from darkroom.networks import network_of
from darkroom.offers import Offer, offer
from darkroom.request import Request
from darkroom.validation import completed, parse
from tests import tiny_edits, tiny_families, tiny_transformers
from tests.gathering import tick, values, witnessed
from worker.gathering.gather import Gather
from worker.loading import pipelines
from worker.making import tasks

# With the passes in which all their jobs get through.
FAMILIES = {"aura-flow": 4, "lumina2": 11, "qwen-image": 11, "z-image": 7}
HEAVY = {"chroma": 17, "flux-kontext": 7, "flux2-klein": 14, "hunyuan-image": 7, "qwen-edit": 8}


FILE = "file_" + "0" * 64


@pytest.fixture(autouse=True)
def no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


def requests_of(terms: Offer) -> list[Request]:
    """For each task a few, of different prompts, steps, guidance and numbers of pictures."""
    step = terms.limits.size_multiple
    least = 64 if "edit" in terms.tasks else 16
    side = step * -(-least // step)
    asked = []
    for task in terms.tasks:
        for prompt, steps, guidance, images in (
            ("a cat", 3, 4.0, 1),
            ("a cat on a mat", 2, 1.0, 1),
            ("dog", 3, 3.0, 2),
        ):
            body = {"task": task, "prompt": prompt, "num_inference_steps": steps}
            body |= {"guidance_scale": guidance, "num_images": images, "seed": 10 * len(asked)}
            body |= {"width": side, "height": side, "strength": 0.9, "mask_blur": 0}
            body |= {"image": FILE, "mask_image": FILE, "images": [FILE]}
            taken = {name: each for name, each in body.items() if name in terms.takes(task)}
            if task == "edit":
                del taken["mask_image"]
            asked.append(completed(parse(taken | {"task": task}, terms), terms, (side, side)))
    return asked


@pytest.mark.parametrize(
    ("name", "forwards"),
    [*FAMILIES.items(), *(pytest.param(*each, marks=pytest.mark.long) for each in HEAVY.items())],
)
def test_requests_in_company_make_what_they_make_alone(
    name: str, forwards: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(3)
    tiny_edits.keep_small(monkeypatch)
    pipeline = (tiny_edits.FAMILIES | tiny_families.FAMILIES)[name]()
    tiny_transformers.awake(network_of(pipeline))
    pipeline.save_pretrained(tmp_path, safe_serialization=True)
    card = ModelCard(name="m", source=str(tmp_path), limits={"min_size": 8}, dtype="float64")
    catalog, gather = Catalog([card], "m", tmp_path), Gather()
    model = pipelines.load(card, catalog, gather, torch.device("cpu"))
    network, differences = model.components["transformer"], list[float]()
    network.forward = witnessed(network.forward, differences)
    asked = requests_of(offer(catalog, card, model.record))

    def make(request: Request) -> list[np.ndarray]:
        size = (request.width, request.height)
        mask = Image.new("L", size)
        mask.paste(255, (0, 0, size[0] // 2, size[1]))
        picture = Image.linear_gradient("L").resize(size).convert("RGB")
        given = {edited(0): picture} if request.task == "edit" else {IMAGE: picture, MASK: mask}
        return tasks.run(request, model, given).pictures

    alone = [make(request) for request in asked]
    differences.clear()
    for index, request in enumerate(asked):
        gather.start(index, lambda request=request: make(request))
    while gather.parked:
        parked = gather.parked.values()
        assert all(call.joinable for call in parked if call.module_name == "transformer")
        tick(gather)
    together = values({each.owner: each for each in gather.take_ended()})
    assert max(differences) <= 1e-12
    assert gather.forwards == forwards < len(differences)
    for index, pictures in enumerate(alone):
        assert np.array_equal(pictures, together[index])
