"""Parks jobs at model calls, joins parked calls into one forward, splits the result by rows;
engine thread of the worker only, knows neither Redis nor requests.

The life of one gathered call:

- Park. A job is a greenlet that runs an unmodified pipeline. Where this calls a wrapped module, the
  wrapper captures what all wrapped modules hold beside their weights (`ModuleState`) and switches
  to the engine with a `Call`. The job's stack stays as it is, for as long as it takes.
- Key. Calls of one module share a forward if arguments without rows, shapes without the rows,
  dtypes and the module's captured state are equal. Whatever cannot be joined has a key of its own.
- Join. `run` puts back what the first call captured, which counts for all of its key, lays their
  rows one after the other, pads them, and calls the module once.
- Split. Each call gets its rows of the result: views, or copies where the buffer is used again.
- Resume. What the job captured is put back, of all modules and not just of the one it called: it
  goes on in code of the pipeline, and others ran in between. It runs until it parks again or ends.

Grad mode is off for the whole thread. It belongs to threads, not to greenlets: a pipeline's own
`no_grad`, entered in one job and left in another, would switch it on for somebody.

Frames are dropped from errors before anybody keeps them, as they hold tensors; what a person needs
of them is kept as text. An error goes to the job whose call also fails alone, and to no other; out
of memory goes to whoever asked to run the group, its calls still parked.
"""

import contextvars
import functools
import inspect
import traceback
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from greenlet import getcurrent, greenlet

from darkroom.errors import DeviceMemoryError, JobInterrupt
from worker.device import is_out_of_memory
from worker.gathering.frames import drop_frames
from worker.gathering.joinable import Rows
from worker.gathering.rows import NotJoinableError, join, layout_of, normalize, split


@dataclass(frozen=True)
class ModuleState:
    """What a module holds beside its weights (adapter scales, switches). Captured when a job
    parks, part of the group key, put back before its forward and before the job goes on. A job
    begins with what was captured when the module was wrapped, whoever left off before it."""

    capture: Callable[[], Hashable]
    restore: Callable[[Any], None]


@dataclass(eq=False)
class Call:
    """One parked model call. Calls of equal `key` can run as one forward."""

    owner: Hashable
    module_name: str
    """As wrapped: `unet`, `text_encoder`; `vae.encode` and `vae.decode` for autoencoders."""
    key: Hashable
    rows: int
    inner: Callable[..., Any] = field(repr=False)
    args: tuple[Any, ...] = field(repr=False)
    kwargs: dict[str, Any] = field(repr=False)
    states: tuple[tuple[ModuleState, Hashable], ...] = field(repr=False)
    layout: Rows | None = field(default=None, repr=False)
    """How keyword arguments are joined; None for a call that runs as a group of one."""
    wants_tuple: bool = field(default=False, repr=False)
    """Where others who share the forward want what it returns as a mapping."""

    @property
    def joinable(self) -> bool:
        return self.layout is not None


@dataclass(frozen=True)
class Ended:
    """How a job's function ended: with a value, or with an error (its traceback as text only:
    frames hold tensors)."""

    owner: Hashable
    value: Any = None
    error: BaseException | None = None
    trace: str = ""
    row_counts: frozenset[int] = frozenset()
    """Rows, padding included, of the joinable forwards this job took part in."""


class _Job(greenlet):
    """A job's own stack. Greenlets start with an empty context, hence the copy."""

    def __init__(
        self, gather: "Gather", owner: Hashable, fn: Callable[[], Any], *, alone: bool
    ) -> None:
        super().__init__(functools.partial(_run_job, fn))
        self.gr_context = contextvars.copy_context()
        self.gather = gather
        self.owner = owner
        self.alone = alone
        self.row_counts: set[int] = set()


