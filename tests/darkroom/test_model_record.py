import pytest
from pydantic import ValidationError

from darkroom.model_record import ModelRecord, RefusedUpload


def test_a_record_comes_back_as_it_was_written_and_may_be_of_an_earlier_version() -> None:
    record = ModelRecord(name="one", refused_uploads={"oil": RefusedUpload(file="1-2", reason="x")})
    assert ModelRecord.model_validate_json(record.model_dump_json()) == record
    assert ModelRecord.model_validate_json('{"name": "one"}').refused_uploads == {}
    with pytest.raises(ValidationError, match="nonsense"):
        ModelRecord.model_validate_json('{"name": "one", "nonsense": 1}')
