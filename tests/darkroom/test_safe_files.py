import os
import socket
from pathlib import Path

import pytest

from darkroom.errors import ModelLoadError
from darkroom.safe_files import NotJSONError, load_json, read_start, size_of


def test_an_ordinary_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"a": [1, {"b": 2}]}')
    assert (size_of(file), read_start(file, 4)) == (20, b'{"a"')
    assert load_json(file) == {"a": [1, {"b": 2}]}
    (tmp_path / "link.json").symlink_to(file)
    assert load_json(tmp_path / "link.json") == load_json(file)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def listener(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def loop(path: Path) -> None:
    path.symlink_to(path)


def nothing(path: Path) -> None:
    path.symlink_to(path.with_name("gone"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (pipe, "is a pipe, not a file"),
        (device, "is a device, not a file"),
        (listener, "is a socket, not a file"),
        (Path.mkdir, "is a folder, not a file"),
        (loop, "cannot be read: "),
        (nothing, "is a link to nothing"),
        (lambda _: None, "is missing"),
    ],
)
def test_what_is_no_file_is_never_opened(make: object, words: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    make(file)
    for read in (size_of, load_json, lambda path: read_start(path, 8)):
        with pytest.raises(ModelLoadError, match=f"config.json {words}"):
            read(file)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[" * 100_000, "nests objects or lists more than 64 deep"),
        (b'{"a":' * 100_000, "nests objects"),
        (b"[" * 65 + b"]" * 65, "nests objects"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "nests objects"),
        (b"{} " + b" " * 200, "has 203 bytes, where 200 are far more"),
    ],
)
def test_json_that_costs_too_much_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(content)
    limit = 200 if content.startswith(b"{}") else 2**20
    with pytest.raises(ModelLoadError, match=words):
        load_json(file, limit)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"1" * 5000, b"<html>"])
def test_what_is_no_json_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(NotJSONError, match=r"a\.json is no JSON"):
        load_json(tmp_path / "a.json")


def test_json_as_deep_as_any_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"[" * 64 + b"]" * 64)
    assert load_json(tmp_path / "a.json")
