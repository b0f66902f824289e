"""Ways for a process under test to die or fail from within, at a chosen place; set before its own
code runs, and never part of the product.

A trap is a file in the folder `CHAOS_TRAPS`: the first process that comes by its place takes the
file away and suffers what it stands for. Prompts and models that kill need no file.
"""

import functools
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

KILLS_AT_PROMPT = "kills at its prompt"
KILLS_AT_STEP = "kills at its second step"
KILLS_AT_LOAD = "kills-at-load"
"""A prompt with these words, or a model of this name, kills the process."""

POINTS = (
    "claimed",
    "begun",
    "file-written",
    "file-named",
    "committed",
    "released",
    "reaping",
    "reaped",
    "draining",
)
"""Places at which a trap kills, in the life of a job and beside it."""
FINISHING = "finishing"
"""A trap that stops the process where it is about to commit a result; its process id is then in
`finishing.pid`."""
OUT_OF_MEMORY, DEVICE_LOST, NOT_A_NUMBER = "out-of-memory", "device-lost", "not-a-number"
"""Traps that a model call runs into."""


def set_trap(folder: Path, name: str) -> None:
    """For the first process that comes by."""
    (folder / name).touch()


def was_sprung(folder: Path, name: str) -> bool:
    return not (folder / name).exists()


def install() -> None:
    """Set all of them in this process, before it runs code of Darkroom's."""
    _around_the_queue()
    _around_files()
    _around_models()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def _springs(name: str) -> bool:
    """Whether there was such a trap; it is no more."""
    folder = os.environ.get("CHAOS_TRAPS")
    if folder is None:
        return False
    try:
        os.unlink(os.path.join(folder, name))  # called at each model call
    except OSError:
        return False
    return True


def _point(name: str) -> None:
    if _springs(name):
        die()


def _wrap(owner: Any, name: str, *, before: str = "", after: str = "") -> None:
    """Kill before the method runs, or after it did something."""
    inner = getattr(owner, name)

    @functools.wraps(inner)
    def method(*args: Any, **kwargs: Any) -> Any:
        if before:
            _point(before)
        answer = inner(*args, **kwargs)
        if after and answer not in (None, False, 0):
            _point(after)
        return answer

    setattr(owner, name, method)


def _stop_before(owner: Any, name: str) -> None:
    inner = getattr(owner, name)

    @functools.wraps(inner)
    def method(*args: Any, **kwargs: Any) -> Any:
        if _springs(FINISHING):
            word = Path(os.environ["CHAOS_TRAPS"], f"{FINISHING}.new")
            word.write_text(str(os.getpid()))
            word.rename(word.with_suffix(".pid"))
            os.kill(os.getpid(), signal.SIGSTOP)
        return inner(*args, **kwargs)

    setattr(owner, name, method)


def _around_the_queue() -> None:
    from darkroom.queue.queue import Queue

    _stop_before(Queue, "finish")
    _wrap(Queue, "claim", after="claimed")
    _wrap(Queue, "begin", after="begun")
    _wrap(Queue, "finish", after="committed")
    _wrap(Queue, "release", after="released")
    _wrap(Queue, "reap", before="reaping", after="reaped")


def _around_files() -> None:
    inner = Path.replace

    @functools.wraps(inner)
    def replace(self: Path, target: Any) -> Path:
        if self.suffix != ".tmp":
            return inner(self, target)
        _point("file-written")
        done = inner(self, target)
        _point("file-named")
        return done

    Path.replace = replace  # type: ignore[method-assign]


def _around_models() -> None:
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTokenizer

    from worker.loading import pipelines
    from worker.loop import Engine
    from worker.running import RunningJob

    _wrap(Engine, "drain", before="draining")
    _before(pipelines, "load", lambda card, *_: card.name == KILLS_AT_LOAD)
    _before(CLIPTokenizer, "__call__", lambda _, text="", *__: KILLS_AT_PROMPT in str(text))
    _before(RunningJob, "step", lambda job, i, *_: i >= 2 and KILLS_AT_STEP in _prompt(job))
    _in_each_call(UNet2DConditionModel)


def _prompt(job: Any) -> str:
    return str(getattr(job.request, "prompt", ""))


def _before(owner: Any, name: str, kills: Callable[..., bool]) -> None:
    inner = getattr(owner, name)

    @functools.wraps(inner)
    def function(*args: Any, **kwargs: Any) -> Any:
        if kills(*args):
            die()
        return inner(*args, **kwargs)

    setattr(owner, name, function)


def _in_each_call(network: Any) -> None:
    """Faults of a device, and the time that a call takes on it: `CHAOS_ROW_S` seconds for each of
    its rows, in which the CPU is free for others."""
    import torch

    inner = network.forward

    @functools.wraps(inner)
    def forward(self: Any, sample: Any, *args: Any, **kwargs: Any) -> Any:
        if _springs(OUT_OF_MEMORY):
            raise torch.OutOfMemoryError("a trap")
        if _springs(DEVICE_LOST):
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        time.sleep(float(os.environ.get("CHAOS_ROW_S", "0")) * len(sample))
        made = inner(self, sample, *args, **kwargs)
        if _springs(NOT_A_NUMBER):
            made[0].fill_(float("nan"))
        return made

    network.forward = forward
