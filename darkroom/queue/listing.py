"""Jobs by what they are, page by page, newest first; sends nothing itself."""

import re
from dataclasses import dataclass
from typing import Any

from darkroom.job import Job, JobStatus
from darkroom.queue.exchange import Exchange, run
from darkroom.queue.job_hash import as_json, read_fields, read_jobs
from darkroom.queue.jobs import given, one_or_zero

_CURSOR = re.compile(r"[1-9][0-9]{0,15}", re.ASCII)
_PAGE_SCANS = 10
_SCAN = 500
_PAGE_BYTES = 2**20
"""A page ends with the job that passes it: 100 jobs of the longest prompts are 7 MB."""


@dataclass(frozen=True)
class Page:
    """Jobs, newest first; `next_cursor` is None at the end."""

    jobs: list[Job]
    next_cursor: str | None
    tickets: tuple[int, ...] = ()
    """The place of each job in the order: a cursor asks for those below it."""


def page(
    *,
    status: JobStatus | None = None,
    model: str | None = None,
    tag: str | None = None,
    batch: str | None = None,
    starred: bool | None = None,
    text: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
    owner: str | None = None,
) -> Exchange[Page]:
    """Jobs that match, newest first. Raises ValueError for a cursor that was never given out.

    There is no index per filter; Redis is held up for 500 jobs at a time. Once 5,000 were looked
    at, the page ends with what was found, but neither without a job nor before it is known whether
    more follow: a filter that hardly any job matches looks at all that are kept. `text` is looked
    for in prompts, large letters being the same as small ones.
    """
    if cursor is not None and not _CURSOR.fullmatch(cursor):
        raise ValueError(f"{cursor[:50]!r} is no cursor of this list")
    before = cursor or ""
    words = "".join(map(_small, text or ""))
    matching = (
        *(status.rq if status else "", model or "", tag or "", batch or "", one_or_zero(starred)),
        *(words, as_json(words)[1:-1], as_json(_capitals(text or ""))),
    )
    found: list[Job] = []
    tickets: list[int] = []
    bytes_left, scans = _PAGE_BYTES, 0
    while True:
        enough = found and scans >= _PAGE_SCANS
        room = (0 if enough else limit - len(found), bytes_left)
        last, rows, more = yield from run("list", before, *room, *matching, _SCAN, *given(owner))
        for row in rows:
            if jobs := list(read_jobs([row])):
                found += jobs
                tickets.append(_ticket(row))
                bytes_left -= _size(row)
        before = last.decode()
        scans += 1
        if not before or (more and found):
            return Page(found, before or None, tuple(tickets))


def _ticket(answer: list[Any]) -> int:
    """What a job is ordered by; 0 where other programs wrote something else."""
    text = read_fields(answer[4]).get("dr_ticket", "")
    return int(text) if _CURSOR.fullmatch(text) else 0


def _size(answer: list[Any]) -> int:
    """Bytes of a job as it was read."""
    return sum(map(len, answer[4]))


def _small(letter: str) -> str:
    """A letter as it is compared: Unicode's case folding, which makes one of the two small sigmas.
    One whose small form is not a single letter, such as \u0130, is as it is."""
    forms = (letter.casefold(), letter.lower())
    return next((form for form in forms if len(form) == 1), letter)


def _capitals(text: str) -> list[str]:
    """The forms of the letters of a text that Lua does not know to be the same: each and, in turn,
    how it is compared. A large form that is not a single letter, as of \u00df, is none."""
    forms = {form: _small(each) for each in text for form in (each, _small(each).upper())}
    return [
        each
        for form, small in sorted(forms.items())
        if len(form) == 1 and form != small and not form.isascii()
        for each in (form, small)
    ]
