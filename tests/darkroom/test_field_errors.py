"""Faults of a body in Darkroom's own words."""

import ast
import contextlib
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from darkroom.errors import InvalidRequestError
from darkroom.field_errors import CODES, field_errors, pointer
from darkroom.forms import form
from darkroom.job_options import JobOptions
from darkroom.offers import Offer
from darkroom.request import LayoutToImage
from darkroom.validation import parse
from tests.offers import BOX, CAT, CONTROL, DIT, FILE, GLIGEN, LDM, SD, SD_UPSCALER, UPSCALER, wrong

ROOT = Path(__file__).parents[2]

ODD = [
    *(None, True, 0, -1, 0.5, -7, 10**30, 1e300, float("nan"), float("inf"), "", "x", "\0", "7"),
    *("x" * 10_000, [], [None], [[]], [1] * 99, {}, {"x": 1}, {"": {}}, [{}], [{"x": 1}]),
]
"""Values of all kinds that few fields can have."""

WHOLE = {
    "output": {"format": "png", "quality": 90, "metadata": "full"},
    "scheduler_options": {
        "sigmas": None,
        "timestep_spacing": None,
        "eta": None,
        "original_inference_steps": None,
    },
    "hires": {"scale": 2.0, "strength": 0.7, "num_inference_steps": None, "upscaler": "latent"},
    "padding": {"left": 8, "top": 0, "right": 0, "bottom": 0},
    "controls": [CONTROL | {"scale": 1.0, "start": 0.0, "end": 1.0}],
    "loras": [{"name": "ink", "scale": 1.0}],
    "regions": [BOX],
    "reference_images": [FILE],
    "tags": ["a"],
    "metadata": {"a": "b"},
}
"""Fields that hold others, with all of them."""

FOREIGN = re.compile(
    r"[Ii]nput should|[Ee]xtra inputs|[Vv]alue error|Field required|[Uu]nable to|valid "
    r"|\^|\\|\[[a-z]|<|>|None|True|False|\(\?|pydantic|typ(e|ing)\b|dict|tuple|\bint\b|\bstr\b"
)
"""Words of pydantic, of regular expressions and of Python."""


def errors_of(**fields: object) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        LayoutToImage.model_validate(fields)
    return {each.pointer: each.detail for each in field_errors(caught.value, LayoutToImage)}


def test_a_wrong_entry_of_a_list_is_told_and_not_that_the_list_is_too_short() -> None:
    found = errors_of(regions=[{"phrase": "a cat", "box": [0, 0, 0, 1]}])
    assert {each for each in found if each.startswith("/regions")} == {"/regions/0/box"}
    assert found["/prompt"] == "This field is required."


def test_a_list_without_entries_is_told_as_a_whole() -> None:
    assert errors_of(regions=[])["/regions"] == "Must not be empty."


def test_each_of_many_wrong_fields_is_told_once() -> None:
    found = errors_of(**{f"k{number}": 1 for number in range(500)})
    assert found["/k499"] == "There is no such field."
    assert len([each for each in found if each.startswith("/k")]) == 500


def test_pointers_escape_what_rfc_6901_escapes() -> None:
    assert pointer("a/b", "~c", "0") == "/a~1b/~0c/0"
    assert errors_of(**{"a/b": 1})["/a~1b"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"steps": 20}, "num_inference_steps"),
        ({"tag": ["x"]}, "tags"),
        ({"mask": FILE}, "mask_image"),
        ({"init_image": FILE}, "image"),
        ({"init_images": [FILE]}, "image"),
        ({"denoising_strength": 0.5}, "strength"),
        ({"lora": "ink"}, "loras"),
        ({"num_images_per_prompt": 2}, "num_images"),
        ({"output": {"type": "png"}}, "format"),
        ({"scheduler_options": {"karras": True}}, "sigmas"),
        ({"scheduler_options": {"spacing": "leading"}}, "timestep_spacing"),
        ({"loras": [{"name": "ink", "weight": 1}]}, "scale"),
        ({"controls": [CONTROL | {"preprocessor": "canny"}]}, "preprocess"),
        ({"controls": [CONTROL | {"strat": 0.5}]}, "start"),
        ({"image": FILE, "padding": {"botom": 8}}, "bottom"),
    ],
)
def test_a_name_that_is_nearly_right_is_told(body: dict, told: str) -> None:
    [detail] = wrong(CAT | body).values()
    assert detail == f"There is no such field. Did you mean {told}?"


def test_the_name_of_an_entry_is_pointed_at_by_itself() -> None:
    [error] = refusal({"prompt": "x", "metadata": {"a\0": "b"}}, SD).errors
    assert (error.pointer, error.code) == ("/metadata/a\0", "character")


def places(value: object, path: tuple = ()) -> list[tuple]:
    """Where in a body something stands."""
    inner: list[tuple] = []
    if isinstance(value, dict):
        inner = [each for key in value for each in places(value[key], (*path, key))]
    if isinstance(value, list):
        inner = [each for i, entry in enumerate(value) for each in places(entry, (*path, i))]
    return [path, *inner]


def put(value: object, path: tuple, odd: object) -> object:
    """`value` with `odd` at `path`."""
    if not path:
        return odd
    head, *rest = path
    if isinstance(value, list):
        return [put(each, tuple(rest), odd) if i == head else each for i, each in enumerate(value)]
    return value | {head: put(value[head], tuple(rest), odd)}


@pytest.mark.parametrize(
    ("terms", "task"),
    [
        (terms, task)
        for terms in (SD, GLIGEN, DIT, LDM, UPSCALER, SD_UPSCALER)
        for task in terms.tasks
    ],
)
def test_whatever_is_wrong_is_told_in_our_words(terms, task) -> None:
    names = {*form(task, terms).model_fields, *JobOptions.model_fields, "nope"}
    refused = 0
    for name in sorted(names):
        for path in places(WHOLE.get(name, 1)):
            for odd in ODD:
                body = {"task": task, name: put(WHOLE.get(name, 1), path, odd)}
                with contextlib.suppress(NotRefused):
                    check_words(refusal(body, terms))
                    refused += 1
    assert refused > 100


class NotRefused(Exception):
    pass


def refusal(body: dict, terms: Offer) -> InvalidRequestError:
    try:
        parse(body, terms)
    except InvalidRequestError as error:
        return error
    raise NotRefused


def check_words(error: InvalidRequestError) -> None:
    for each in error.errors:
        assert each.code in CODES.keys() - {"invalid"}, each
        assert not FOREIGN.search(each.detail), each
        assert re.match(r"[A-Z]|width x height|[a-z-]+ takes no", each.detail), each
        assert each.detail[-1] in ".?", each


def test_every_code_that_is_given_is_listed() -> None:
    given = set()
    for path in [*(ROOT / "darkroom").rglob("*.py"), *(ROOT / "service").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            place = {"FieldError": 2, "PydanticCustomError": 0}.get(node.func.id)
            if place is not None and isinstance(node.args[place], ast.Constant):
                given.add(node.args[place].value)
    assert len(given) > 5
    assert given <= set(CODES)