class Gather:
    """Runs jobs as greenlets of one thread. A job runs until its next call of a wrapped module;
    `parked` then holds that call until `run` answers it or `throw` ends it."""

    def __init__(self, *, row_counts: Sequence[int] = (), clone: bool = False) -> None:
        """`row_counts`: pad forwards to these, for equal bits and CUDA graphs; none by default.
        `clone`: hand out copies instead of views, for when the output buffer is used again."""
        self._row_counts = tuple(sorted(row_counts))
        self._clone = clone
        self._jobs: dict[Hashable, _Job] = {}
        self._parked: dict[Hashable, Call] = {}
        self._ended: list[Ended] = []
        self._states: dict[ModuleState, Hashable] = {}
        self.forwards = 0
        """Forwards of joinable modules."""
        self.joined_calls = 0
        """Those of them that answered more than one job."""
        self.rows = 0
        """Rows of jobs that went through them, padding not counted."""
        self.padding_rows = 0

    @property
    def parked(self) -> Mapping[Hashable, Call]:
        """The parked calls by owner, longest parked first. Live: copy it to iterate and run."""
        return MappingProxyType(self._parked)

    @property
    def running(self) -> int:
        """Jobs that were started and have not ended."""
        return len(self._jobs)

    def wrap(self, module: torch.nn.Module, name: str, *, state: ModuleState | None = None) -> None:
        """Make calls of `module` park when a job makes them; other callers notice nothing.
        Autoencoders are entered by `encode` and `decode`, everything else by `forward`."""
        if state is not None:
            self._states[state] = state.capture()
        for method in entries(module):
            inner = getattr(module, method)
            rows = layout_of(module) if method == "forward" else None
            called = name if method == "forward" else f"{name}.{method}"
            setattr(module, method, self._parking_method(inner, called, rows, state))

    @property
    def states(self) -> tuple[ModuleState, ...]:
        """What wrapped modules hold beside their weights."""
        return tuple(self._states)

    def forget(self, states: Iterable[ModuleState]) -> None:
        """Keep no reference to `states` any more: their modules are leaving memory."""
        for state in states:
            self._states.pop(state, None)

    def start(self, owner: Hashable, fn: Callable[[], Any], *, alone: bool = False) -> None:
        """Run `fn` as a job until it parks or ends. The calls of one that runs `alone` are joined
        with nobody's: its row counts, and so its bits, depend on nothing but itself."""
        if owner in self._jobs:
            raise ValueError(f"a job of {owner!r} is already running")
        torch.set_grad_enabled(False)
        self._jobs[owner] = _Job(self, owner, fn, alone=alone)
        for state, value in self._states.items():
            state.restore(value)
        self._go_on(owner, self._jobs[owner].switch)

    def run(self, calls: Sequence[Call]) -> None:
        """One forward for parked calls of one key; each job goes on with its own rows.

        DeviceMemoryError: the calls not yet answered are still parked; split them, or throw it
        into the one that does not even fit alone. Any other error goes to the job that also
        fails alone, and only to that one."""
        outcome = self._attempt(calls)
        if not isinstance(outcome, Exception):
            for call, part in zip(calls, outcome, strict=True):
                self._go_on(call.owner, self._jobs[call.owner].switch, part)
        elif is_out_of_memory(outcome):
            raise DeviceMemoryError(
                f"out of device memory in {calls[0].module_name} with {_total_rows(calls)} rows"
            )
        elif len(calls) == 1:
            self.throw(calls[0].owner, outcome)
        else:
            for call in calls:
                self.run([call])

    def throw(self, owner: Hashable, error: BaseException) -> None:
        """Raise `error` in a parked job, out of the model call it is parked at."""
        self._parked[owner]
        self._go_on(owner, self._jobs[owner].throw, error)

    def take_ended(self) -> list[Ended]:
        """Jobs that ended since the last time this was asked."""
        ended, self._ended = self._ended, []
        return ended

    def _parking_method(
        self, inner: Callable[..., Any], name: str, rows: Rows | None, state: ModuleState | None
    ) -> Callable[..., Any]:
        signature = inspect.signature(inner)

        @functools.wraps(inner)
        def parking(*args: Any, **kwargs: Any) -> Any:
            job = getcurrent()
            hub = job.parent
            if not isinstance(job, _Job) or job.gather is not self or hub is None:
                return inner(*args, **kwargs)
            captured = tuple((each, each.capture()) for each in self._states)
            call = Call(job.owner, name, object(), 1, inner, args, kwargs, captured)
            if rows is not None:
                own = next((value for each, value in captured if each is state), None)
                _make_joinable(call, rows, signature.bind(*args, **kwargs), own)
            if job.alone:
                call.key = (job.owner, call.key)
            return hub.switch(call)

        return parking

    def _go_on(self, owner: Hashable, switch: Callable[..., Any], *value: Any) -> None:
        call = self._parked.pop(owner, None)
        if call is not None:
            _restore(call)
            del call
        outcome = switch(*value)
        if isinstance(outcome, Call):
            self._parked[owner] = outcome
            return
        job = self._jobs.pop(owner)
        error, trace, result = outcome
        self._ended.append(Ended(owner, result, error, trace, frozenset(job.row_counts)))

    def _attempt(self, calls: Sequence[Call]) -> list[Any] | Exception:
        """The part of each call, or the error without the frames that hold tensors."""
        _restore(calls[0])
        try:
            if calls[0].layout is None:
                return [call.inner(*call.args, **call.kwargs) for call in calls]
            return self._forward(calls, calls[0].layout)
        except Exception as error:
            error.add_note("".join(traceback.format_tb(error.__traceback__)))
            return drop_frames(error)

    def padded(self, rows: int) -> int:
        return next((count for count in self._row_counts if count >= rows), rows)

    def _forward(self, calls: Sequence[Call], layout: Rows) -> list[Any]:
        first, rows = calls[0], _total_rows(calls)
        count = self.padded(rows)
        result = first.inner(**join(layout, [call.kwargs for call in calls], count - rows))
        parts = [result]
        if len(calls) > 1 or count > rows or self._clone:
            parts = split(layout, result, [call.rows for call in calls], count, clone=self._clone)
        self.forwards += 1
        self.joined_calls += len(calls) > 1
        self.rows += rows
        self.padding_rows += count - rows
        for call in calls:
            self._jobs[call.owner].row_counts.add(count)
        both = zip(calls, parts, strict=True)
        return [part.to_tuple() if call.wants_tuple else part for call, part in both]


