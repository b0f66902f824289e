"""Replicate's API of predictions, asked by Replicate's own client for Node."""

import json
import os
import subprocess
import threading

from tests.service.conftest import know_models, png
from tests.service.routes.test_openai_node import NODE, pytestmark  # noqa: F401


def test_replicates_own(guarded, redis, guarded_work, made, tmp_path):
    """With a key, which the client sends for neither pictures nor streams."""
    know_models(redis)
    picture = tmp_path / "picture.png"
    picture.write_bytes(png())

    def finish():
        for _ in range(3):
            guarded_work.finish(guarded_work.claim(patience_s=100))

    worker = threading.Thread(target=finish)
    worker.start()
    done = subprocess.run(
        ["node", NODE / "replicate.mjs", f"{guarded.url}/replicate/v1", picture],
        env=os.environ | {"KEY": made("node").reveal()},
        capture_output=True,
        text=True,
        timeout=120,
    )
    worker.join()
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["made"] == [len(png(color=(n, 9, 9))) for n in range(2)]
    assert told["file"] == len(png(color=(0, 9, 9)))
    assert [each for each in told["events"] if each != "logs"] == ["output", "output", "done"]
    assert told["canceled"] == "canceled"
    assert told["listed"] == ["canceled", "succeeded", "succeeded", "succeeded"]
    assert (told["version"], told["account"]) == ("pix", "node")
    assert told["error"] == {"name": "ApiError", "status": 422}
