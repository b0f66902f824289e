import base64
import json

import httpx2
import pytest
from jsonschema import Draft202012Validator

from darkroom.model_record import ModelRecord
from darkroom.queue.model_records import ModelRecords
from tests.service.conftest import png


def test_models_are_listed_the_default_first(api):
    listing = api.get("/api/v1/models").json()
    assert listing["object"] == "list"
    assert [(m["id"], m["default"]) for m in listing["data"]] == [("pix", True), ("other", False)]
    pix = listing["data"][0]
    assert pix["tasks"] == ["text-to-image", "image-to-image"]
    assert pix["licence"] == "CC0-1.0"
    assert pix["defaults"]["width"] == 64
    assert pix["limits"]["max_steps"] == 100
    assert pix["schedulers"] == ["DDIMScheduler", "EulerDiscreteScheduler"]
    assert "schemas" not in pix


def test_workers_that_hold_and_serve_a_model_are_named(api, announced):
    announced(name="gpu-0", serves=("pix", "other"), models=("pix",))
    pix, other = api.get("/api/v1/models").json()["data"]
    assert (pix["loaded_on"], pix["served_by"]) == (["gpu-0"], ["gpu-0"])
    assert (other["loaded_on"], other["served_by"]) == ([], ["gpu-0"])


def test_a_model_that_could_not_be_loaded_says_why(api, redis):
    failed = ModelRecord(
        name="other",
        tasks=("text-to-image",),
        schedulers=("DDIMScheduler",),
        error="No file named model_index.json.",
    )
    ModelRecords(redis).put(failed)
    pix, other = api.get("/api/v1/models").json()["data"]
    assert other["error"] == "No file named model_index.json."
    assert pix["error"] is None


@pytest.mark.parametrize("name", ["pix", "demo", "tiny/pix", "tiny%2fpix"])
def test_a_model_is_found_by_name_alias_or_source(api, name):
    assert api.get(f"/api/v1/models/{name}").json()["id"] == "pix"


def test_the_schema_is_what_the_api_checks(api):
    schemas = api.get("/api/v1/models/pix").json()["schemas"]
    assert set(schemas) == {"text-to-image", "image-to-image"}
    check = Draft202012Validator(schemas["text-to-image"])
    check.check_schema(schemas["text-to-image"])
    cat = {"prompt": "a cat"}
    for change in (
        {},
        {"num_inference_steps": 100},
        {"num_inference_steps": 101},
        {"num_images": 5},
        {"width": 65},
        {"width": 128, "height": 128},
        {"scheduler": "EulerDiscreteScheduler"},
        {"scheduler": "Nonsense"},
        {"priority": "low", "tags": ["a"], "metadata": {"k": "v"}, "deadline_s": 5},
        {"priority": "urgent"},
        {"deadline_s": 0},
        {"task": "inpaint"},
        {"nonsense": 1},
        {"prompt": ""},
        {"prompt": None},
    ):
        body = cat | change
        accepted = api.post("/api/v1/jobs", json=body).status_code == 202
        assert check.is_valid(body) is accepted, change


@pytest.mark.parametrize("name", ["pics", "x/y", "%00", "..%2f..%2fetc", "%f0%9f%8c%9a", "*"])
def test_unknown_models(api, name):
    response = api.get(f"/api/v1/models/{name}")
    assert response.status_code == 404
    document = response.json()
    assert document["code"] == "model_not_found"
    assert document["near"] == (["pix"] if name == "pics" else [])


def test_a_name_of_any_length_is_answered(api):
    assert api.get("/api/v1/models/" + "x" * 5000).status_code == 422


