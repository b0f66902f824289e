"""A job leased to an engine, out of its hash in Redis; used by the queue and the worker, sends
nothing."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from darkroom.job import UNKNOWN_WORK_S, JobStatus, Priority
from darkroom.queue.job_hash import (
    read_device_s,
    read_fields,
    read_spent,
    read_warnings,
    read_weight,
    read_work_s,
)

ALONE_AFTER = 2
"""With so many engines that died at work on it, a job is suspected and runs alone."""
LONGEST_REST = 8
"""A suspect whose engine died again rests for a lease, then two, four, at most so many: engines
that die of something else do so in bursts, and must not make poison of it."""
EXCUSES = 10
"""So many deaths at most are not put down to a suspect, since engines died over other jobs too."""


@dataclass(frozen=True)
class Claim:
    """A job leased to an engine; `token` proves it."""

    job_id: str
    token: str
    request: dict[str, Any]
    attempt: int
    """How often engines began it and were not relieved of it unharmed; from `begin` on with this
    time, so 1 at first."""
    remaining_s: float | None
    """Seconds from the claim to the deadline, by Redis's clock."""
    queued_s: float
    """Seconds since it was submitted in which nobody worked on it, until now or until it began."""
    priority: Priority
    spent: Mapping[str, float] = field(default_factory=dict)
    """Seconds that earlier attempts told of, by stage."""
    device_s: float = 0.0
    """Seconds of devices that they told of."""
    warnings: tuple[str, ...] = ()
    """What the client was told when it was accepted."""
    work_s: float = UNKNOWN_WORK_S
    """Seconds that it is likely to take alone, as estimated when it was accepted."""
    owner: str = ""
    """The key of the API that sent it."""
    weight: float = 1.0
    """How much of a device is due to its owner where 1 is due to others; as it was at the claim."""

    preview: int | None = None
    """After how many steps each to show an early picture, 0: none; None: as its worker has it."""

    began: bool = False
    """Whether an engine has started to work for it, and not only holds it."""

    @property
    def must_run_alone(self) -> bool:
        """Engines died while they were at work on it: let it take no neighbours down."""
        return self.attempt - self.began >= ALONE_AFTER


def claim_of(found: list[Any], token: str) -> tuple[Claim, dict[str, str]]:
    """A claim, whose request is still to be read, and the fields of its job, all of which the
    script has looked at."""
    fields = read_fields(found[-1])
    now, deadline = float(found[1]), _float(fields.get("dr_deadline"))
    began = JobStatus.from_rq(fields["status"]) is JobStatus.RUNNING
    started = float(fields["dr_started"]) if began else now
    spent = read_spent(fields)
    claim = Claim(
        job_id=found[0].decode(errors="replace"),
        token=token,
        request={},
        attempt=int(fields["dr_attempt"]),
        remaining_s=deadline and deadline - now,
        queued_s=max(started - float(fields["dr_created"]) - sum(spent.values()), 0.0),
        priority=cast("Priority", fields["dr_priority"]),
        spent=spent,
        device_s=read_device_s(fields),
        warnings=read_warnings(fields),
        began=began,
        work_s=read_work_s(fields),
        owner=fields.get("dr_owner", ""),
        weight=read_weight(fields),
        preview=_whole(fields.get("dr_preview", "")),
    )
    return claim, fields


def _float(text: str | None) -> float | None:
    return float(text) if text else None


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch("[0-9]{1,6}", text) else None
