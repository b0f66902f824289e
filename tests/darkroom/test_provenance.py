"""What pictures say of themselves; tests/darkroom/test_encoding.py has it written and read back."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sd_parsers.data import PromptInfo
from sd_parsers.parsers import AUTOMATIC1111Parser

from darkroom import __version__
from darkroom.catalog import Catalog
from darkroom.draft import stored
from darkroom.errors import InvalidImageError
from darkroom.families import diffusers_table
from darkroom.marks import text_chunks, xmp
from darkroom.model_record import ModelRecord
from darkroom.offers import offer
from darkroom.provenance import describe, infotext, least, request_of
from darkroom.validation import completed, parse

REQUEST = {
    "task": "image-to-image",
    "model": "pix",
    "prompt": 'a "red" cat, sitting: here\nsecond line ☃',
    "negative_prompt": "dog, blur",
    "width": 64,
    "height": 48,
    "num_inference_steps": 20,
    "guidance_scale": 7.5,
    "scheduler": "DPMSolverMultistepScheduler",
    "scheduler_options": {"sigmas": "karras", "timestep_spacing": None},
    "seed": 41,
    "num_images": 2,
    "strength": 0.6,
}

INPUT = f"file_{'0' * 64}"
BODIES = {
    "text-to-image": {"prompt": "a cat"},
    "image-to-image": {"prompt": "a cat", "image": INPUT},
    "inpaint": {"prompt": "a cat", "image": INPUT, "mask_image": INPUT},
    "edit": {"prompt": "make it red", "images": [INPUT]},
    "upscale": {"image": INPUT},
    "layout-to-image": {"prompt": "a", "regions": [{"phrase": "b", "box": [0, 0, 1, 1]}]},
    "class-to-image": {"class_label": 1},
    "unconditional": {},
}

IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
MADE_BY_A_MODEL = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


def fields(packet: bytes) -> dict[str, str]:
    """What an XMP packet says, by name."""
    (description,) = ElementTree.fromstring(packet)[0]
    return {element.tag: element.text for element in description}


def settings(**more: object) -> str:
    return infotext(REQUEST | more, 42).splitlines()[-1]


def test_the_settings_are_those_that_a1111_writes():
    assert settings() == (
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 42, "
        f"Size: 64x48, Model: pix, Denoising strength: 0.6, Version: darkroom-{__version__}"
    )


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"clip_skip": 1}, "Clip skip: 2"),
        ({"mask_blur": 0}, "Mask blur: 0"),
        ({"class_label": 0}, "Class: 0"),
        ({"model": "a, b: c"}, 'Model: "a, b: c"'),
        (
            {"loras": [{"name": "ink", "scale": 0.8}, {"name": "x", "scale": 1.0}]},
            'Lora: "ink:0.8; x:1.0"',
        ),
        ({"controls": [{"name": "canny", "scale": 0.5}]}, 'ControlNet: "canny:0.5"'),
    ],
)
def test_settings_that_only_some_requests_have(asked, told):
    assert told in settings(**asked)
    assert told not in settings()


FORGED = [
    "x\nSteps: 1, Sampler: evil, Seed: 666",
    "x\r\nNegative prompt: y\nSteps: 1, Sampler: evil, CFG scale: 1, Seed: 666",
    "x\u2028Steps: 1, Sampler: evil, Seed: 666",
    "Negative prompt: x",
    "Steps: 1, Sampler: evil, CFG scale: 3, Seed: 666, Size: 8x8",
    "a negative  prompt : x, negative prompt: y",
    "\n\n",
]


def read_by_others(prompt: str, negative: str) -> PromptInfo:
    told = infotext(REQUEST | {"prompt": prompt, "negative_prompt": negative}, 42)
    return AUTOMATIC1111Parser().parse({"parameters": told})


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
def test_a_prompt_cannot_pretend_to_be_something_else(field, forged):
    given = {"prompt": "a cat", "negative_prompt": "dog"} | {field: forged}
    text = infotext(REQUEST | given, 42)
    *prompts, line = text.splitlines()
    assert line == settings()
    assert len(prompts) == 2 - (not forged.strip())
    [sampler] = read_by_others(*given.values()).samplers
    assert (sampler.name, sampler.parameters["seed"]) == ("DPM++ 2M", "42")
    told = {"prompt": sampler.prompts, "negative_prompt": sampler.negative_prompts}
    [other] = told.keys() - {field}
    assert [each.value for each in told[other]] == [given[other]]


words = st.sampled_from(
    ["Negative prompt:", "Steps: 3", "Seed: 6", ", ", "\n", "\r", "\u2028", "\x0b", '"', ":", "a"]
)


@given(st.lists(words).map("".join), st.lists(words).map("".join))
def test_whatever_the_prompts_are_readers_find_the_settings(prompt, negative):
    [sampler] = read_by_others("a" + prompt, "b" + negative).samplers
    assert (sampler.name, sampler.parameters["seed"]) == ("DPM++ 2M", "42")
    assert len(sampler.prompts) == len(sampler.negative_prompts) == 1


def test_a_request_without_a_prompt_is_its_settings():
    asked = {k: v for k, v in REQUEST.items() if k not in ("prompt", "negative_prompt")}
    assert infotext(asked, 42) == settings()


def test_the_least_is_told():
    assert least("full", "minimal") == least("minimal", "full") == "minimal"
    assert least("full", "none", "minimal") == "none"


def test_g4_nothing_is_told_when_nothing_may_be():
    assert describe(REQUEST, 0, "none") is None


def test_minimal_is_all_but_the_prompt():
    told = describe(REQUEST, 1, "minimal")
    packet = xmp(told, with_request=True)
    assert list(text_chunks(told)) == ["Software"]
    assert fields(packet) == {
        "{http://ns.adobe.com/xap/1.0/}CreatorTool": f"Darkroom {__version__}",
        f"{IPTC}DigitalSourceType": MADE_BY_A_MODEL,
        f"{IPTC}AISystemUsed": "pix",
        "{urn:darkroom:xmp/}seed": "42",
    }


def test_in_full_there_is_the_exact_request_in_one_place():
    told = describe(REQUEST, 1, "full")
    exact = json.loads(text_chunks(told)["darkroom"])
    assert exact == {"version": __version__, "request": REQUEST, "index": 1, "seed": 42}
    assert "{urn:darkroom:xmp/}request" not in fields(xmp(told))
    assert json.loads(fields(xmp(told, with_request=True))["{urn:darkroom:xmp/}request"]) == exact


def posted_back(task: str, pipeline: str, folder: Path) -> tuple[dict, dict]:
    """A resolved request of a model, and what becomes of it when it is posted again."""
    (folder / "models.toml").write_text('[[models]]\nname = "m"\nsource = "m"\n')
    catalog = Catalog.read(folder / "models.toml")
    about = {"schedulers": ("DDIMScheduler",), "scheduler": "DDIMScheduler", "width": 64}
    record = ModelRecord(name="m", tasks=(task,), height=64, pipeline=pipeline, **about)
    known = offer(catalog, catalog.find("m"), record)

    def resolved(body: dict) -> dict:
        request = completed(parse(body, known), known, (16, 16))
        return stored(request, known)

    first = resolved(BODIES[task])
    told = json.loads(text_chunks(describe(first, 0, "full"))["darkroom"])
    return first, resolved(told["request"])


@pytest.mark.parametrize(
    ("task", "pipeline"),
    [(task, name) for name, can in diffusers_table()["pipelines"].items() for task in can["tasks"]],
)
def test_a_request_posted_back_is_itself_for_every_task_and_pipeline(task, pipeline, tmp_path):
    first, again = posted_back(task, pipeline, tmp_path)
    assert first == again


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\t")))
@example("]]> <!-- & &amp; \" ' <x:y/> \n\t \u2028 \U0001f600")
@example("\ufffe\uffff")
def test_any_prompt_leaves_the_packet_well_formed(prompt):
    told = fields(xmp(describe(REQUEST | {"prompt": prompt}, 0, "full"), with_request=True))
    assert json.loads(told["{urn:darkroom:xmp/}request"])["request"]["prompt"] == prompt
    in_xml = prompt.replace("\ufffe", "?").replace("\uffff", "?")
    assert told.get(f"{IPTC}AIPromptInformation", "") == in_xml


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_has_no_request(data):
    with pytest.raises(InvalidImageError, match="Not a whole picture"):
        request_of(data)