def test_adapters_are_listed_with_licence_and_fault(api, redis):
    known = ModelRecord(
        name="other",
        pipeline="StableDiffusionPipeline",
        tasks=("text-to-image",),
        schedulers=("DDIMScheduler",),
        loras=("ink", "quick"),
        faults={"lora:torn": "tiny/torn: does not fit"},
    )
    ModelRecords(redis).put(known)
    other = api.get("/api/v1/models/other").json()
    defaults = [each.pop("defaults") for each in other["loras"]]
    assert [each["num_inference_steps"] for each in defaults] == [None, None, 3]
    assert other["loras"] == [
        {"name": "ink", "licence": "CC0-1.0", "error": None},
        {"name": "torn", "licence": None, "error": "tiny/torn: does not fit"},
        {"name": "quick", "licence": None, "error": None},
    ]
    assert "loras" in other["fields"]["text-to-image"]
    body = {"model": "other", "prompt": "a cat"}
    with_ink = api.post("/api/v1/jobs", json=body | {"loras": [{"name": "ink", "scale": 0.5}]})
    assert with_ink.json()["request"]["loras"] == [{"name": "ink", "scale": 0.5}]
    quick = api.post("/api/v1/jobs", json=body | {"loras": [{"name": "quick"}]})
    assert quick.json()["request"]["num_inference_steps"] == 3
    torn = api.post("/api/v1/jobs", json=body | {"loras": [{"name": "torn"}]})
    assert torn.json()["errors"][0]["pointer"] == "/loras/0/name"
    elsewhere = api.post("/api/v1/jobs", json={"prompt": "a cat", "loras": [{"name": "ink"}]})
    (error,) = elsewhere.json()["errors"]
    assert (elsewhere.status_code, error["pointer"]) == (422, "/loras")
    assert error["detail"].endswith("other.")


def test_pictures_anywhere_in_a_request_are_taken_in(api, redis):
    image = base64.b64encode(png()).decode()
    known = ModelRecord(
        name="other",
        pipeline="StableDiffusionPipeline",
        tasks=("text-to-image", "inpaint"),
        schedulers=("DDIMScheduler",),
        controlnets=("canny",),
        reference=True,
    )
    ModelRecords(redis).put(known)
    body = {
        "model": "other",
        "prompt": "a cat",
        "image": image,
        "mask_image": image,
        "controls": [{"name": "canny", "image": image}],
    }
    kept = api.post("/api/v1/jobs", json=body).json()["request"]
    assert kept["task"] == "inpaint"
    pictures = (kept["image"], kept["mask_image"], kept["controls"][0]["image"])
    assert all(each.startswith("file_") for each in pictures)
    damaged = body | {"controls": [{"name": "canny", "image": image[:40]}]}
    (error,) = api.post("/api/v1/jobs", json=damaged).json()["errors"]
    assert error["pointer"] == "/controls/0/image"


@pytest.mark.usefixtures("redis")
def test_a_model_that_was_taught_little_lists_what_it_can_draw(serving, valkey, tmp_path):
    (tmp_path / "words.txt").write_text("red apple | apple\nrocket\n+ large small\n")
    (tmp_path / "models.toml").write_text(
        '[[models]]\nname = "a"\nsource = "x"\nvocabulary = "words.txt"\nexamples = ["a rocket"]\n'
    )
    served = serving(redis_url=valkey.url, state_dir=tmp_path, models=tmp_path / "models.toml")
    with httpx2.Client(base_url=served.url, timeout=20) as client:
        model = client.get("/api/v1/models/a").json()
        listed = client.get("/api/v1/models").json()["data"][0]
    assert model["vocabulary"] == {
        "things": [["red apple", "apple"], ["rocket"]],
        "words": ["large", "small"],
    }
    assert model["examples"] == listed["examples"] == ["a rocket"]
    assert "vocabulary" not in listed


@pytest.mark.usefixtures("redis")
def test_a_model_that_cannot_be_run_says_so_before_any_worker_tried(serving, valkey, tmp_path):
    index = {"_class_name": "StableCascadeCombinedPipeline", "scheduler": ["diffusers", "X"]}
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model_index.json").write_text(json.dumps(index))
    (tmp_path / "models.toml").write_text('[[models]]\nname = "a"\nsource = "weights"\n')
    served = serving(redis_url=valkey.url, state_dir=tmp_path, models=tmp_path / "models.toml")
    with httpx2.Client(base_url=served.url, timeout=20) as client:
        model = client.get("/api/v1/models/a").json()
        answer = client.post("/api/v1/jobs", json={"prompt": "a cat"})
    said = "the pipeline 'StableCascadeCombinedPipeline' is not one of those that Darkroom can run"
    assert said in model["error"]
    assert model["tasks"] == []
    assert answer.status_code == 422
    assert said in answer.json()["errors"][0]["detail"]
