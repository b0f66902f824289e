"""The scripts of the queue as text: settings, prelude and one file each."""

import math
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources

from darkroom.costs import AGEING
from darkroom.errors import (
    DeadlineExceeded,
    MalformedJobError,
    ModelNotFoundError,
    PoisonError,
)
from darkroom.job import LEAST_WORK_S, RQ_WORDS, UNKNOWN_WORK_S, JobError
from darkroom.queue.claim import ALONE_AFTER, EXCUSES, LONGEST_REST
from darkroom.queue.event_log import KEPT_S, MOST_KEPT
from darkroom.queue.job_hash import LONGEST_DATA
from darkroom.queue.previews import LONGEST_KEPT_S
from darkroom.settings import Settings
from darkroom.webhook import MOST_FAILED, MOST_MESSAGES, MOST_TO_HOST, SENDING_S

TOMBSTONE_S = 30 * 86400
MAX_TOMBSTONES = 100_000
"""For how long, and for how many jobs, reading one that was kept for its time raises ExpiredError;
then JobNotFoundError."""

REPEATED_WITHIN_S = 60
"""A call that was cut off may be repeated so long after its job has ended."""

MALFORMED = JobError(code=MalformedJobError.code, message="The stored job cannot be read.")
_ERRORS = {
    "malformed": MALFORMED,
    "poison": JobError(
        code=PoisonError.code, message="Its worker died each time that this job was started."
    ),
    "deadline": JobError(
        code=DeadlineExceeded.code, message="The deadline passed before the job was started."
    ),
    "left": JobError(
        code="canceled", message="The client that waited for it went away and did not come again."
    ),
    "abandoned": JobError(
        code=ModelNotFoundError.code,
        message="Its model is no longer on offer, and no worker serves it; ask for another one.",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the scripts go by; all processes have to agree on it. The settings of these names say
    what each means."""

    lease_s: float = 15
    max_attempts: int = 5
    max_queued: int = 1000
    retention_s: float = 7 * 86400
    canceled_retention_s: float = 86400
    file_retention_s: float = 30 * 86400
    max_kept_jobs: int = 100_000
    max_kept_mb: float = 512

    @classmethod
    def of(cls, settings: Settings) -> "Rules":
        return cls(**{name: getattr(settings, name) for name in cls.__dataclass_fields__})


PLAIN_RULES = Rules()


def scripts(rules: Rules) -> dict[str, str]:
    """The scripts by name, with these rules built in."""
    words = ", ".join(f"{status} = '{word}'" for status, word in RQ_WORDS.items())
    errors = ", ".join(f"{name} = {_lua(error)}" for name, error in _ERRORS.items())
    constants = (
        "".join(f"local {name} = {value}\n" for name, value in _constants(rules).items())
        + f"local RQ_WORD = {{{words}}}\n"
        + f"local ERROR = {{{errors}}}\n"
    )
    texts = _texts()
    return {
        name: constants + texts["prelude"] + text
        for name, text in texts.items()
        if name != "prelude"
    }


def _constants(rules: Rules) -> dict[str, float]:
    return {
        **{name.upper(): value for name, value in asdict(rules).items()},
        # Redis takes times to live in whole seconds.
        "RETENTION_S": math.ceil(rules.retention_s),
        "CANCELED_RETENTION_S": math.ceil(min(rules.canceled_retention_s, rules.retention_s)),
        "TOMBSTONE_S": TOMBSTONE_S,
        "DAY_S": 86400,
        "LONGEST_DATA": LONGEST_DATA,
        "MAX_TOMBSTONES": MAX_TOMBSTONES,
        "MOST_EVENTS": MOST_KEPT,
        "EVENTS_S": KEPT_S,
        "REPEATED_WITHIN_S": REPEATED_WITHIN_S,
        "PREVIEW_S": LONGEST_KEPT_S,
        "ALONE_AFTER": ALONE_AFTER,
        "EXCUSES": EXCUSES,
        "LONGEST_REST": LONGEST_REST,
        "AGEING": AGEING,
        "MOST_TO_HOST": MOST_TO_HOST,
        "MOST_MESSAGES": MOST_MESSAGES,
        "MOST_FAILED": MOST_FAILED,
        "SENDING_S": SENDING_S,
        "LEAST_WORK_S": LEAST_WORK_S,
        "UNKNOWN_WORK_S": UNKNOWN_WORK_S,
    }


@cache
def _texts() -> dict[str, str]:
    files = resources.files(__name__).iterdir()
    return {f.name.removesuffix(".lua"): f.read_text() for f in files if f.name.endswith(".lua")}


def _lua(error: JobError) -> str:
    return f"[==[{error.model_dump_json()}]==]"
