import base64
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from darkroom import forms
from darkroom.curves import Cost
from darkroom.queue.model_records import ModelRecords
from service.bodies import read_object
from service.submission import fingerprint
from tests.picture_files import files_of, looks, texts_of
from tests.service.conftest import MODELS, RECORDS, png


def test_the_fingerprint_forgets_order_and_white_space_and_how_numbers_are_written():
    def of(raw: bytes) -> str:
        return fingerprint(read_object(raw, 1000))

    one = of(b'{"a": 1, "b": {"c": 2, "d": 3}}')
    assert one == of(b'{"b":{"d":3.0,"c":2e0},"a":1}')
    assert one != of(b'{"a": 1, "b": {"c": 2, "d": 4}}')
    assert one != of(b'{"a": "1", "b": {"c": 2, "d": 3}}')


def test_what_nobody_knows_of_a_model_reads_null_until_a_worker_begins(api, redis):
    redis.delete("darkroom:models")
    cat = {"prompt": "a cat", "model": "other"}
    answer = api.post("/api/v1/jobs", json=cat, headers={"Idempotency-Key": "k"})
    job = answer.json()
    assert answer.status_code == 202, job
    asked = job["request"]
    null = {name for name, value in asked.items() if value is None}
    assert {"width", "height", "scheduler", "guidance_scale", "negative_prompt"} <= null
    assert (asked["task"], asked["num_images"]) == ("text-to-image", 1)
    assert isinstance(asked["seed"], int)
    assert api.get(job["urls"]["self"]).json()["request"] == asked
    again = api.post("/api/v1/jobs", json=cat, headers={"Idempotency-Key": "k"}).json()
    assert (again["id"], again["request"]) == (job["id"], asked)
    card = api.get("/api/v1/models/other").json()
    assert (card["defaults"]["width"], card["defaults"]["scheduler"]) == (None, None)
    fields = card["schemas"]["text-to-image"]["properties"]
    assert not any("default" in fields[name] for name in ("width", "height", "scheduler"))
    Draft202012Validator(card["schemas"]["text-to-image"]).validate(cat)
    known = api.get("/api/v1/models/pix").json()["defaults"]
    assert (known["width"], known["scheduler"]) == (64, None)


def test_a_lora_can_be_named_with_the_model(api, redis):
    faults = {"lora:torn": "tiny/torn: damaged", "lora:quick": "tiny/quick: damaged"}
    known = {"loras": ("ink",), "faults": faults, "pipeline": "StableDiffusionPipeline"}
    ModelRecords(redis).put(RECORDS[1].model_copy(update=known))
    cat = {"prompt": "a cat", "model": "other+ink"}
    ink, half = {"name": "ink", "scale": 1.0}, {"name": "ink", "scale": 0.5}
    job = api.post("/api/v1/jobs", json=cat).json()
    assert (job["request"]["model"], job["request"]["loras"]) == ("other", [ink])
    job = api.post("/api/v1/jobs", json=cat | {"loras": [half]}).json()
    assert job["request"]["loras"] == [ink, half]
    again = api.post("/api/v1/jobs", json=job["request"]).json()
    assert again["request"] == job["request"]
    for name, said in {
        "other+inc": "the model 'other' has no LoRA 'inc'; it has ink",
        "+ink": "a model is named before the plus sign. Did you mean other+ink?",
    }.items():
        absent = api.post("/api/v1/jobs", json=cat | {"model": name})
        assert (absent.status_code, absent.json()["near"][0]) == (404, "other+ink")
        [error] = absent.json()["errors"]
        assert (error["pointer"], said in error["detail"]) == ("/model", True)
    twice = api.post("/api/v1/jobs", json=cat | {"model": "other+ink+ink"}).json()
    assert "The LoRA 'ink' is named 2 times; its scales are added." in twice["warnings"]
    wrong = api.post("/api/v1/jobs", json=cat | {"loras": 1}).json()
    assert [error["pointer"] for error in wrong["errors"]] == ["/loras"]
    faulty = api.post("/api/v1/jobs", json=cat | {"model": "other+torn"}).json()
    [error] = faulty["errors"]
    assert (error["pointer"], error["detail"]) == (
        "/model",
        "The LoRA 'torn' of the model 'other' cannot be used: tiny/torn: damaged. Of use are: ink.",
    )
    second = api.post("/api/v1/jobs", json=cat | {"loras": [half, {"name": "nope"}]}).json()
    assert [error["pointer"] for error in second["errors"]] == ["/loras/1/name"]
    ModelRecords(redis).put(RECORDS[1].model_copy(update=known | {"loras": ()}))
    none = api.post("/api/v1/jobs", json=cat | {"model": "other+torn"}).json()
    assert [error["pointer"] for error in none["errors"]] == ["/model"]
    assert api.get("/api/v1/models/other+ink").json()["id"] == "other+ink"
    assert api.get("/api/v1/models/other%2Bink").json()["id"] == "other+ink"


