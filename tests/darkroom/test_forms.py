"""Forms: built once, by what they depend on, and described."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from darkroom.forms import form
from darkroom.tasks import TASKS
from tests.offers import (
    DIT,
    FLUX2,
    GLIGEN,
    LDM,
    SD,
    SD_UPSCALER,
)


@pytest.fixture
def at_once():
    """Runs a function in twenty threads that begin together; what each call returned."""
    together = threading.Barrier(20)

    def run(function):
        with ThreadPoolExecutor(20) as pool:
            calls = [pool.submit(lambda: (together.wait(20), function())[1]) for _ in range(20)]
            return [call.result() for call in calls]

    return run


def test_threads_that_come_first_share_one_class(at_once):
    for width in range(64, 224, 8):
        fresh = replace(SD, width=width)
        assert len(set(at_once(lambda terms=fresh: form("inpaint", terms)))) == 1


def test_what_the_fields_do_not_depend_on_makes_no_other_class():
    usual = form("text-to-image", SD)
    moved = SD.card.model_copy(update={"source": "y", "licence": "MIT", "pinned": True})
    fewer = tuple(entry for entry in SD.fields if entry[0] != "inpaint")
    assert form("text-to-image", replace(SD, card=moved, fields=fewer)) is usual


@pytest.mark.parametrize("change", [{"width": 128}, {"schedulers": ("DDIMScheduler",)}])
def test_what_they_depend_on_makes_another(change):
    usual = form("text-to-image", SD)
    assert form("text-to-image", replace(SD, **change)) is not usual


@pytest.mark.parametrize(
    ("terms", "task"),
    [(terms, task) for terms in (SD, FLUX2, SD_UPSCALER, GLIGEN, DIT, LDM) for task in terms.tasks],
)
def test_fields_are_described_as_in_the_task(terms, task):
    shown, whole = (cls.model_json_schema() for cls in (form(task, terms), TASKS[task].request))
    parts = [(part, whole["$defs"][name]) for name, part in shown.get("$defs", {}).items()]
    for here, there in [(shown, whole), *parts]:
        assert here["description"] == there["description"]
        for name, field in here["properties"].items():
            assert field.get("description") == there["properties"][name].get("description")


def test_lists_say_how_many_entries_they_take():
    for terms, task in ((SD, "text-to-image"), (GLIGEN, "layout-to-image"), (FLUX2, "edit")):
        for cls in (form(task, terms), TASKS[task].request):
            for name, field in cls.model_json_schema()["properties"].items():
                assert field.get("type") != "array" or field["maxItems"], name
                assert field.get("type") != "array" or "maxLength" not in field, name
