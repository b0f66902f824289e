import pytest
from pydantic import ValidationError

from darkroom.field_errors import field_errors, pointer
from darkroom.request import LayoutToImage


def errors_of(**fields: object) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        LayoutToImage.model_validate(fields)
    return {each.pointer: each.detail for each in field_errors(caught.value)}


def test_a_wrong_entry_of_a_list_is_told_and_not_that_the_list_is_too_short() -> None:
    found = errors_of(regions=[{"phrase": "a cat", "box": [0, 0, 0, 1]}])
    assert {each for each in found if each.startswith("/regions")} == {"/regions/0/box"}
    assert found["/prompt"] == "This field is required."


def test_a_list_without_entries_is_told_as_a_whole() -> None:
    assert "/regions" in errors_of(regions=[])


def test_each_of_many_wrong_fields_is_told_once() -> None:
    found = errors_of(**{f"k{number}": 1 for number in range(500)})
    assert found["/k499"] == "There is no such field."
    assert len([each for each in found if each.startswith("/k")]) == 500


def test_pointers_escape_what_rfc_6901_escapes() -> None:
    assert pointer("a/b", "~c", "0") == "/a~1b/~0c/0"
    assert errors_of(**{"a/b": 1})["/a~1b"]
