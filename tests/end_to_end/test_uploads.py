"""LoRAs that a client uploads to a running Darkroom: used at once, kept over a restart."""

from pathlib import Path

import httpx2
import pytest

from tests import tiny
from tests import tiny_adapters as shelf
from tests.running import RunningUp

MODELS = """
[[models]]
name = "tiny"
source = "tiny"
defaults = { num_inference_steps = 2, width = 16, height = 16 }
limits = { min_size = 8, max_size = 64 }
"""
INK = "/api/v1/models/tiny/loras/ink"


def picture(http: httpx2.Client, model: str = "tiny") -> str:
    """The hash of what a job makes."""
    body = {"prompt": "a cat", "seed": 1, "model": model, "output": {"metadata": "none"}}
    job = http.post("/api/v1/jobs", json=body, headers={"Prefer": "wait=60"}).json()
    assert job["status"] == "succeeded", job
    return job["images"][0]["sha256"]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_an_uploaded_lora_is_used_without_a_restart_and_stays_over_one(tmp_path: Path) -> None:
    tiny.write("sd15", tmp_path / "tiny")
    (tmp_path / "models.toml").write_text(MODELS)
    for seed, name in enumerate(("ink", "oil")):
        shelf.write_lora("sd15", tmp_path / name, seed, rank=2 + seed)
    shelf.write_lora("sdxl", tmp_path / "xl", 1)
    ink, oil, xl = ((tmp_path / name / shelf.LORA).read_bytes() for name in ("ink", "oil", "xl"))

    def up() -> RunningUp:
        return RunningUp(tmp_path / "state", tmp_path / "models.toml", "--lora-uploads")

    with up() as running, httpx2.Client(base_url=running.ready(), timeout=90) as http:
        plain = picture(http)
        assert http.put(INK, content=ink).status_code == 201
        first = picture(http, "tiny+ink")
        assert http.put(INK, content=oil).status_code == 200
        second = picture(http, "tiny+ink")
        assert len({plain, first, second}) == 3
        assert picture(http) == plain
        assert http.put("/api/v1/models/tiny/loras/xl", content=xl).status_code == 201
        body = {"prompt": "a cat", "model": "tiny+xl"}
        job = http.post("/api/v1/jobs", json=body, headers={"Prefer": "wait=60"}).json()
        assert (job["status"], job["error"]["code"]) == ("failed", "unsupported")
        assert "does not fit: made for a model" in job["error"]["message"]
    with up() as running, httpx2.Client(base_url=running.ready(), timeout=90) as http:
        assert picture(http, "tiny+ink") == second
        assert http.delete(INK).status_code == 204
        gone = http.post("/api/v1/jobs", json={"prompt": "a cat", "model": "tiny+ink"})
        assert gone.status_code == 404
        assert picture(http) == plain