def test_what_the_client_gives_for_a_model_that_nobody_knows_is_checked_as_far_as_it_can_be(
    api, redis
):
    redis.delete("darkroom:models")
    for wrong in (
        {"width": 100_000},
        {"width": 65},
        {"num_inference_steps": 0},
        {"scheduler": "Nonsense"},
        {"loras": [{"name": "nobody"}]},
        {"controls": [{"name": "canny"}]},
        {"nonsense": 1},
    ):
        answer = api.post("/api/v1/jobs", json={"prompt": "a cat", "model": "other"} | wrong)
        [error] = answer.json()["errors"]
        assert error["pointer"].startswith(f"/{next(iter(wrong))}"), wrong
    right = {"scheduler": "DPM++ 2M Karras", "loras": [{"name": "ink"}], "width": 512}
    answer = api.post("/api/v1/jobs", json={"prompt": "a cat", "model": "other"} | right)
    asked = answer.json()["request"]
    assert asked["scheduler"] == "DPMSolverMultistepScheduler"
    assert asked["scheduler_options"]["sigmas"] == "karras"
    assert (asked["width"], asked["height"]) == (512, None)


def test_a_job_carries_the_seconds_that_it_is_likely_to_take(api, redis):
    """By what its model was measured to take, or else by a stated value."""
    shape = {"width": 64, "height": 64, "dtype": "float32", "passes": 50}
    took = {"unet": (2, 0.5), "encode": (1, 0.25), "decode": (1, 1.0)}
    costs = tuple(Cost(module=m, rows=n, seconds=s, **shape) for m, (n, s) in took.items())
    ModelRecords(redis).put(RECORDS[0].model_copy(update={"dtype": "float32", "costs": costs}))

    def work(**body) -> float:
        asked = {"prompt": "a cat", "num_inference_steps": 10} | body
        job = api.post("/api/v1/jobs", json=asked).json()
        return float(redis.hget(f"rq:job:{job['id']}", "dr_work"))

    assert work(model="pix") == pytest.approx(6.25)
    assert work(model="pix", num_inference_steps=20) == pytest.approx(11.25)
    assert 0 < work(model="other") < 2
    redis.delete("darkroom:models")
    assert work(model="pix") > 0


def test_twenty_that_come_first_at_once_are_all_taken(served, here, redis):  # noqa: ARG001
    together = threading.Barrier(20)

    def post(_: int) -> int:
        with httpx2.Client(base_url=served.url, timeout=20) as client:
            client.get("/livez")  # connected
            together.wait(20)
            body = {"model": "other", "prompt": "a cat"}
            return client.post("/api/v1/jobs", json=body).status_code

    with ThreadPoolExecutor(20) as pool:
        for width in range(72, 112, 8):  # a worker found something new: a new class is needed
            ModelRecords(redis).put(RECORDS[1].model_copy(update={"width": width}))
            assert Counter(pool.map(post, range(20))) == {202: 20}


