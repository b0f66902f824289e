"""Every family of pipelines makes the size that it is asked for, with guidance that acts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from darkroom.catalog import Catalog
from darkroom.costs import Work
from darkroom.errors import InvalidRequestError, UnsupportedError
from darkroom.families import diffusers_table
from darkroom.input_images import IMAGE, MASK
from darkroom.model_card import ModelCard
from darkroom.networks import main_names, network_of
from darkroom.offers import Offer, offer
from darkroom.request import Request, TextToImage
from darkroom.tasks import TASKS
from darkroom.validation import completed, parse
from tests import tiny, tiny_edits, tiny_families, tiny_transformers
from tests.offers import BARE
from worker.gathering.gather import Gather
from worker.loading import pipelines
from worker.loading.pipelines import LoadedModel
from worker.making import sizes, tasks

LONG = {"flux2", "hunyuan-dit", "if", "kandinsky3", "pixart-sigma", "sana", "sana-sprint"}
# Of which no tiny model was built.
UNTRIED = {
    *("GlmImagePipeline", "Ideogram4Pipeline", "LuminaPipeline"),
    *("KolorsImg2ImgPipeline", "KolorsPipeline"),  # but see test_pipelines.py
    *("NucleusMoEImagePipeline", "PRXPipeline", "PixArtAlphaPipeline", "QwenImage21Pipeline"),
}
EDITORS = {name: tiny_edits.FAMILIES[name] for name in ("flux2", "qwen-edit", "z-image-omni")}
"""Those that do something else, too."""
TINY = tiny_families.FAMILIES | {name: tiny.FAMILIES[name] for name in ("flux", "sd3", "sdxl")}
TINY |= EDITORS
NAMES = [pytest.param(name, marks=pytest.mark.long if name in LONG else ()) for name in TINY]


@pytest.fixture(params=NAMES)
def loaded(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[LoadedModel, Offer]:
    """A tiny model of a family, and what can be asked of it."""
    torch.manual_seed(3)
    pipeline = TINY[request.param]()
    tiny_transformers.awake(network_of(pipeline))
    pipeline.save_pretrained(tmp_path, safe_serialization=True)
    card = ModelCard(name="m", source=str(tmp_path), limits={"min_size": 8})
    catalog = Catalog([card], "m", tmp_path)
    model = pipelines.load(card, catalog, Gather(), torch.device("cpu"))
    return model, offer(catalog, card, model.record)


def asked(terms: Offer, task: str, size: tuple[int, int], guidance: float) -> Request:
    body = {"task": task, "prompt": "a cat", "num_inference_steps": 2, "seed": 3}
    body |= {"guidance_scale": guidance, "strength": 0.9, "width": size[0], "height": size[1]}
    pictures = {"image": "file_" + "0" * 64, "mask_image": "file_" + "1" * 64, "mask_blur": 0}
    given = {name: each for name, each in (body | pictures).items() if name in terms.takes(task)}
    return completed(parse({**given, "task": task}, terms), terms, size)


def made(model: LoadedModel, request: Request) -> np.ndarray:
    size = (request.width, request.height)
    mask = Image.new("L", size)
    mask.paste(255, (0, 0, size[0] // 2, size[1]))
    inputs = {IMAGE: Image.linear_gradient("L").resize(size).convert("RGB"), MASK: mask}
    with torch.no_grad():
        [picture] = tasks.run(request, model, inputs).pictures
    return picture


@pytest.mark.filterwarnings("ignore:In CPU autocast")  # of depth-to-image, harmless
def test_the_size_that_is_asked_is_made_and_guidance_acts(
    loaded: tuple[LoadedModel, Offer],
) -> None:
    model, terms = loaded
    step = terms.limits.size_multiple
    size = (2 * step * -(-16 // step) // 2 + step, step * -(-16 // step))
    for task in set(terms.tasks) - {"edit"}:  # see test_edits.py
        weak, strong = (made(model, asked(terms, task, size, scale)) for scale in (1.5, 45.0))
        compare_costs(model, asked(terms, task, size, 4.0))
        assert weak.shape == strong.shape == (size[1], size[0], 3), task
        assert (weak != strong).any(), task
        if {"width", "height"} <= terms.takes(task) - TASKS[task].brings:
            off = (size[0] + step // 2, size[1])
            with pytest.raises(InvalidRequestError, match="width"):
                asked(terms, task, off, 1.0)


@pytest.mark.long
def test_sana_sprint_takes_any_number_of_steps(tmp_path: Path) -> None:
    pipeline = tiny_families.sana_sprint()
    tiny_transformers.awake(pipeline.transformer)
    pipeline.save_pretrained(tmp_path, safe_serialization=True)
    card = ModelCard(name="m", source=str(tmp_path), limits={"min_size": 8})
    catalog = Catalog([card], "m", tmp_path)
    model = pipelines.load(card, catalog, Gather(), torch.device("cpu"))
    terms = offer(catalog, card, model.record)
    step = terms.limits.size_multiple
    request = asked(terms, "text-to-image", (step, step), 4.5)
    few = [
        made(model, request.model_copy(update={"num_inference_steps": steps})).tobytes()
        for steps in (1, 2, 4)
    ]
    assert len(set(few)) == 3


def compare_costs(model: LoadedModel, request: Request) -> None:
    """The cost model foresees the passes of a guided job, and the rows that each has."""
    if hasattr(request, "strength"):  # half of two steps is one for all, .9 of them is not
        request = request.model_copy(update={"strength": 0.5})
    rows: list[int] = []

    def count(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        first = [*args, *(kwargs.get(name) for name in ("hidden_states", "sample", "x"))]
        rows.append(len(next(each for each in first if each is not None)))

    network = next(each for n in main_names() if (each := model.components.get(n)))
    hook = network.register_forward_pre_hook(count, with_kwargs=True)
    try:
        made(model, request)
    finally:
        hook.remove()
    work = Work.of(request.model_dump(mode="json"), model.record)
    once_more = request.scheduler == "PNDMScheduler"  # in its first step
    assert rows == [work.rows] * (work.passes + once_more), request.task


def test_all_families_of_the_table_are_tried_or_named_here() -> None:
    tried = {type(make()).__name__ for make in TINY.values()}
    tried |= {type(make()).__name__ for make in (tiny.FAMILIES | tiny.SPECIAL).values()}
    tried |= {make.__annotations__["return"].__name__ for make in tiny_edits.FAMILIES.values()}
    known = diffusers_table()["pipelines"]
    tried &= known.keys()
    made_by = {cls for name in tried for cls in known[name]["classes"].values()}
    untried = {name for name, can in known.items() if not made_by >= set(can["classes"].values())}
    assert untried == UNTRIED


def test_a_side_beyond_the_positions_of_the_network_is_unsupported(tmp_path: Path) -> None:
    model = tiny.load("sd3", tmp_path, Gather())
    request = TextToImage(
        **{"task": "text-to-image", "model": "m", "prompt": "a cat", "width": 68, "height": 32},
        **{"num_inference_steps": 1, "scheduler": model.schedulers.own, "seed": 1, "num_images": 1},
    )
    with pytest.raises(UnsupportedError, match="at most 64 on a side, not 68 x 32"):
        made(model, request)
    assert made(model, request.model_copy(update={"width": 64})).shape == (32, 64, 3)


def test_a_picture_of_another_size_is_no_answer() -> None:
    request = asked(BARE, "text-to-image", (64, 32), 1.0)
    sizes.compare([np.zeros((32, 64, 3), np.uint8)], request)
    with pytest.raises(UnsupportedError, match="makes 32 x 64 of 64 x 32"):
        sizes.compare([np.zeros((64, 32, 3), np.uint8)], request)
