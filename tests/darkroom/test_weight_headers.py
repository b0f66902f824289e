import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from darkroom import weight_headers
from darkroom.errors import ModelLoadError
from darkroom.weight_headers import Tensor, read_header


def write(path: Path, header: Any, *, size: int = 8, length: int | None = None) -> Path:
    """A file with this header, `size` bytes of weights, and the header's length as told."""
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    told = len(content) if length is None else length
    path.write_bytes(struct.pack("<Q", told) + content + bytes(size))
    return path


def entry(**changed: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changed


def test_a_header_says_what_is_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    tensors = {
        "a": torch.zeros(2, 3),
        "b": torch.tensor(1, dtype=torch.int64),
        "c": torch.zeros(0, 4, dtype=torch.bfloat16),
        "d": torch.zeros(5, dtype=torch.float8_e4m3fn),
        "e": torch.zeros(3, dtype=torch.bool),
    }
    save_file(tensors, file, metadata={"format": "pt", "ss_network_dim": "4"})
    assert read_header(file) == {
        "a": Tensor("F32", (2, 3), 24),
        "b": Tensor("I64", (), 8),
        "c": Tensor("BF16", (0, 4), 0),
        "d": Tensor("F8_E4M3", (5,), 5),
        "e": Tensor("BOOL", (3,), 3),
    }


@pytest.mark.parametrize(
    ("header", "more", "words"),
    [
        ({"a": entry()}, {"length": 2**62}, "ends before its header does"),
        ({"a": entry()}, {"length": 2**40}, "ends before its header does"),
        ({"a": entry()}, {"size": 3}, "5 bytes are missing at its end; download it again"),
        ({"a": entry()}, {"size": 9}, "1 byte is there after its end"),
        ({"a": entry(dtype="F99")}, {}, "does not say what 'a' is"),
        ({"a": entry(dtype=["F32"])}, {}, "does not say what 'a' is"),
        ({"a": {}}, {}, "does not say what 'a' is"),
        ({"a": 5}, {}, "does not say what 'a' is"),
        ({"a": entry(data_offsets=[0])}, {}, "does not say what 'a' is"),
        ({"a": entry(shape=3)}, {}, "does not say where 'a' is"),
        ({"a": entry(shape=[-2])}, {}, "does not say where 'a' is"),
        ({"a": entry(shape=[2.0])}, {}, "does not say where 'a' is"),
        ({"a": entry(shape=[True])}, {}, "does not say where 'a' is"),
        ({"a": entry(shape=[2**62] * 5000)}, {}, "does not say where 'a' is"),
        ({"a": entry(shape=[2**62, 2**62])}, {}, "'a' is longer or shorter than its shape says"),
        ({"a": entry(data_offsets=[8, 0])}, {}, "longer or shorter"),
        ({"a": entry(), "b": entry()}, {}, "'b' overlaps another or leaves a gap"),
        ({"a": entry(data_offsets=[8, 16])}, {"size": 16}, "'a' overlaps another or leaves a gap"),
        ([1], {}, "its header is no object"),
        ({"a": entry(), "__metadata__": {"x": 1}}, {}, "metadata is something other than texts"),
        ({"a": entry(), "__metadata__": "x"}, {}, "metadata is something other than texts"),
        (b"{", {}, "is no JSON"),
        (b"[" * 100_000, {}, "nests objects or lists"),
        (b'{"data_offsets":1}' * 50_001, {}, "holds more than 50,000 tensors"),
        (b"{}", {"length": 3, "size": 0}, "ends before its header does"),
    ],
)
def test_a_header_that_lies_is_refused(
    header: Any, more: dict[str, int], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelLoadError, match=words):
        read_header(write(tmp_path / "a.safetensors", header, **more))


def test_a_header_larger_than_any_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(struct.pack("<Q", weight_headers.MAX_HEADER_BYTES + 1))
    with file.open("r+b") as opened:
        opened.truncate(2**33)  # a hole of the file system
    with pytest.raises(ModelLoadError, match="a header of 8,388,609 bytes, where 8,388,608"):
        read_header(file)


@pytest.mark.parametrize("content", [b"", b"\x08\0\0", b"\0" * 8])
def test_a_file_that_is_too_short_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(ModelLoadError, match=r"a\.safetensors is a damaged|is no JSON"):
        read_header(tmp_path / "a.safetensors")


def test_what_a_name_says_is_shown_short_and_without_control(tmp_path: Path) -> None:
    name = "\x1b[31m" + "x" * 5000
    with pytest.raises(ModelLoadError) as caught:
        read_header(write(tmp_path / "a.safetensors", {name: 5}))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 250
