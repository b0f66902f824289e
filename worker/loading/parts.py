"""Reads the networks of a model, each of which goes to the device before the next is read, and
tells how far that is; used by the worker's pipelines, knows no cards.

diffusers' pipelines read all parts into the host's memory first. Here that holds one at a time.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

import diffusers
import torch
import transformers

from darkroom import logs
from darkroom.model_files import ModelFiles, PartFiles
from worker.loading import single_parts

if TYPE_CHECKING:
    # diffusers loads its parts when they are first named, slowly and leaving files.
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline

log = logs.get("parts")

Told = Callable[[float], None]
"""Hears which share of a model's weights has been read: 0 to 1, by bytes."""

Place = Callable[[torch.nn.Module], torch.nn.Module]
"""Puts a part where it belongs."""

_LIBRARIES = {"diffusers": diffusers, "transformers": transformers}


def untold(share: float) -> None:
    """For those who do not want to know."""


def load_all(
    files: ModelFiles,
    cls: type[DiffusionPipeline],
    variant: str | None,
    dtypes: Mapping[str, torch.dtype],
    leave_out: Collection[str],
    place: Place,
    told: Told,
) -> dict[str, torch.nn.Module]:
    """The parts of a model that hold weights, by their names, as far as the pipeline `cls` takes
    them and they are not in `leave_out`; each as `place` returns it, which is given it before the
    next is read. `dtypes` has one for `default` and those of parts that have others. Of some kinds
    of classes pipelines know more: what is not here is left to them.

    Raises ModelLoadError, and what `UNREADABLE` names."""
    wanted = inspect.signature(cls.__init__).parameters.keys() - set(leave_out)
    sizes = {
        name: files.part(name).size(dtypes.get(name, dtypes["default"]).itemsize, variant)
        for name in files.parts
        if name in wanted and (name in files.places or _class(files, name))
    }
    loaded: dict[str, torch.nn.Module] = {}
    for name in sizes:
        loaded[name] = place(_load(files, name, variant, dtypes.get(name, dtypes["default"])))
        # Rounded down: all is what is all.
        share = 100 * sum(sizes[each] for each in loaded) // max(sum(sizes.values()), 1) / 100
        log.info("part_loaded", component=name, share=share)
        told(share)
    return loaded


def _class(files: ModelFiles, name: str) -> type[torch.nn.Module] | None:
    library, cls = files.parts[name]
    if not files.part(name).folder.is_dir():
        return None
    kind = getattr(_LIBRARIES.get(library or ""), cls or "", None)
    return kind if isinstance(kind, type) and issubclass(kind, torch.nn.Module) else None


def _load(files: ModelFiles, name: str, variant: str | None, dtype: torch.dtype) -> torch.nn.Module:
    part: PartFiles = files.part(name)
    if part.single:
        return single_parts.load(name, files.parts[name], part, dtype)
    cls: Any = _class(files, name)
    own = {"variant": variant} if variant in part.variants - {None} else {}
    module: torch.nn.Module = cls.from_pretrained(
        part.folder, dtype=dtype, use_safetensors=True, **own
    )
    return module