def _run_job(fn: Callable[[], Any]) -> tuple[BaseException | None, str, Any]:
    """Catches everything: nothing a job raises may reach another."""
    try:
        return None, "", fn()
    except (Exception, JobInterrupt) as error:
        trace = "".join(traceback.format_exception(error))
        if is_out_of_memory(error):
            return DeviceMemoryError("out of device memory outside the model calls"), trace, None
        return drop_frames(error), trace, None


def entries(module: torch.nn.Module) -> list[str]:
    """The methods by which pipelines call a module."""
    return [name for name in ("encode", "decode") if hasattr(module, name)] or ["forward"]


def _make_joinable(call: Call, rows: Rows, bound: inspect.BoundArguments, state: Hashable) -> None:
    """Turn a call into one that can be joined, unless its arguments forbid it."""
    bound.apply_defaults()
    arguments = dict(bound.arguments)
    wants_tuple = rows.returns_either and not arguments["return_dict"]
    try:
        call.rows, key = normalize(rows, arguments)
    except NotJoinableError:
        return
    # A new module can get the identity of one that is gone: whoever learns something of a key has
    # to forget it when a model leaves memory.
    call.key = (call.module_name, id(getattr(call.inner, "__self__", call.inner)), key, state)
    call.args, call.kwargs, call.layout, call.wants_tuple = (), arguments, rows, wants_tuple


def _restore(call: Call) -> None:
    for state, value in call.states:
        state.restore(value)


def _total_rows(calls: Sequence[Call]) -> int:
    return sum(call.rows for call in calls)
