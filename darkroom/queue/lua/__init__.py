"""The scripts of the queue as text: settings, prelude and one file each."""

import math
from functools import cache
from importlib import resources

from darkroom.errors import DeadlineExceeded, MalformedJobError, PoisonError
from darkroom.job import RQ_WORDS, JobError
from darkroom.settings import Settings

TOMBSTONE_S = 30 * 86400
"""How long reading a job raises ExpiredError after its retention; then JobNotFoundError."""

MALFORMED = JobError(code=MalformedJobError.code, message="The stored job cannot be read.")
_ERRORS = {
    "malformed": MALFORMED,
    "poison": JobError(
        code=PoisonError.code, message="Its worker died each time that this job was started."
    ),
    "deadline": JobError(
        code=DeadlineExceeded.code, message="The deadline passed before the job was started."
    ),
}


def scripts_for(settings: Settings) -> dict[str, str]:
    """The scripts as the settings want them; all processes have to agree on these."""
    return scripts(
        settings.lease_s, settings.max_attempts, settings.retention_s, settings.max_queued
    )


def scripts(
    lease_s: float, max_attempts: int, retention_s: float, max_queued: int
) -> dict[str, str]:
    """The scripts by name, with these settings built in."""
    words = ", ".join(f"{status} = '{word}'" for status, word in RQ_WORDS.items())
    errors = ", ".join(f"{name} = {_lua(error)}" for name, error in _ERRORS.items())
    constants = (
        f"local LEASE_S, MAX_ATTEMPTS, MAX_QUEUED = {lease_s}, {max_attempts}, {max_queued}\n"
        f"local RETENTION_S, TOMBSTONE_S = {math.ceil(retention_s)}, {TOMBSTONE_S}\n"
        f"local RQ_WORD = {{{words}}}\n"
        f"local ERROR = {{{errors}}}\n"
    )
    texts = _texts()
    return {
        name: constants + texts["prelude"] + text
        for name, text in texts.items()
        if name != "prelude"
    }


@cache
def _texts() -> dict[str, str]:
    files = resources.files(__name__).iterdir()
    return {f.name.removesuffix(".lua"): f.read_text() for f in files if f.name.endswith(".lua")}


def _lua(error: JobError) -> str:
    return f"[==[{error.model_dump_json()}]==]"
