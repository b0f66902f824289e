"""What `darkroom doctor` finds on the machine of the service, asked of a child process; in the
service only, looks at nothing itself."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from darkroom.settings import Settings

COMMAND = ("-m", "darkroom.command.cli", "doctor", "--no-load", "--json")
LONGEST_S = 60.0
"""Seconds after which the doctor is ended."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    __pydantic_config__ = ConfigDict(use_attribute_docstrings=True)

    name: str
    """What was looked at."""
    state: Literal["ok", "note", "fault"]
    """note: worth knowing; fault: something does not work."""
    found: str
    """What was found."""
    remedy: str = ""
    """What to do about it; empty where nothing has to be done."""


_checks = TypeAdapter(list[Check])
_NONE = Check("doctor", "fault", "", "Run `darkroom doctor` where the service runs; it says more.")


async def examine(settings: Settings, longest_s: float = LONGEST_S) -> list[Check]:
    """All checks but the loading of models. That the doctor hangs, or breaks, is a finding too."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, *COMMAND),
        env=os.environ | settings.environment(),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=DEVNULL,
        start_new_session=True,  # with the children that it asks in turn
    )
    try:
        async with asyncio.timeout(longest_s):
            told, _ = await child.communicate()
        return _checks.validate_json(told)
    except TimeoutError:
        return [_without_end(f"It did not end within {longest_s:g} s.")]
    except ValidationError:
        return [_without_end(f"It ended with status {child.returncode} and told nothing.")]
    finally:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            await asyncio.shield(child.wait())


def _without_end(found: str) -> Check:
    return Check(_NONE.name, _NONE.state, found, _NONE.remedy)
