"""What clients see of a file."""

from datetime import UTC, datetime

from darkroom.kept_file import KeptFile

MOMENT = datetime(2026, 11, 27, tzinfo=UTC)


def test_a_file_names_its_hash_and_where_its_picture_is() -> None:
    about = {"kind": "mask", "width": 4, "height": 2, "bytes": 70}
    file = KeptFile(id=f"file_{'a' * 64}", created_at=MOMENT, expires_at=MOMENT, **about)
    told = file.model_dump(mode="json", by_alias=True)
    assert told["sha256"] == "a" * 64
    assert told["urls"]["self"] == f"/api/v1/files/file_{'a' * 64}"
    assert told["urls"]["content"] == told["urls"]["self"] + "/content"
    assert (told["object"], told["format"], told["warnings"]) == ("file", "png", [])
