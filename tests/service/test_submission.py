import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from darkroom import forms
from darkroom.queue.model_records import ModelRecords
from service.bodies import read_object
from service.submission import fingerprint
from tests.service.conftest import MODELS, RECORDS


def test_the_fingerprint_forgets_order_and_white_space_and_how_numbers_are_written():
    def of(raw: bytes) -> str:
        return fingerprint(read_object(raw, 1000))

    one = of(b'{"a": 1, "b": {"c": 2, "d": 3}}')
    assert one == of(b'{"b":{"d":3.0,"c":2e0},"a":1}')
    assert one != of(b'{"a": 1, "b": {"c": 2, "d": 4}}')
    assert one != of(b'{"a": "1", "b": {"c": 2, "d": 3}}')


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
