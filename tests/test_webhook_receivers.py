"""The receivers of docs/webhooks.md take our messages, each once, and nothing else."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest

from darkroom.outbound.client import Outbound
from darkroom.outbound.policy import Policy
from darkroom.webhook_messages import Secrets, body, headers, new_secret

PAGE = (Path(__file__).parents[1] / "docs" / "webhooks.md").read_text()
NOW = datetime.now(UTC)
OLDER = new_secret()
SECRETS = Secrets(
    current=new_secret(),
    created_at=NOW,
    previous=OLDER,
    previous_until=NOW + timedelta(hours=1),
)
OUTBOUND = Outbound(Policy(networks=(ip_network("127.0.0.1/32"),)))


@pytest.fixture(params=["python", "js"])
def receiver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[subprocess.Popen]:
    """One that knows the older secret alone."""
    if request.param == "js" and not shutil.which("node"):
        pytest.skip("node is not installed here")
    [code] = re.findall(rf"```{request.param}\n(.*?)```", PAGE, re.DOTALL)
    program, name = (sys.executable, "r.py") if request.param == "python" else ("node", "r.mjs")
    (tmp_path / name).write_text(code)
    process = subprocess.Popen(
        [program, str(tmp_path / name)],
        env={**os.environ, "WEBHOOK_SECRET": OLDER, "PORT": "0"},
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


def test_a_receiver_of_the_page(receiver: subprocess.Popen) -> None:
    port = int(re.fullmatch(r"listens at (\d+)\n", receiver.stdout.readline())[1])

    now = datetime.now(UTC)  # receivers take no message that is minutes old

    def post(name: str, sent: bytes, now: datetime = now, **other: str) -> int:
        signed = headers(name, body("job.succeeded", NOW, {"id": "job_1"}), SECRETS, now) | other
        asked = OUTBOUND.post(f"http://127.0.0.1:{port}/", sent, signed, timeout_s=20)
        return asyncio.run(asked).status

    told = body("job.succeeded", NOW, {"id": "job_1"})
    assert post("msg_1", told + b" ") == 401
    assert post("msg_1", told, now - timedelta(hours=1)) == 401
    assert post("msg_1", told, **{"webhook-signature": "v1,AAAA"}) == 401
    assert post("msg_1", told, **{"webhook-id": "msg_2"}) == 401
    for name in ("msg_1", "msg_1", "msg_3"):
        assert post(name, told) == 204
    assert [receiver.stdout.readline() for _ in range(2)] == ["job.succeeded job_1\n"] * 2
    receiver.kill()
    assert receiver.stdout.read() == ""