@pytest.mark.parametrize(
    ("prompt_loras", "prompt", "told"),
    [(True, "a cat", "was left out"), (False, "a cat <lora:ink:1>", "is read as words")],
)
def test_tags_in_prompts_are_read_unless_that_is_switched_off(
    serving, valkey, redis, tmp_path, prompt_loras, prompt, told
):
    known = RECORDS[1].model_copy(
        update={
            "loras": ("torn",),
            "faults": {"lora:ink": "tiny/ink: damaged"},
            "pipeline": "StableDiffusionPipeline",
        }
    )
    ModelRecords(redis).put(known)
    served = serving(redis_url=valkey.url, state_dir=tmp_path, prompt_loras=prompt_loras)
    with httpx2.Client(base_url=served.url, timeout=20) as client:
        asked = {"model": "other", "prompt": "a cat <lora:ink:1>"}
        job = client.post("/api/v1/jobs", json=asked).json()
        assert job["request"]["prompt"] == prompt
        assert told in job["warnings"][0]
        asked["prompt"] = "a cat <lora:Torn:0.5>"
        job = client.post("/api/v1/jobs", json=asked).json()
        loras = [{"name": "torn", "scale": 0.5}] if prompt_loras else []
        assert job["request"]["loras"] == loras


@pytest.mark.usefixtures("redis")
def test_a_service_has_the_classes_of_its_models_before_anyone_asks(serving, valkey, tmp_path):
    fresh = tmp_path / "models.toml"
    fresh.write_text(MODELS.replace("max_steps = 100", "max_steps = 77"))
    served = serving(redis_url=valkey.url, state_dir=tmp_path, models=fresh)
    built = forms._build.cache_info().misses
    with httpx2.Client(base_url=served.url, timeout=20) as client:
        body = {"prompt": "a cat", "num_inference_steps": 78}
        assert client.post("/api/v1/jobs", json=body).status_code == 422
    assert forms._build.cache_info().misses == built


@pytest.mark.usefixtures("redis")
@pytest.mark.parametrize("index", ['{"scheduler": 5}', '{"_class_name": 5}'])
def test_a_service_starts_beside_a_model_folder_of_nonsense(serving, valkey, tmp_path, index):
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "model_index.json").write_text(index)
    models = tmp_path / "models.toml"
    models.write_text(MODELS.replace("tiny/other", "odd"))
    served = serving(redis_url=valkey.url, state_dir=tmp_path, models=models)
    with httpx2.Client(base_url=served.url, timeout=20) as client:
        assert client.post("/api/v1/jobs", json={"prompt": "a cat"}).status_code == 202


@settings(
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_pictures_that_look_alike_make_the_same_job_however_they_are_sent(api, redis, data):
    redis.delete("darkroom:queues")  # a full queue would hide the rest
    seen = data.draw(looks())
    body = {"task": "image-to-image", "prompt": "a cat", "seed": 1}
    one, two = (
        api.post("/api/v1/jobs", json=body | {"image": data.draw(texts_of(file))})
        for file in (data.draw(files_of(seen)), data.draw(files_of(seen)))
    )
    assert one.status_code == two.status_code == 202, one.text + two.text
    assert one.json()["request"] == two.json()["request"]
    assert one.json()["warnings"] == two.json()["warnings"]


def test_pictures_of_a_shape_that_the_model_cannot_edit_are_refused(api, redis):
    known = {"tasks": ("edit",), "pipeline": "Flux2KleinPipeline", "size_multiple": 16}
    ModelRecords(redis).put(RECORDS[1].model_copy(update=known))
    narrow, square = (base64.b64encode(png(size)).decode() for size in ((8, 70), (64, 64)))
    asked = {"model": "other", "prompt": "blue", "width": 64, "height": 64}
    answer = api.post("/api/v1/jobs", json=asked | {"images": [square, narrow]})
    [error] = answer.json()["errors"]
    assert (answer.status_code, error["pointer"]) == (422, "/images/1")
    assert error["code"] == "unfit_picture"
    assert api.post("/api/v1/jobs", json=asked | {"images": [square]}).status_code == 202


def test_nobody_is_promised_to_be_kept_for_longer_than_jobs_are(api, work):
    body = {"prompt": "a cat", "ttl_s": 604800}
    job = api.post("/api/v1/jobs", json=body).json()
    assert job["ttl_s"] == 604800
    for beyond in (604801, 0, -1, 1.5, "60"):
        refused = api.post("/api/v1/jobs", json=body | {"ttl_s": beyond})
        assert refused.status_code == 422, beyond
        assert refused.json()["errors"][0]["pointer"] == "/ttl_s"
    again = api.post(f"{job['urls']['self']}/retry").json()
    assert again["ttl_s"] == 604800
    done = work.all()
    assert round((done.expires_at - done.finished_at).total_seconds()) == 604800
