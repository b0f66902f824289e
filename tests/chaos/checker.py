"""Reads the history of a run and says which promises were broken; knows nothing of Darkroom's code,
only what it promises.

The promises, I1 to I14:

- I1 nothing accepted is lost; I2 one end per job, for good; I3 one result per job
- I4 no more attempts than faults that can cost one, and no innocent job fails
- I5 every picture is whole; I6 recovery within two leases, which is measured
- I7 positions only fall; I8 one key, one job
- I9 who has no lease changes nothing, and what has ended leaves nothing behind
- I10 bounded memory (`soak`); I11 a drain costs nobody anything; I12 webhooks (there are none)
- I13 faults are told as faults; I14 no process ends by itself
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos import history

Line = Mapping[str, Any]

ENDED = ("succeeded", "failed", "canceled")
MAY_FAIL = {"poison": "poison", "cut-short": "model_load_failed"}
"""The code with which jobs of a sort fail; all others are innocent."""
KILLS = {
    "engine killed",
    "cold engine killed",
    "engine crashed",
    "all engines killed",
    "supervisor killed",
    "engine paused",
}
COSTS_NOTHING = {
    "API killed",
    "API stopped",
    "keeper killed",
    "keeper paused",
    "Valkey killed",
    "Valkey's file torn",
    "Valkey stalled",
    "Valkey full",
    "disk full",
    "disk of pictures and logs full",
    "flood",
    "worker drained",
    "reply lost",
    "link slow",
    "one key many times",
    "clients hang up",
    "a queue's id twice",
    "stranger in the queue",
    "dashboards",
    "model cut short",
}
"""Faults that take no attempt from any job."""
SETTLED_AFTER_LEASES = 2.0


@dataclass(frozen=True)
class Breach:
    promise: str
    what: str


@dataclass
class Recovery:
    """How long jobs of a dead engine waited, in leases."""

    queued: list[float] = field(default_factory=list)
    running: list[float] = field(default_factory=list)


@dataclass
class Verdict:
    """What a run comes to."""

    breaches: list[Breach]
    counts: dict[str, int]
    faults: dict[str, int]
    recovery: dict[str, dict[str, Recovery]]
    """By fault; `alone`: nothing else struck and another worker had room; `overlapping`: others."""


def check(lines: Sequence[Line], *, lease_s: float, max_attempts: int = 5) -> Verdict:
    run = _Run(lines, lease_s, max_attempts)
    breaches = [
        *run.lost(),
        *run.ended_twice(),
        *run.double_results(),
        *run.attempts(),
        *run.damaged(),
        *run.rising_positions(),
        *run.keys(),
        *run.leftovers(),
        *run.drains(),
        *run.dishonest(),
        *run.deaths(),
    ]
    return Verdict(breaches, run.counts(breaches), run.fault_counts(), run.recovery())


class _Run:
    """The lines of one run by what they are about."""

    def __init__(self, lines: Sequence[Line], lease_s: float, max_attempts: int) -> None:
        self.lease_s, self.max_attempts = lease_s, max_attempts
        self.by_kind: dict[str, list[Line]] = defaultdict(list)
        for line in lines:
            self.by_kind[line["kind"]].append(line)
        self.acks = {line["job"]: line for line in self.by_kind["ack"]}
        self.ends = {line["job"]: line["body"] for line in self.by_kind["end"]}
        self.events = {line["job"]: line["events"] for line in self.by_kind["events"]}
        mended = {line["number"]: line["at"] for line in self.by_kind["mended"]}
        over = max((line["at"] for line in lines), default=0.0)
        self.faults = [
            {**line, "until": mended.get(line["number"], over)} for line in self.by_kind["fault"]
        ]

    def lost(self) -> Iterable[Breach]:
        """I1"""
        for job in self.acks:
            body = self.ends.get(job)
            if body is None:
                yield Breach("I1", f"{job} was accepted and is not there")
            elif body["status"] not in ENDED:
                yield Breach("I1", f"{job} hangs: {body['status']}")
        for line in self.by_kind["missing"]:
            yield Breach("I1", f"{line['job']} was answered with {line['status']}")
        for line in self.by_kind["astray"]:
            yield Breach("I1", f"{line['job']} is {line['status']} and nowhere")
        for line in self.by_kind["gave up"]:
            yield Breach("I13", f"nobody answered {line['what']}")

    def ended_twice(self) -> Iterable[Breach]:
        """I2"""
        for job, events in self.events.items():
            ends = [data for _, name, data in events if name == "done"]
            if job in self.ends and len(ends) != 1:
                yield Breach("I2", f"{job} ended {len(ends)} times")
            elif ends and events[-1][1] != "done":
                yield Breach("I2", f"{job} went on after its end: {events[-1][1]}")
            elif ends and job in self.ends and ends[0]["status"] != self.ends[job]["status"]:
                yield Breach("I2", f"{job} ended {ends[0]['status']} and is another now")
        last: dict[str, str] = {}
        for line in self.by_kind["seen"]:
            job, was = line["job"], last.get(line["job"])
            if was in ENDED and line["status"] != was:
                yield Breach("I2", f"{job} was {was} and then {line['status']}")
            last[job] = line["status"]
        for job, was in last.items():
            if was in ENDED and job in self.ends and self.ends[job]["status"] != was:
                yield Breach("I2", f"{job} was {was} and is {self.ends[job]['status']}")

    def double_results(self) -> Iterable[Breach]:
        """I3"""
        for job, body in self.ends.items():
            told = [data["id"] for _, name, data in self.events.get(job, ()) if name == "image"]
            had = [image["id"] for image in body["images"]]
            if told != had:
                yield Breach("I3", f"{job} has {len(had)} pictures and told of {len(told)}")
            wanted = self.acks[job]["pictures"] if job in self.acks else len(had)
            if body["status"] == "succeeded" and len(had) != wanted:
                yield Breach("I3", f"{job} has {len(had)} pictures of {wanted}")
        for line in self.by_kind["counters"]:
            if not line["submitted"] == line["finished"] == line["listed"]:
                counted = {name: line[name] for name in ("submitted", "finished", "listed")}
                yield Breach("I3", f"not counted alike: {counted}")

    def attempts(self) -> Iterable[Breach]:
        """I4"""
        for job, body in self.ends.items():
            sort = self.acks[job]["sort"] if job in self.acks else "innocent"
            code = (body["error"] or {}).get("code")
            if body["status"] == "failed" and MAY_FAIL.get(sort) != code:
                yield Breach("I4", f"{sort} {job} failed: {code}, attempt {body['attempts']}")
            if body["status"] == "succeeded" and sort == "poison":
                yield Breach("I4", f"{job} is poison and did not kill: the trap is broken")
            events = self.events.get(job) or [[0.0]]
            hits = sum(
                fault["at"] <= events[-1][0]
                and fault["until"] + SETTLED_AFTER_LEASES * self.lease_s >= events[0][0]
                for fault in self.faults
                if _sort(fault) not in COSTS_NOTHING
            )
            if body["attempts"] > min(self.max_attempts, 1 + hits) and sort == "innocent":
                yield Breach("I4", f"{job} was begun {body['attempts']} times, {hits} faults")

    def damaged(self) -> Iterable[Breach]:
        """I5"""
        for line in self.by_kind["picture"]:
            if line["wrong"]:
                yield Breach("I5", f"{line['image']} of {line['job']}: {line['wrong']}")

    def rising_positions(self) -> Iterable[Breach]:
        """I7"""
        last: dict[str, int] = {}
        for line in self.by_kind["seen"]:
            job, position = line["job"], line["position"]
            if position is None:
                continue
            if job in last and position > last[job]:
                yield Breach("I7", f"{job} went back from {last[job]} to {position}")
            last[job] = position

    def keys(self) -> Iterable[Breach]:
        """I8"""
        jobs: dict[str, set[str]] = defaultdict(set)
        for line in [*self.by_kind["ack"], *self.by_kind["listed"]]:
            jobs[line["key"]].add(line["job"])
        for key, made in jobs.items():
            if len(made) > 1:
                yield Breach("I8", f"{key} made {len(made)} jobs: {sorted(made)}")
        asked = {line["key"] for line in self.by_kind["send"]}
        for line in self.by_kind["listed"]:
            if line["key"] not in asked:
                yield Breach("I8", f"{line['job']} was asked for by nobody")

    def leftovers(self) -> Iterable[Breach]:
        """I9, and what a job must not leave behind."""
        for line in self.by_kind["left"]:
            yield Breach("I9", f"left over: {line['what']}")

    def drains(self) -> Iterable[Breach]:
        """I11"""
        for line in self.by_kind["drained"]:
            if line["status"] != 0:
                yield Breach("I11", f"{line['worker']} drained with status {line['status']}")
        for fault in self.faults:
            if fault["fault"] == "worker drained" and self._is_alone(fault):
                yield from self._charged(fault)

    def _charged(self, drain: Line) -> Iterable[Breach]:
        for job in drain.get("held", ()):
            runs = [
                (at, data["attempt"])
                for at, name, data in self.events.get(job, ())
                if name == "status" and data["status"] == "running"
            ]
            before = [attempt for at, attempt in runs if at <= drain["at"]]
            after = [attempt for at, attempt in runs if at > drain["at"]]
            if before and after and after[0] > before[-1]:
                yield Breach("I11", f"{job} lost an attempt to a drain")

    def dishonest(self) -> Iterable[Breach]:
        """I13"""
        for line in self.by_kind["refused"]:
            if line["status"] not in (429, 503) or not line["problem"]:
                yield Breach("I13", f"{line['what']}: {line['status']} {line['code']}")
            elif not line["retry_after"]:
                yield Breach("I13", f"{line['what']}: {line['status']} without Retry-After")
        for line in self.by_kind["odd"]:
            yield Breach("I13", f"{line['what']}: {line['status']}")

    def deaths(self) -> Iterable[Breach]:
        """I14"""
        for line in self.by_kind["died"]:
            yield Breach("I14", line["what"])

    def fault_counts(self) -> dict[str, int]:
        counts = Counter(_sort(line) for line in self.faults)
        full = [f for f in self.faults if f["fault"] == "cold engine killed" and f.get("full")]
        return dict(counts) | ({"cold engine killed, full": len(full)} if full else {})

    def counts(self, breaches: Sequence[Breach]) -> dict[str, int]:
        statuses = Counter(body["status"] for body in self.ends.values())
        broken = Counter(breach.promise for breach in breaches)
        attempts = [body["attempts"] for body in self.ends.values()]
        counters = self.by_kind["counters"][-1] if self.by_kind["counters"] else {}
        return {
            "jobs": len(self.acks),
            **{status: statuses[status] for status in ENDED},
            "pictures": len(self.by_kind["picture"]),
            "lost": broken["I1"],
            "double": broken["I2"] + broken["I3"] + broken["I8"],
            "damaged": broken["I5"],
            "innocents failed": sum(b.promise == "I4" and " failed: " in b.what for b in breaches),
            "attempts": sum(attempts),
            "refused to who had no lease": int(counters.get("fenced", 0)),
            "jobs held by what was hit": sum(len(f.get("held", ())) for f in self.faults),
        }

    def recovery(self) -> dict[str, dict[str, Recovery]]:
        """I6"""
        found: dict[str, dict[str, Recovery]] = {}
        for fault in self.faults:
            if fault["fault"] not in KILLS:
                continue
            kind = found.setdefault(
                fault["fault"], {"alone": Recovery(), "overlapping": Recovery()}
            )
            into = kind["alone" if self._is_alone(fault) else "overlapping"]
            for job in fault.get("held", ()):
                self._recovered(job, fault["at"], into)
        return found

    def _is_alone(self, fault: Line) -> bool:
        settled = SETTLED_AFTER_LEASES * self.lease_s
        return fault.get("room", False) and not any(
            other["at"] - settled < fault["at"] < other["until"] + settled
            for other in self.faults
            if other is not fault
        )

    def _recovered(self, job: str, struck: float, into: Recovery) -> None:
        """Of a job that ran when its engine was hit: when it was queued, and when it ran again."""
        events = self.events.get(job, ())
        before = [data["status"] for at, name, data in events if at <= struck and name == "status"]
        after = [
            (at, data["status"]) for at, name, data in events if at > struck and name == "status"
        ]
        if not before or before[-1] != "running" or not after or after[0][1] != "queued":
            return
        into.queued.append((after[0][0] - struck) / self.lease_s)
        if again := [at for at, status in after[1:] if status == "running"]:
            into.running.append((again[0] - struck) / self.lease_s)


def _sort(fault: Line) -> str:
    return str(fault["fault"]).partition(": ")[0]


def main() -> int:
    """`python -m tests.chaos.checker HISTORY LEASE_S`: check again what was written down."""
    verdict = check(history.read(Path(sys.argv[1])), lease_s=float(sys.argv[2]))
    for breach in verdict.breaches:
        print(breach.promise, breach.what)
    print(verdict.counts)
    print(verdict.faults)
    return bool(verdict.breaches)


if __name__ == "__main__":
    sys.exit(main())
