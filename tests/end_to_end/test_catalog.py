"""models.toml changed under running processes."""

from pathlib import Path
from typing import Any

import pytest

from tests.chaos.spawn import Zygote
from tests.deployment import Deployment

CARD = """
[[models]]
name = "{name}"
source = "{source}"
limits = {{ min_size = 8, max_size = 64, size_multiple = 4, max_steps = 20000 }}
"""


@pytest.fixture
def cards(tmp_path: Path, models_toml: Path):
    """A models.toml of its own, to be written anew with the models that are named."""
    path = tmp_path / "models.toml"
    source = models_toml.with_name("tiny")

    def write(*names: str) -> Path:
        path.write_text("".join(CARD.format(name=name, source=source) for name in names))
        return path

    return write


def steps_of(job: dict[str, Any]) -> int:
    """How many it has made; it has no progress before the first thing is told of it."""
    return job["progress"]["step"] if job["progress"] else 0


def test_models_come_and_go_while_jobs_run(tmp_path: Path, cards, zygote: Zygote) -> None:
    cat = {"prompt": "a cat", "width": 16, "height": 16}
    with Deployment(tmp_path / "darkroom", cards("old"), zygote) as house:
        house.start_api()
        house.start_worker()
        cards("old", "new")
        house.until(lambda: "new" in house.worker("worker")["serves"], "the worker serves it")
        house.finished(house.submit(model="new", num_inference_steps=2, **cat)["id"])
        house.until(lambda: "new" in house.worker("worker")["models"], "it tells what it loaded")

        long = house.submit(model="old", num_inference_steps=20000, **cat)["id"]
        job = f"/api/v1/jobs/{long}"
        house.until(lambda: house.http.get(job).json()["status"] == "running", "it runs")
        cards("new")
        gone = "/api/v1/models/old"
        house.until(lambda: house.http.get(gone).status_code == 404, "the API has read it")
        house.until(lambda: house.worker("worker")["serves"] == ["new"], "so has the worker")
        before = steps_of(house.http.get(job).json())
        house.until(lambda: steps_of(house.http.get(job).json()) > before, "it goes on")
        done = house.finished(house.submit(model="new", num_inference_steps=2, **cat)["id"])
        assert done["status"] == "succeeded"
        assert house.http.get(job).json()["status"] == "running"
        house.http.post(f"{job}/cancel").raise_for_status()
        house.until(lambda: house.worker("worker")["models"] == ["new"], "its model leaves")
