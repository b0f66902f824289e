"""The queue: RQ's keys, Darkroom's own transitions; used by all processes, knows no HTTP, no torch.

Each transition is one Lua script of `lua/`: one round trip, atomic, safe to repeat, and on
Redis's clock. RQ's formats (pinned to 2.12) are known in this folder only; what
RQ's own tools must be able to read is in tests/darkroom/queue/test_rq_contract.py.

Every method raises QueueUnavailableError while Redis is away, starting, or too full to write.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, cast, get_args

from pydantic import BaseModel
from redis import Redis

from darkroom import logs
from darkroom.events import kind_of
from darkroom.job import ImageRecord, JobError, JobStatus, Priority, Progress, Timings
from darkroom.queue import jobs, keeping, listing, owned_pictures, previews
from darkroom.queue.claim import Claim, claim_of
from darkroom.queue.connection import SOCKET_TIMEOUT_S
from darkroom.queue.exchange import Client, Exchange, Send, Word, run, send
from darkroom.queue.job_hash import call_of, read_request
from darkroom.queue.keeping import BATCH
from darkroom.queue.lua import MALFORMED, PLAIN_RULES, Rules, scripts
from darkroom.settings import Settings

log = logs.get("queue")

P = ParamSpec("P")
T = TypeVar("T")

RING_S = 60
"""How long a bell rings for one who does not wait yet."""

Finish = Literal["committed", "already", "fenced"]


@dataclass(frozen=True)
class Beat:
    """What a beat found out."""

    lost: frozenset[str]
    """Tokens of claims that are the engine's no more."""
    canceled: frozenset[str]
    """Those of them whose job was canceled."""
    forgotten: frozenset[str]
    """Ids of jobs that the engine had forgotten; they are queued again."""


@dataclass(frozen=True)
class News:
    """An event of `EVENTS` that those who follow the job are told of; of its progress also those
    who read it."""

    claim: Claim
    event: BaseModel
    spent: Mapping[str, float] | None = None
    """Seconds by stage up to now, which count even if this attempt comes to nothing."""

    @property
    def words(self) -> tuple[str, ...]:
        """As the script reads it."""
        event = kind_of(self.event), self.event.model_dump_json()
        return self.claim.job_id, self.claim.token, *event, _json_or_empty(self.spent)


def queue_name(model: str, priority: Priority) -> str:
    return f"{model}.{priority}"


def queue_names(models: Iterable[str]) -> list[str]:
    """The queues of these models in the order to claim from: by priority, then as given."""
    models = list(models)
    return [queue_name(model, priority) for priority in get_args(Priority) for model in models]


def queue_bell(model: str) -> str:
    """Rings when a job of this model is queued."""
    return f"darkroom:bell:model:{model}"


def engine_bell(engine: str) -> str:
    """Rings when a job that this engine holds is canceled, or taken by another."""
    return f"darkroom:bell:engine:{engine}"


def room_bell(engine: str) -> str:
    """Rings when a job that this engine holds begins, ends or goes back."""
    return f"darkroom:bell:room:{engine}"


