"""Ids of jobs as people type them: how they begin or end; a client, no more."""

from darkroom.client.client import Client
from darkroom.errors import JobNotFoundError
from darkroom.job import JOB_ID

SHORTEST_ID = 4
"""Characters that tell one job from others."""
LOOKED_AT = 1000


def whole_id(client: Client, part: str) -> str:
    """The id of the job whose id begins or ends with `part`, among the latest ones.

    Raises JobNotFoundError unless there is just one."""
    if JOB_ID.fullmatch(part):
        return part
    wanted = part.removeprefix("job_").lower()
    looked_at = client.jobs(limit=LOOKED_AT) if len(wanted) >= SHORTEST_ID else ()
    found = [
        job.id for job in looked_at if job.id.startswith(f"job_{wanted}") or job.id.endswith(wanted)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(found[:5]) + (", ..." if found[5:] else "")
        raise JobNotFoundError(f"The ids of several jobs begin or end with {part!r}: {several}")
    raise JobNotFoundError(
        f"{part[:50]!r} is no job's id, nor the beginning or end, of {SHORTEST_ID} characters "
        f"or more, of one of the latest {LOOKED_AT} jobs; `darkroom jobs ls` lists them."
    )
