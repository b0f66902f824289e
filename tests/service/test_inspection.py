"""What files say, as answers: whose description counts, and what cannot be read."""

import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from darkroom.encoding import encode
from darkroom.provenance import describe
from tests.darkroom.test_others_requests import A1111, GRAPH
from tests.darkroom.test_provenance import REQUEST
from tests.picture_files import encoded, noise
from tests.service.conftest import png

INSPECT = "/api/v1/inspect"


@pytest.fixture
def inspect(api):
    def inspect(data: bytes) -> dict:
        answer = api.post(INSPECT, content=data, headers={"Content-Type": "image/png"})
        assert answer.status_code == 200, answer.text
        return answer.json()

    return inspect


def with_texts(**texts: str) -> bytes:
    info = PngInfo()
    for name, text in texts.items():
        info.add_itxt(name, text)
    return encoded(Image.new("RGB", (8, 4)), pnginfo=info)


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
def test_a_picture_of_ours_gives_its_request_back(inspect, image_format):
    told = describe(REQUEST, 1, "full")
    found = inspect(encode(noise((8, 4)), image_format, 90, told).data)
    assert (found["source"], found["made_by_a_model"], found["model"]) == ("darkroom", True, "pix")
    assert found["request"] == REQUEST | {"seed": 42, "num_images": 1}
    assert found["parameters"] == told.infotext
    assert (found["format"], found["width"], found["height"]) == (image_format, 8, 4)
    assert found["warnings"] == []


def test_what_it_gives_back_can_be_asked_for(inspect, api, submitted, work):
    submitted(seed=7, prompt="a dog")
    job = work.all()
    told = describe(job.request, 0, "full")
    request = inspect(encode(noise(), "webp", 90, told).data)["request"]
    again = api.post("/api/v1/jobs", json=request)
    assert again.status_code == 202, again.text
    assert again.json()["request"] == job.request


def test_a_picture_of_a1111(inspect):
    found = inspect(with_texts(parameters=A1111))
    assert (found["source"], found["made_by_a_model"]) == ("a1111", False)
    assert found["parameters"] == A1111
    assert found["request"]["seed"] == 12
    assert found["warnings"][0] == "Not taken over: ENSD."
    assert found["warnings"][1].startswith("No model is called 'dream, shaper'.")


def test_a_picture_of_comfyui(inspect):
    found = inspect(with_texts(prompt=json.dumps(GRAPH)))
    assert (found["source"], found["request"]["prompt"]) == ("comfyui", "a cat")


EXACT = {"request": {"prompt": "a dog"}, "seed": 1}


@pytest.mark.parametrize(
    "exact",
    [
        "no json",
        "[]",
        "{}",
        '{"request": 1, "seed": 1}',
        '{"request": {}, "seed": NaN}',
        '{"request": {"prompt": "\\ud800"}, "seed": 1}',
        json.dumps({"request": {f"n{n}": 1 for n in range(200)}, "seed": 1}),
        "[" * 5000,
        json.dumps(EXACT)[:-1],
    ],
)
def test_a_request_that_is_none_leaves_the_next_description(inspect, exact):
    found = inspect(with_texts(darkroom=exact, parameters=A1111))
    assert found["source"] == "a1111"
    assert inspect(with_texts(darkroom=exact))["request"] is None


def test_the_most_exact_description_counts(inspect):
    texts = {"darkroom": json.dumps(EXACT), "parameters": A1111, "prompt": json.dumps(GRAPH)}
    assert inspect(with_texts(**texts))["request"] == {"prompt": "a dog", "seed": 1}


def test_characters_that_no_answer_can_hold(inspect):
    graph = json.dumps(GRAPH).replace("a cat", "a \\ud800 cat")
    assert inspect(with_texts(prompt=graph))["request"]["prompt"] == "a ? cat"
    line = 'a\nSteps: 1, X: 1, Seed: 1, Model: "\\ud800"'
    assert inspect(with_texts(parameters=line))["request"]["model"] == "?"


def test_a_long_description_is_not_told(inspect):
    found = inspect(with_texts(parameters="a" * 70_000))
    assert (found["parameters"], found["request"]) == (None, None)


def test_a_picture_that_says_nothing(inspect):
    found = inspect(png())
    nothing = {"made_by_a_model": False, "software": None, "model": None, "source": None}
    nothing |= {"request": None, "parameters": None, "warnings": []}
    assert found == {"object": "inspection", "format": "png", "width": 8, "height": 8} | nothing


@pytest.mark.parametrize("data", [b"", b"junk", png()[:30]])
def test_what_is_no_picture(api, data):
    refused = api.post(INSPECT, content=data, headers={"Content-Type": "image/png"})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input_image")