def _blocking(exchange: Callable[P, Exchange[T]]) -> Callable[Concatenate["Queue", P], T]:
    """The exchange as a method that carries it out."""

    @wraps(exchange)
    def method(self: "Queue", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.carry_out(exchange(*args, **kwargs))

    return method


class Queue(Client):
    """Submit, claim, begin, beat, finish, release, reap, cancel, and reading. Safe to use from
    threads."""

    def __init__(self, redis: Redis, rules: Rules = PLAIN_RULES) -> None:
        super().__init__(redis, scripts(rules))
        self.lease_s = rules.lease_s

    @classmethod
    def of(cls, redis: Redis, settings: Settings) -> "Queue":
        """The queue as the settings want it; all processes have to agree on them."""
        return cls(redis, Rules.of(settings))

    # Clients

    submit = _blocking(jobs.submit)
    fetch = _blocking(jobs.fetch)
    cancel = _blocking(jobs.cancel)
    delete = _blocking(jobs.delete)
    mark = _blocking(jobs.mark)
    page = _blocking(listing.page)
    queues = _blocking(jobs.queues)
    counters = _blocking(jobs.counters)

    # The engine

    show = _blocking(previews.show)

    def claim(
        self,
        *,
        engine: str,
        queues: Sequence[str],
        token: str,
        loaded: Collection[str] = (),
        min_wait_s: float = 0.0,
        prefer_loaded_s: float = 30.0,
        take_from_others: bool = False,
        enough: Collection[str] = (),
    ) -> Claim | None:
        """Lease the next job of `queues`; until the engine begins it, it stays queued.

        A higher priority goes first, though each is passed over by the next higher one no more
        than eight times in a row; within one the model whose oldest job has waited longest, as if
        `prefer_loaded_s` longer for those among `loaded`; within a queue its owners take turns,
        and of an owner the shorter job goes first (`costs.score`), but the oldest after seven
        others.

        `token`: a new name (letters, digits, `_`, `-`) for this claim; a call repeated with it, its
        answer having been lost, gets the same job. `min_wait_s`: leave younger jobs to others.
        `take_from_others`: where no job waits, take one that another engine has held for 0.1 s and
        not begun. `enough`: owners of whose jobs those of high priority alone are taken.
        A job whose data nobody can read fails as `malformed_job` and is passed over.
        """
        about = (engine, token, min_wait_s, prefer_loaded_s, int(take_from_others))
        known: tuple[int | str, ...] = (len(loaded), len(enough), *loaded, *enough)
        while found := self._call("claim", *about, *known, *queues):
            claim, fields = claim_of(found, token)
            try:
                return replace(claim, request=read_request(fields["data"]))
            except ValueError as error:
                log.warning("job_unreadable", job_id=claim.job_id, reason=str(error))
                self.finish(claim, JobStatus.FAILED, error=MALFORMED)
        return None

    def begin(self, claim: Claim, worker: str) -> Claim | None:
        """Say that the engine starts to work for a job that it claimed: it runs, and its attempt
        counts. Returns the claim as it is now; None: it is no longer the engine's. A repeat changes
        nothing."""
        found = self._call("begin", claim.job_id, claim.token, worker)
        return replace(claim_of(found, claim.token)[0], request=claim.request) if found else None

    def beat(self, engine: str, claims: Iterable[Claim]) -> Beat:
        """Extend the leases of all claims that this engine still works on.

        Jobs that Redis thinks it holds, but that it did not name in two beats and neither claimed
        nor beat for half a lease, are queued again, their attempt not counted."""
        named = [part for claim in claims for part in (claim.job_id, claim.token)]
        lost, canceled, forgotten = self._call("beat", engine, *named)
        return Beat(_texts(lost + canceled), _texts(canceled), _texts(forgotten))

    def tell(self, news: Iterable[News]) -> list[bool]:
        """Tell those who follow the jobs, in one round trip. False: the claim is no longer the
        engine's."""
        about = [part for each in news for part in each.words]
        return list(map(bool, self._call("tell", *about))) if about else []

    def complete(self, claim: Claim, request: Mapping[str, Any]) -> bool:
        """Write down the request with all that it lacked while nobody knew its model: the job shows
        it, and another attempt makes it. False: the claim is no longer the engine's."""
        return bool(self._call("complete", claim.job_id, claim.token, call_of(request)))

    def finish(
        self,
        claim: Claim,
        status: JobStatus,
        *,
        images: Sequence[ImageRecord] = (),
        error: JobError | None = None,
        warnings: Sequence[str] = (),
        timings: Timings | None = None,
        memory: str | None = None,
        progress: Progress | None = None,
        news: Sequence[BaseModel] = (),
        request: Mapping[str, Any] | None = None,
    ) -> Finish:
        """End the job with a terminal status and its result, once. `progress`: how far it came;
        `news`: events, of that and of the log, that were not told; `request`: see `complete`.

        "already": this claim has committed before, and its answer was lost; the first call counts.
        "fenced": the claim is no longer the engine's, and nothing was changed."""
        if not status.terminal:
            raise ValueError(f"{status} ends no job")
        rows = [image.model_dump_json() for image in images]
        outcome: bytes = self._call(
            "finish",
            claim.job_id,
            claim.token,
            status,
            error.model_dump_json() if error else "",
            f"[{','.join(rows)}]",
            json.dumps(list(warnings)),
            timings.model_dump_json() if timings else "",
            memory or "",
            progress.model_dump_json() if progress else "",
            call_of(request) if request else "",
            2 * len(news),
            *(word for each in news for word in (kind_of(each), each.model_dump_json())),
            *rows,
        )
        return cast("Finish", outcome.decode())

    def release(self, claim: Claim, spent: Mapping[str, float] | None = None) -> bool:
        """Give the job back to the head of its queue, begun or not, no attempt counted; `spent` as
        in `News`. False: the claim is no longer the engine's."""
        return bool(self._call("release", claim.job_id, claim.token, _json_or_empty(spent)))

    def reap(self, engine: str | None = None, at_work: Collection[str] | None = None) -> int:
        """Put jobs whose lease has ended, or all jobs of one dead engine, back at the head of their
        queues; those that used up their attempts fail as `poison`. Returns how many.

        Ask several times in a lease: one that ended while nobody asked for half a lease, perhaps as
        Redis was away, does not count until its engine had a lease to extend it in.

        `at_work`: tokens of the claims that the dead engine was at work on; only their attempts
        count then. None: not known, and those of all its running jobs do."""
        charge = ["all"] if at_work is None else ["named", *at_work]
        reaped, more = 0, True
        while more:
            seen, count = self._call("reap", engine or "", *charge)
            reaped += count
            more = seen >= BATCH
        return reaped

    # The keeper

    expire_deadlines = _blocking(keeping.expire_deadlines)
    cancel_left = _blocking(keeping.cancel_left)
    end_abandoned = _blocking(keeping.end_abandoned)
    sweep_retention = _blocking(keeping.sweep_retention)
    forget_silent_workers = _blocking(keeping.forget_silent_workers)
    image_ids = _blocking(keeping.kept_images)
    input_ids = _blocking(keeping.kept_inputs)
    forget_images = _blocking(owned_pictures.forget_images)
    store_mark = _blocking(keeping.store_mark)
    new_store_mark = _blocking(keeping.new_store_mark)

    # Doorbells

    def wait(self, bells: Sequence[str], timeout_s: float) -> str | None:
        """Block until one of the bells rings; returns its name, or None after `timeout_s` seconds
        (4 at most). A ring says only that it may be worth looking; one can get lost."""
        timeout_s = min(max(timeout_s, 0.01), SOCKET_TIMEOUT_S - 1)
        rung: list[bytes] | None = self.carry_out(send("BLPOP", *bells, timeout_s))
        return rung[0].decode() if rung else None

    def ring(self, bell: str) -> None:
        """Wake one who waits for this bell, or the next who does within a minute."""
        self.carry_out(_ring(bell))

    def _call(self, script: str, *args: Word) -> Any:
        return self.carry_out(run(script, *args))


def _ring(bell: str) -> Exchange[None]:
    yield Send((("LPUSH", bell, "1"), ("EXPIRE", bell, RING_S)), atomic=True)


def _json_or_empty(values: Mapping[str, float] | None) -> str:
    return json.dumps(values) if values else ""


def _texts(parts: Iterable[bytes]) -> frozenset[str]:
    return frozenset(part.decode() for part in parts)
