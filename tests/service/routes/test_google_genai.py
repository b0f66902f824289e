"""Google's API of pictures, asked by Google's own client, which has an environment of its own."""

import json
import subprocess

from tests.service.routes.test_openai_gateways import CLIENTS, PYTHON, pytestmark  # noqa: F401
from tests.service.routes.test_openai_node import pictures, working  # noqa: F401


def test_googles_own_client(served, guarded, made, jobs, pictures, working):  # noqa: F811
    with working(5, failing=1):
        urls = [f"{each.url}/google" for each in (served, guarded)]
        command = [PYTHON, CLIENTS / "google_genai.py", *urls, made().reveal(), pictures[0]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {"models/pix", "models/demo"} <= set(told["models"])
    assert told["model"] == ["predict", "generateContent"]
    cow, green, dog, bluer, cat = [job for job in jobs.page().jobs if job.images]
    assert (told["made"], told["about"]) == ([[8, 8]] * 2, ["pix", cat.id, "STOP"])
    assert told["header"] == cat.id
    expected = {"seed": 7, "num_images": 2, "width": 128, "height": 64, "task": "text-to-image"}
    assert expected.items() <= cat.request.items()
    assert told["edited"] == told["chatted"] == told["later"] == [[8, 8]]
    assert (bluer.request["task"], bluer.request["prompt"]) == ("image-to-image", "bluer")
    # A conversation goes on from the picture that was made in it.
    assert (dog.request["task"], dog.request["prompt"]) == ("text-to-image", "a dog")
    assert (green.request["task"], green.request["prompt"]) == ("image-to-image", "now a green one")
    assert cow.request["model"] == "pix"
    assert told["refused"][:2] == [400, "INVALID_ARGUMENT"]
    assert "generationConfig.candidateCount: " in told["refused"][2]
    assert told["failed"] == [500, "INTERNAL", "No numbers."]
    assert (told["unknown"][:2], told["known"]) == ([401, "UNAUTHENTICATED"], "models/pix")
