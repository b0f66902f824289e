"""That all words on the page can be read: pairs of its colours by WCAG 2.2 AA, in both themes."""

import re

import pytest

from tests.web.conftest import PAGE

TOKENS = (PAGE / "app" / "tokens.css").read_text()
PAIR = re.compile(r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);")
LIGHT, DARK = ({m[1]: m[n] for m in PAIR.finditer(TOKENS)} for n in (2, 3))

GROUNDS = ("ground", "panel", "well", "print")
TEXT = 4.5
SHAPE = 3.0
WANTED = [
    *((word, ground, TEXT) for word in ("ink", "quiet", "danger") for ground in GROUNDS),
    *((shape, ground, SHAPE) for shape in ("edge", "focus") for ground in GROUNDS[:3]),
    ("on-safelight", "safelight", TEXT),
    ("on-safelight", "safelight-lit", TEXT),
    ("safelight", "ground", SHAPE),
]


def luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("front", "back", "least"), WANTED)
def test_a_pair_can_be_told_apart(front: str, back: str, least: float) -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for theme in (LIGHT, DARK):
        found = contrast(theme[front], theme[back])
        assert found >= least, f"{front} {theme[front]} on {back} {theme[back]}: {found:.2f}"
