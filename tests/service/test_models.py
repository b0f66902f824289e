import pytest
from jsonschema import Draft202012Validator

from darkroom.models import ModelRecord


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


def test_a_model_that_could_not_be_loaded_says_why(api, here):
    failed = ModelRecord(
        name="other",
        tasks=("text-to-image",),
        schedulers=("DDIMScheduler",),
        error="No file named model_index.json.",
    )
    here.records.put(failed)
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
