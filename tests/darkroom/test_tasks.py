"""Every task and every field is whole: what was forgotten of a new one fails here by its name."""

import base64
import inspect
import io
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from PIL import Image

from darkroom.cards import ControlNetCard, IPAdapterCard, LoraCard
from darkroom.catalog import Catalog
from darkroom.input_images import input_images
from darkroom.model_card import ModelCard
from darkroom.offers import Offer, offer
from darkroom.request import Request
from darkroom.tasks import TASKS, meant
from darkroom.validation import completed, parse
from service.documentation import JOB_BODY
from tests import tiny, tiny_edits
from worker.gathering.gather import Gather
from worker.making.tasks import FUNCTIONS, run

ADAPTERS = {
    "loras": (LoraCard(name="ink", source="none"),),
    "controlnets": (ControlNetCard(name="edges", source="none"),),
    "ip_adapter": IPAdapterCard(source="none", weight_name="none"),
}
CLASSES = dict.fromkeys(
    cls for task in TASKS.values() for cls in task.request.__mro__ if Request in cls.__mro__
)
LIMITS = {"min_size": 8, "max_size": 64, "size_multiple": 4}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """A folder for each tiny family."""
    root = tmp_path_factory.mktemp("families")
    written = {name: tiny.write(name, root / name) for name in (*tiny.FAMILIES, *tiny.SPECIAL)}
    layered = "qwen-layered"  # the only one that takes pictures apart
    return {**written, layered: tiny_edits.write(layered, root / layered)}


@pytest.fixture(scope="module")
def offers(folders: Mapping[str, Path]) -> Mapping[str, Offer]:
    """What each tiny model offers, with adapters in its card."""
    cards = [
        ModelCard(name=name, source=str(folder), limits=LIMITS, **ADAPTERS)
        for name, folder in folders.items()
    ]
    catalog = Catalog(cards, cards[0].name, Path())
    return {card.name: offer(catalog, card, None) for card in cards}


@pytest.mark.parametrize("task", TASKS)
def test_a_task_has_a_function_an_example_and_documentation(task: str) -> None:
    assert task in FUNCTIONS
    content = JOB_BODY["requestBody"]["content"]["application/json"]
    assert content["examples"][task]["value"] == TASKS[task].example
    named = f"#/components/schemas/{TASKS[task].request.__name__}"
    assert {"$ref": named} in content["schema"]["anyOf"]
    page = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text()
    assert f"](#{task})" in page
    assert f"## {task.capitalize()}\n" in page


def test_no_function_is_without_a_task() -> None:
    assert FUNCTIONS.keys() == TASKS.keys()


@pytest.mark.parametrize("task", TASKS)
def test_the_example_of_a_task_makes_a_picture(
    task: str, folders: Mapping[str, Path], offers: Mapping[str, Offer]
) -> None:
    family = next((name for name, terms in offers.items() if task in terms.tasks), None)
    assert family is not None, f"no family of tests/tiny.py offers {task}"
    body = {k: v for k, v in TASKS[task].example.items() if k != "model"} | {"task": task}
    given = {place: decoded(image) for place, image in input_images(body).items()}
    sizes = [image.size for image in given.values()]
    draft = parse(body | {"num_inference_steps": 2}, offers[family])
    request = completed(draft, offers[family], sizes[0] if sizes else None)
    model = tiny.load(family, folders[family], Gather())
    with torch.no_grad():
        outcome = run(request, model, given)
    assert [picture.shape for picture in outcome.pictures] == [(request.height, request.width, 3)]


@pytest.mark.parametrize(
    ("cls", "field"),
    [(cls, field) for cls in CLASSES for field in inspect.get_annotations(cls)],
)
def test_each_field_is_taken_by_some_model(
    cls: type[Request], field: str, offers: Mapping[str, Offer]
) -> None:
    """In some task that has it: not all that inherit a field have pipelines with a use for it."""
    tasks = [name for name, task in TASKS.items() if issubclass(task.request, cls)]
    able = [
        (task, family)
        for family, terms in offers.items()
        for task in tasks
        if task in terms.tasks and field in terms.takes(task)
    ]
    assert able, (
        f"no family of these takes {field}: does the field say in darkroom/request.py what "
        "it needs, and does a pipeline have it?"
    )


@pytest.mark.parametrize(
    ("body", "offered", "task"),
    [
        ({"prompt": "a cat"}, ("text-to-image", "inpaint"), "text-to-image"),
        ({"image": "x"}, ("text-to-image", "image-to-image"), "image-to-image"),
        ({"image": "x", "padding": {}}, ("text-to-image", "inpaint"), "inpaint"),
        ({"image": "x", "mask_image": None}, ("text-to-image",) * 2, "image-to-image"),
        ({"prompt": "x", "regions": []}, ("text-to-image", "layout-to-image"), "layout-to-image"),
        ({"class_label": 1}, ("class-to-image",), "class-to-image"),
        ({"image": "x"}, ("upscale",), "upscale"),
        ({"images": ["x"], "mask_image": "y"}, ("text-to-image", "edit"), "edit"),
        ({}, ("unconditional",), "unconditional"),
        ({"image": "x"}, ("text-to-image",), "text-to-image"),
    ],
)
def test_fields_mean_a_task(body: dict, offered: tuple[str, ...], task: str) -> None:
    assert meant(body, offered) == task


def decoded(text: str) -> Image.Image:
    data = base64.b64decode(text.partition(",")[2])
    return Image.open(io.BytesIO(data)).convert("RGB")
