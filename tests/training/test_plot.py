"""Losses become a curve: the newest lines count, and all of it lies within its frame."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from training import plot
from training.plot import HEIGHT, MARGIN, WIDTH, draw, read_curve, ticks


def test_newer_lines_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(plot, "RUNS", tmp_path)
    lines = [
        {"step": 20, "loss": 3.0},
        {"step": 40, "loss": 2.0},
        {"step": 60, "loss": 9.0},
        {"step": 40, "loss": 1.0, "psnr": 7.0},  # gone on from step 20
    ]
    (tmp_path / "stage").mkdir()
    file = tmp_path / "stage" / "losses.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_curve("stage", "loss") == [(20, 3.0), (40, 1.0), (60, 9.0)]
    assert read_curve("stage", "psnr") == [(40, 7.0)]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (0.11, 0.42, [0.2, 0.3, 0.4]),
        (0, 9100, [0, 2000, 4000, 6000, 8000]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_curve_lies_within_its_frame() -> None:
    curve = [(step, 100.0 if step == 10 else 1 + 10 / step) for step in range(10, 410, 10)]
    svg = draw(curve, "stage: loss by step")
    assert "stage: loss by step" in [*ElementTree.fromstring(svg).itertext()]
    points = re.search('points="(.*?)"', svg)
    assert points
    places = [tuple(map(float, point.split(","))) for point in points[1].split()]
    assert len(places) == len(curve)
    assert all(MARGIN <= x <= WIDTH - MARGIN for x, _ in places)
    assert all(MARGIN <= y <= HEIGHT - MARGIN for _, y in places)
    assert places[0][1] == MARGIN  # the first steep fall is cut off there
    assert places[-1] == (WIDTH - MARGIN, HEIGHT - MARGIN)
    assert [y for _, y in places] == sorted(y for _, y in places)
