"""The OpenAI Images API, asked by LiteLLM and LangChain, which have an environment of their own."""

import json
import os
import subprocess
from pathlib import Path

import httpx2
import pytest

from tests.service.routes.test_openai_node import pictures, working  # noqa: F401

CLIENTS = Path(__file__).parents[2] / "clients" / "python"
PYTHON = CLIENTS / ".venv" / "bin" / "python"

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not (CLIENTS / ".venv" / ".installed").exists(),
        reason="LiteLLM is not installed: make tests/clients/python/.venv/.installed",
    ),
]


def test_litellm_and_langchain(served, jobs, pictures, working):  # noqa: F811
    with working(3):
        command = [PYTHON, CLIENTS / "gateways.py", f"{served.url}/v1", *pictures]
        variables = os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}  # or it asks the network
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=variables)
        assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["made"], told["edited"]) == ([True, True], [True])
    assert "size: Must be auto, or width and height like 512x512." in told["refused"]
    assert told["missing"] == "NotFoundError"
    urls = told["joined"].split("\n")
    assert [httpx2.get(url).headers["content-type"] for url in urls] == ["image/png"] * 2
    joined, edited, made = (job.request for job in jobs.page().jobs)
    assert (joined["prompt"], joined["num_images"]) == ("a cat", 2)
    assert (edited["task"], edited["prompt"]) == ("inpaint", "blue")
    assert (made["width"], made["num_images"], made["seed"]) == (64, 2, 7)
