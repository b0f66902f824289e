"""Writes the weights of a pickle into a safetensors file beside it, and runs nothing that is in it;
a process of its own, knows no models.

`python -m worker.loading.convert FILE`, for `darkroom models convert`: the only thing in Darkroom
that opens a pickle. torch's own reader makes numbers, texts, lists and tensors of it and nothing
else (`weights_only`); should that ever fail, the process has no network and can start no other.
"""

import ctypes
import os
import pickle
import re
import resource
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from darkroom.errors import DarkroomError
from darkroom.file_kinds import what_is
from darkroom.model_files import PICKLES, SAFETENSORS

ROOM = 2**20
"""Bytes that the result may have beside those of the file."""
_CLONE_NEWNET = 0x40000000
_REFUSED = ("socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.system", "pty.")
"""Events of Python by which a process reaches others."""


class ConvertError(DarkroomError):
    """A file cannot be converted; the message says why."""

    code = "convert"


def convert(file: Path) -> Path:
    """The safetensors file that was written. Raises ConvertError, ModelLoadError."""
    kind = what_is(file)
    if kind.name != "pickle":
        raise ConvertError(f"{file.name} is {kind.words}, and no pickle of weights")
    result = (
        file.with_suffix(SAFETENSORS) if file.suffix in PICKLES else Path(f"{file}{SAFETENSORS}")
    )
    if result.exists():
        raise ConvertError(f"{result.name} is there already")
    tensors = dict(_named(_read(file)))
    _refuse_odd(file, tensors)
    if not tensors:
        raise ConvertError(f"{file.name} holds no weights")
    unfinished = result.with_name(f".{result.name}.part")
    try:
        save_file(_apart(tensors), unfinished, {"format": "pt"})
        os.replace(unfinished, result)
    except OSError as error:
        raise ConvertError(f"{result.name} cannot be written: {error.strerror}") from None
    except (SafetensorError, RuntimeError, TypeError, ValueError, KeyError) as error:
        raise ConvertError(f"{file.name} holds what safetensors cannot: {error}") from None
    finally:
        unfinished.unlink(missing_ok=True)
    return result


def shut_in(size: int) -> None:
    """Leave this process no network, no children and no room for files much larger than `size`
    bytes. What the system does not allow to give up is refused in Python alone."""
    ctypes.CDLL(None).unshare(_CLONE_NEWNET)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + ROOM, size + ROOM))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.addaudithook(_refuse)


def _refuse(event: str, _: Any) -> None:
    if event.startswith(_REFUSED):
        raise PermissionError(f"{event} while a file is converted")


def _read(file: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        needs = f"needs code to be read ({named[1]})" if named else "is no pickle of weights alone"
        raise ConvertError(f"{file.name} {needs}, and is refused; nothing of it was run") from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError):
        raise ConvertError(f"{file.name} is damaged: download it again") from None


def _named(content: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors by name: those within `state_dict` where there is one, the vectors of an
    embedding as A1111's safetensors have them."""
    if not isinstance(content, dict):
        return
    if isinstance(vectors := content.get("string_to_param"), dict):
        content = {"emb_params": next(iter(vectors.values()), None)}
    elif isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    for name, value in content.items():
        if isinstance(name, str) and isinstance(value, torch.Tensor):
            yield name, value.detach()


def _refuse_odd(file: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Before any is copied: one number can stand for any number of them."""
    for name, tensor in tensors.items():
        if tensor.layout is not torch.strided:
            raise ConvertError(f"{file.name} holds what safetensors cannot: {name!r} is sparse")
    size = sum(tensor.nbytes for tensor in tensors.values())
    if size > file.stat().st_size + ROOM:
        raise ConvertError(f"{file.name} says that it holds {size:,} bytes, which it does not")


def _apart(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Each with memory of its own, as safetensors wants."""
    apart, seen = {}, set()
    for name, value in tensors.items():
        tensor = value.contiguous()
        memory = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if memory in seen else tensor
        seen.add(memory)
    return apart


def main(file: Path) -> None:
    shut_in(file.stat().st_size if file.is_file() else 0)
    print(f"{convert(file)} is written; {file.name} stays, and nothing reads it any more.")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except DarkroomError as fault:
        sys.exit(f"Error: {fault}")
