"""What people are told of errors; as whole commands in test_remote.py."""

import pytest

from darkroom.client.refusals import RefusedError, UnreachableError
from darkroom.command.refusals import told
from darkroom.errors import JobNotFoundError

FIELDS = [
    {"pointer": "/controls/0/name", "detail": "Is unknown."},
    {"pointer": "", "detail": "Asks for too much."},
]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            RefusedError("Two are wrong.", status=422, problem={"errors": FIELDS}),
            "controls/0/name: Is unknown.\nthe request: Asks for too much.",
        ),
        (RefusedError("It is full.", retry_s=7.0), "It is full.\nTry again in 7 s."),
        (JobNotFoundError("None."), "None."),
    ],
)
def test_an_error_is_told_with_its_fields_and_when_to_come_again(error, said):
    assert told(error) == said


def test_it_is_said_what_to_do_here():
    assert "No.\nGive one with --key or DARKROOM_KEY" in told(RefusedError("No.", status=401))
    nobody = told(UnreachableError("No Darkroom answers at x."))
    assert nobody.startswith("No Darkroom answers at x. Start one with `darkroom up`")
    assert "--url" in nobody
