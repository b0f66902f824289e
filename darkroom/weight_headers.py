"""Headers of safetensors files, checked before a loader opens them; used by all processes, knows no
torch.

The format: eight bytes with the length of the header, the header, which is JSON, then the numbers
of all tensors one after the other without gaps.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from darkroom.errors import ModelLoadError
from darkroom.safe_files import parse_json, read_start, size_of

MAX_HEADER_BYTES = 8 * 2**20
"""Headers of weights have below 0.5 MB (2,500 tensors of a whole SDXL checkpoint: 0.3); kohya's
scripts add what they trained on, a few MB at most. The format allows 100 MB, which takes a loader
half a minute and gigabytes."""
MAX_TENSORS = 50_000
"""Of one file. Published ones have a few thousand, and loaders take 0.1 ms for each."""
MAX_SIDES = 16
"""Of one tensor; published ones have at most five."""

BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
"""Bits of one number, by the names of the format."""


@dataclass(frozen=True)
class Tensor:
    """What a header says of one tensor."""

    dtype: str
    shape: tuple[int, ...]
    size: int
    """Bytes in the file."""
    at: int = field(default=0, compare=False)
    """Where they begin in the file."""


class Header(dict[str, Tensor]):
    """The tensors of a file by name, and what else its header says."""

    def __init__(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
        super().__init__(tensors)
        self.metadata = metadata
        """Texts that whoever wrote the file added, such as `modelspec.architecture`."""


def read_header(path: Path) -> Header:
    """The tensors of a safetensors file by name. Raises ModelLoadError if it is none, is cut off
    or contradicts itself."""
    size = size_of(path)
    start = read_start(path, 8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > size - 8:
        raise _damaged(path, "it ends before its header does")
    if length > MAX_HEADER_BYTES:
        raise ModelLoadError(
            f"{path.name} has a header of {length:,} bytes, where {MAX_HEADER_BYTES:,} are far "
            "more than weights need"
        )
    content = read_start(path, 8 + length)[8:]
    if content.count(b'"data_offsets"') > MAX_TENSORS:
        raise ModelLoadError(f"{path.name} holds more than {MAX_TENSORS:,} tensors")
    entries = parse_json(content, f"the header of {path.name}")
    if not isinstance(entries, dict):
        raise _damaged(path, "its header is no object")
    said = entries.pop("__metadata__", {})
    if not isinstance(said, dict) or not all(isinstance(text, str) for text in said.values()):
        raise _damaged(path, "its metadata is something other than texts")
    spans = [(*_span(path, name, entry), name) for name, entry in entries.items()]
    _check_order(path, sorted(spans), size - 8 - length)
    tensors = {
        name: Tensor(entry["dtype"], tuple(entry["shape"]), end - begin, 8 + length + begin)
        for (begin, end, name), entry in zip(spans, entries.values(), strict=True)
    }
    return Header(tensors, said)


def _span(path: Path, name: str, entry: Any) -> tuple[int, int]:
    """Where a tensor begins and ends, if that is as long as it says."""
    try:
        bits, shape = BITS[entry["dtype"]], entry["shape"]
        begin, end = entry["data_offsets"]
    except (KeyError, TypeError, ValueError):
        raise _damaged(path, f"it does not say what {name[:80]!r} is") from None
    is_shape = isinstance(shape, list) and len(shape) <= MAX_SIDES
    numbers = [begin, end, *shape] if is_shape else [None]
    if not all(type(each) is int and 0 <= each < 2**63 for each in numbers):
        raise _damaged(path, f"it does not say where {name[:80]!r} is")
    if (end - begin) * 8 != math.prod(shape) * bits:
        raise _damaged(path, f"{name[:80]!r} is longer or shorter than its shape says")
    return begin, end


def _check_order(path: Path, spans: list[tuple[int, int, str]], size: int) -> None:
    """One tensor after the other from the first byte to the last."""
    at = 0
    for begin, end, name in spans:
        if begin != at:
            raise _damaged(path, f"{name[:80]!r} overlaps another or leaves a gap")
        at = end
    if at > size:
        raise _damaged(path, f"{_bytes(at - size)} missing at its end; download it again")
    if at < size:
        raise _damaged(path, f"{_bytes(size - at)} there after its end")


def _bytes(count: int) -> str:
    return "1 byte is" if count == 1 else f"{count:,} bytes are"


def _damaged(path: Path, why: str) -> ModelLoadError:
    return ModelLoadError(f"{path.name} is a damaged safetensors file: {why}")
