"""Fields in the words of options; whole commands are in test_remote.py and test_sweeps.py."""

import pytest

from darkroom.client.client import Client
from darkroom.client.refusals import RefusedError
from darkroom.command.in_options import in_options


@pytest.mark.parametrize(
    ("pointer", "option"),
    [
        ("/prompt", "PROMPT"),
        ("/output/format", "--format"),
        ("/output/quality", "--field output.quality"),
        ("/clip_skip", "--field clip_skip"),
        ("/grid/seed/2", "--grid seed"),
    ],
)
def test_fields_are_told_as_options(pointer, option):
    wrong = {"pointer": pointer, "detail": "Is wrong.", "code": "invalid"}
    with Client("http://127.0.0.1:9") as client:
        told = in_options(RefusedError("x", problem={"errors": [wrong]}), client)
    assert told == f"{option}: Is wrong."


def test_what_has_no_field_is_told_as_it_is():
    with Client("http://127.0.0.1:9") as client:
        assert in_options(RefusedError("It is full."), client) == "It is full."
