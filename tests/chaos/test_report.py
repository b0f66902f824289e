import copy
import json
from dataclasses import asdict

from tests.chaos import report
from tests.chaos.checker import check
from tests.chaos.soak import VALKEY, Slope, Soak
from tests.chaos.storm import Result, pieces
from tests.chaos.test_checker import sound


def piece(seed: int) -> report.Piece:
    verdict = check(sound(), lease_s=2)
    return json.loads(Result(seed, 10.0, 2.0, "a tmpfs", verdict).as_json())


def test_pieces_are_summed() -> None:
    page = report.write([piece(1), piece(2)])
    for line in (
        "2 pieces, 20 minutes in all, leases of 2 s, seeds 1, 2. Full disks: a tmpfs.",
        "| jobs | 2 |",
        "| lost | 0 |",
        "| engine killed | 2 |",
        "| engine killed | alone | 0.05 | 0.05 | 2 | 0.50 | 0.50 | 2 |",
        "No promise was broken.",
    ):
        assert line in page.splitlines()


def test_a_soak_has_its_part() -> None:
    level = Slope(0.5, 0.1, 0.9, 60.0, 60.5)
    run = Soak(60.0, 9, 1.5, 3, {"api": level}, level, (1, 2), [], {"api": [], VALKEY: []})
    page = report.write([piece(1)], [run])
    assert "## Memory under lasting load" in page
    assert "| api | 0.50 | 0.10 to 0.90 | short | 60.0 | 60.5 |" in page.splitlines()


def test_what_was_broken_is_told() -> None:
    broken = copy.deepcopy(piece(1))
    lines = [line for line in sound() if line["kind"] != "end"]
    broken["verdict"]["breaches"] = asdict(check(lines, lease_s=2))["breaches"]
    page = report.write([broken])
    assert "Promises broken: 1." in page
    assert "- I1: a was accepted and is not there" in page


def test_a_long_run_is_one_of_pieces() -> None:
    assert pieces(7, 25) == [(7, 25 / 3), (8, 25 / 3), (9, 25 / 3)]
    assert pieces(7, 0.5) == [(7, 0.5)]
