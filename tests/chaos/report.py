"""Sums pieces of long runs, storms and soaks, and writes docs/reliability.md:
`python -m tests.chaos.report docs/reliability/*.json > docs/reliability.md`."""

import json
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.chaos import soak
from tests.chaos.soak import Soak

Piece = dict[str, Any]

HEAD = """# Reliability

What was done to a running Darkroom, and what came of it: real processes, real signals, a proxy
between them and Valkey, small disks that fill. Clients noted what they sent and saw; a checker that
knows the promises and not the code read all of it afterwards.

The promise: after 202 a job reaches exactly one terminal state, no matter what dies. It may be
executed more than once; its result is committed once. No job fails because another one, or a
machine, did.

This page is made of pieces in `docs/reliability/`, each with a seed of its own: what `make chaos
MINUTES=n` wrote to `build/chaos/`. `python -m tests.chaos.report docs/reliability/*.json >
docs/reliability.md` makes it.
"""
NOT_THERE = """
Not among the faults: webhooks, and stores other than a directory, since Darkroom has neither; a
power cut, which an append-only file synced every second answers with the loss of at most that
second; the death of a real GPU, for which an error that the CUDA runtime raises stands in.
"""

MEMORY = """## Memory under lasting load

`make soak MINUTES=60`: jobs with event streams, input pictures and downloads, while the engine of
one worker is killed each minute. Slopes of the memory that belongs to each process alone (RssAnon),
after a third of the time as warm-up.
"""


def write(pieces: Sequence[Piece], soaks: Sequence[Soak] = ()) -> str:
    """The page, of at least one piece of a storm."""
    verdicts = [piece["verdict"] for piece in pieces]
    return "\n".join(
        [
            HEAD,
            *_runs(pieces),
            "## What came of it\n",
            *_table(("", "count"), _summed(each["counts"] for each in verdicts).items()),
            "",
            *_breaches(verdicts),
            *_notes(pieces),
            "## What was done\n",
            *_table(("fault", "times"), sorted(_summed(v["faults"] for v in verdicts).items())),
            NOT_THERE,
            "## How long jobs of what was hit waited\n",
            "In leases, from the fault on: until they were queued again, and until they ran again.",
            "*Alone*: nothing else struck within two leases, and another worker had room.\n",
            *_table(
                ("fault", "", "queued: p50", "p99", "n", "running: p50", "p99", "n"),
                _recovery(verdicts),
            ),
            "",
            *(line for each in soaks for line in (MEMORY, soak.told(each), "")),
        ]
    )


def _runs(pieces: Sequence[Piece]) -> list[str]:
    minutes = sum(piece["minutes"] for piece in pieces)
    leases = sorted({piece["lease_s"] for piece in pieces})
    return [
        f"{len(pieces)} pieces, {minutes:.0f} minutes in all, leases of "
        f"{', '.join(f'{lease:g}' for lease in leases)} s, seeds "
        f"{', '.join(str(piece['seed']) for piece in pieces)}. Full disks: "
        f"{', '.join(sorted({piece['disk'] for piece in pieces}))}.\n",
    ]


def _breaches(verdicts: Iterable[Piece]) -> list[str]:
    broken = [breach for verdict in verdicts for breach in verdict["breaches"]]
    if not broken:
        return ["No promise was broken.\n"]
    lines = [f"- {breach['promise']}: {breach['what']}" for breach in broken[:100]]
    return [f"Promises broken: {len(broken)}.\n", *lines, ""]


def _notes(pieces: Iterable[Piece]) -> list[str]:
    """What was found out about a piece afterwards, written into it by hand."""
    notes = [note for piece in pieces for note in piece.get("notes", [])]
    return [*(f"- {note}" for note in notes), ""] if notes else []


def _summed(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    summed: Counter[str] = Counter()
    for each in counts:
        for name, count in each.items():
            summed[name] += count
    return dict(summed)


def _recovery(verdicts: Iterable[Piece]) -> list[tuple[str, ...]]:
    found: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(
        lambda: {"queued": [], "running": []}
    )
    for verdict in verdicts:
        for fault, ways in verdict["recovery"].items():
            for way, times in ways.items():
                for name, leases in times.items():
                    found[fault, way][name] += leases
    return [
        (fault, way, *_spread(times["queued"]), *_spread(times["running"]))
        for (fault, way), times in sorted(found.items())
        if times["queued"]
    ]


def _spread(values: list[float]) -> tuple[str, str, str]:
    if not values:
        return "", "", "0"
    ordered = sorted(values)
    p50, p99 = (
        ordered[min(math.ceil(len(ordered) * q) - 1, len(ordered) - 1)] for q in (0.5, 0.99)
    )
    return f"{p50:.2f}", f"{p99:.2f}", str(len(ordered))


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(str(cell) for cell in line) + " |" for line in lines]


def main() -> None:
    read = [json.loads(Path(name).read_text()) for name in sys.argv[1:]]
    pieces = [each for each in read if "verdict" in each]
    if not pieces:
        sys.exit("Name the files of the pieces: docs/reliability/*.json")
    soaks = [Soak.of(each) for each in read if "slopes" in each]
    sys.stdout.write(write(sorted(pieces, key=lambda piece: piece["seed"]), soaks))


if __name__ == "__main__":
    main()
