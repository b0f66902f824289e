import pytest
from pydantic import ValidationError

from darkroom.checked import Checked, Loading, parse
from darkroom.model_record import ModelRecord


@pytest.mark.parametrize(
    "told", [Loading(name="m", share=0.5), Checked(record=ModelRecord(name="m", error="no"))]
)
def test_what_is_told_reads_back(told: Checked | Loading) -> None:
    assert parse(told.model_dump_json().encode()) == told


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b'{"name": "m", "colour": 1}'])
def test_what_else_a_process_writes_is_nothing(line: bytes) -> None:
    with pytest.raises(ValidationError):
        parse(line)
