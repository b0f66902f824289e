"""Early pictures for the streams of calls: how many, and when."""

import json

import pytest

from darkroom.queue.event_log import Event
from service.dialects.early_pictures import _is_due


def told(*steps, of=20, kind="preview"):
    data = {"url": "u", "width": 8, "height": 8, "steps": of}
    return [Event(f"{step}-0", kind, json.dumps(data | {"step": step})) for step in steps]


@pytest.mark.parametrize(
    ("events", "shown", "most", "due"),
    [
        ([], 0, 3, False),
        (told(19, kind="progress"), 0, 3, False),
        (told(4), 0, 3, False),
        (told(5), 0, 3, True),
        (told(5, 4), 0, 3, False),  # another attempt
        (told(9), 1, 3, False),
        (told(2, 14), 1, 3, True),
        (told(15), 2, 3, True),
        (told(9), 0, 1, False),
        (told(10), 0, 1, True),
        (told(1, of=2), 0, 3, True),
    ],
)
def test_they_are_spread_over_the_steps(events, shown, most, due):
    assert _is_due(events, shown, most) is due
