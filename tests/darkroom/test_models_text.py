"""The text of models.toml, and what is said where there is none."""

import os

import pytest

from darkroom.models_text import ModelsFileError, text_of


def test_the_text_is_read_to_the_character(tmp_path):
    (tmp_path / "models.toml").write_bytes("# é\r\n".encode())
    assert text_of(tmp_path / "models.toml") == "# é\r\n"


def test_what_cannot_be_read_is_told(tmp_path):
    (tmp_path / "latin").write_bytes(b"\xe9")
    os.mkfifo(tmp_path / "pipe")
    said = {"none": "There is no file", "": "cannot be read", "latin": "no text in UTF-8"}
    for name, part in (said | {"pipe": "cannot be read"}).items():
        with pytest.raises(ModelsFileError, match=part):
            text_of(tmp_path / name)
