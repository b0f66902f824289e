"""`darkroom demo`: one prompt becomes one picture with everything started and stopped again."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from darkroom.client.client import Client
from darkroom.command.generate import generate_pictures
from darkroom.command.terminal import command_line
from darkroom.command.up import Up
from darkroom.command.wish import Wish
from darkroom.settings import Settings

PROMPT = "a red apple"
MODEL = "emoji"
OUT = Path("out")


def run(settings: Settings, out: Console, err: Console) -> None:
    """Start an embedded Valkey, the API and a worker on the CPU; make a picture; stop them."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    state_dir = settings.state_dir / "demo"
    own = settings.model_copy(
        update={
            "redis_url": None,
            "state_dir": state_dir,
            "store": state_dir / "images",
            "host": "127.0.0.1",
            "port": 0,
            "keys": "off",
            "device": "cpu",
            "worker_models": MODEL,
            # The model is so small that threads would mostly wait for one another.
            "torch_threads": settings.torch_threads or 1,
        }
    )
    err.print("Starting Valkey, the API and a worker with the demo model on the CPU ...")
    with _signals(), Up(own, workers=1, say=err.print) as up, Client(up.url) as client:
        up.wait_for_workers()
        err.print(f'POST {up.url}/api/v1/jobs  {{"model": "{MODEL}", "prompt": "{PROMPT}"}}')
        wish = Wish.of(PROMPT, output=f"{OUT}/", model=MODEL)
        job, files = generate_pictures(client, wish, err)
    out.print(f"{files[0]}  seed {job.images[0].seed}")
    err.print(
        f"Next: `{command_line('up')}` starts Darkroom to stay, and "
        f"`{command_line('generate', 'a cat')}` in another terminal makes a picture with it."
    )


@contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does: children are stopped first."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {n: signal.signal(n, interrupt) for n in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
