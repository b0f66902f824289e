"""Tries models in a process of its own and tells of each as soon as it is known; of the command
line only, knows no torch."""

import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from darkroom.catalog import Catalog
from darkroom.checked import Checked, Loading, parse
from darkroom.errors import DarkroomError, ModelLoadError
from darkroom.model_record import ModelRecord
from darkroom.places import files_of
from darkroom.queue.connection import connect
from darkroom.queue.model_records import ModelRecords
from darkroom.settings import Settings


def check_models(
    settings: Settings,
    names: Sequence[str],
    *,
    load_only: bool = False,
    output: Path | None = None,
    tell: Callable[[Loading], None] = lambda _: None,
) -> Iterator[Checked]:
    """Load models one after the other and, unless `load_only`, make a picture with each, which is
    written to the folder `output` if there is one; with a Redis named, tell the API what was found.
    First come those whose files are missing or of no use, before anything heavy is started.

    Raises DarkroomError if a name is wrong, or no model can be tried."""
    catalog = Catalog.read(settings.models)
    names = catalog.names(names)
    with ExitStack() as stack:
        records = None
        if settings.redis_url:
            records = ModelRecords(stack.enter_context(connect(settings.redis_url)))
        for each in _all(catalog, settings, names, load_only, output, tell):
            if records:
                records.put(each.record)
            yield each


def _all(
    catalog: Catalog,
    settings: Settings,
    names: Sequence[str],
    load_only: bool,
    output: Path | None,
    tell: Callable[[Loading], None],
) -> Iterator[Checked]:
    left = []
    for name in names:
        try:
            files_of(catalog.cards[name], catalog)
            left.append(name)
        except ModelLoadError as error:
            yield _fault(name, str(error))
    command = [sys.executable, "-m", "worker.check", *(["--load-only"] if load_only else [])]
    command += ["--output", str(output)] if output else []
    while left:  # once more if a model took its process down
        for each in _tried([*command, "--", *left], settings, tell):
            yield each
            left.remove(each.record.name)


def _tried(
    command: Sequence[str], settings: Settings, tell: Callable[[Loading], None]
) -> Iterator[Checked]:
    """What one process tells. A model that takes it down, or takes too long, is the last. Raises
    DarkroomError if it ends without having begun with one."""
    tried: str | None = None
    with tempfile.TemporaryFile() as words, _started(command, settings, words.fileno()) as process:
        try:
            for line in _lines(process, settings.load_timeout_s):
                told = parse(line)
                if isinstance(told, Loading):
                    tried = told.name
                    tell(told)
                else:
                    tried = None
                    yield told
            reason = "" if process.wait() == 0 else _last_words(process.returncode, words)
        except TimeoutError:
            reason = f"no answer within {settings.load_timeout_s:g} s"
        except ValidationError:
            reason = "the process that tries models speaks another version"
        finally:
            process.kill()
    if reason and tried is None:
        raise DarkroomError(f"The models cannot be loaded: {reason}")
    if tried is not None:
        yield _fault(tried, reason or "its process ended without a word")


def _started(command: Sequence[str], settings: Settings, words: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command, env=settings.environment_of_models(), stdout=subprocess.PIPE, stderr=words
    )


def _lines(process: "subprocess.Popen[bytes]", limit_s: float) -> Iterator[bytes]:
    """What the process writes, line by line. Raises TimeoutError if one takes longer."""
    assert process.stdout is not None
    out, left = process.stdout.fileno(), b""
    while select.select([out], [], [], limit_s)[0]:
        if not (piece := os.read(out, 2**16)):
            return
        *lines, left = (left + piece).split(b"\n")
        yield from lines
    raise TimeoutError


def _last_words(status: int, words: BinaryIO) -> str:
    if status < 0:
        name = signal.Signals(-status).name
        hint = ", as systems do that run out of memory" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{hint}"
    words.seek(0)
    return last_line(words.read().decode(errors="replace")).removeprefix("Error: ")


def last_line(said: str) -> str:
    """Of what a process has said, where its reason stands."""
    return (said.strip().splitlines() or ["no reason given"])[-1]


def _fault(name: str, reason: str) -> Checked:
    return Checked(record=ModelRecord(name=name, error=reason))
