"""Where the adapters of one model are loaded: a pipeline to load them into, the files that they are
read from, the faults of those that cannot be used; used by adapter_files.py, knows no jobs."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError

from darkroom.catalog import Catalog
from darkroom.errors import DeviceMemoryError, ModelLoadError
from darkroom.file_kinds import refuse_file, refuse_others
from darkroom.inspection import inspect_part
from darkroom.lora_folder import state_of
from darkroom.model_files import SAFETENSORS, PartFiles
from darkroom.networks import network_of
from darkroom.places import cached_folder
from worker.device import is_out_of_memory
from worker.loading.complaints import UNREADABLE, Complaints, first_lines, strict_logs
from worker.loading.weights import task_classes

if TYPE_CHECKING:
    # diffusers loads its parts when they are first named, slowly and leaving files.
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline


Refused = dict[tuple[str, Path], tuple[tuple[int, int], str]]
"""By model the files that it cannot use: their size and time of change when they were looked at,
and why not."""


class Workbench:
    """What is needed to load adapters into one model."""

    def __init__(
        self,
        catalog: Catalog,
        pipeline: DiffusionPipeline,
        *,
        model: str = "",
        refused: Refused | None = None,
    ) -> None:
        """`refused`: what was found of files before, which are not looked at again while they
        stay as they are."""
        self.faults: dict[str, str] = {}
        """What cannot be used, such as `lora:NAME`, and why."""
        self.kind = type(pipeline).__name__
        self.pipeline = _loading_pipeline(pipeline)
        """The model's parts; an adapter that changes one gets a copy of it."""
        self._catalog = catalog
        self._model = model
        self._refused: Refused = {} if refused is None else refused

    @property
    def network(self) -> Any:
        return network_of(self.pipeline)

    def pipeline_of(self, parts: Mapping[str, Any]) -> DiffusionPipeline:
        """The pipeline with other parts, for loading something into them."""
        changed = copy.copy(self.pipeline)
        for name, part in parts.items():
            setattr(changed, name, part)
        return changed

    def folder(
        self,
        source: str,
        landmark: str,
        revision: str | None = None,
        variant: str | None = None,
    ) -> Path:
        """The folder of `source` that holds a file of the name of `landmark`, which is a path from
        there. Raises ModelLoadError if that is not on this machine, holds no safetensors, or what
        no library should read."""
        if place := self._catalog.locate(source):
            refuse_file(place)
        folder = (place / landmark).parent if place else cached_folder(source, revision, landmark)
        _safetensors_in(folder)
        inspect_part(PartFiles(folder), variant)
        return folder

    def single(self, source: str) -> Path | None:
        """The file that a source names, if it names one and no folder. Raises ModelLoadError if
        that is no safetensors file."""
        place = self._catalog.locate(source)
        if place is None or place.is_dir():
            return None
        return place.with_name(_check_ending(place.name))

    def file(
        self, source: str, weight_name: str | None, usual: str, *kinds: str, wanted: str
    ) -> Path:
        """The safetensors file that a card means, which is of one of `kinds`; `wanted` says which
        in words. Raises ModelLoadError if there is none."""
        place = self._catalog.locate(source)
        if place is None:
            name = _check_ending(weight_name or usual)
            file = cached_folder(source, None, name) / Path(name).name
        elif place.is_dir():
            file = place / _check_ending(weight_name or _choose(_safetensors_in(place), usual))
        else:
            file = place.with_name(_check_ending(place.name))
        refuse_others(file, *kinds, wanted=wanted)
        return file

    def refusal(self, file: Path) -> str | None:
        """Why the file as it is now cannot be used, where that was found."""
        before, reason = self._refused.get((self._model, file), (None, ""))
        return reason if before is not None and before == state_of(file) else None

    @contextmanager
    def remember_refusal(self, file: Path) -> Iterator[None]:
        """Raise what the block raised over the same file before, without doing it again. Raises
        ModelLoadError."""
        if reason := self.refusal(file):
            raise ModelLoadError(reason)
        state = state_of(file)
        try:
            yield
        except ModelLoadError as error:
            if state is not None:
                self._refused[self._model, file] = state, str(error)
            raise

    @contextmanager
    def note_faults(self, what: str, source: str) -> Iterator[Complaints]:
        """Turn an error of the block into the fault of `what`. Raises DeviceMemoryError."""
        try:
            with strict_logs() as complaints:
                yield complaints
                complaints.refuse_any()
            return
        except ModelLoadError as error:
            reason = str(error)
        except UNREADABLE as error:
            if is_out_of_memory(error):
                raise DeviceMemoryError(f"{source} does not fit into the memory left") from None
            reason = _explain(error)
        self.faults[what] = f"{source}: {reason}"


def refuse_not_finite(tensors: Iterable[torch.Tensor], dtype: torch.dtype) -> None:
    """Raises ModelLoadError if numbers are NaN or infinite once they are of `dtype`: every picture
    would be spoilt by them."""
    if not all(bool(each.to(dtype).isfinite().all()) for each in tensors):
        told = str(dtype).removeprefix("torch.")
        raise ModelLoadError(f"holds numbers that are not finite in {told} (NaN or infinite)")


def _loading_pipeline(pipeline: DiffusionPipeline) -> DiffusionPipeline:
    """The parts of `pipeline` in the class that makes pictures from text, where there is one:
    GLIGEN's own knows no loading of adapters."""
    cls = task_classes(type(pipeline).__name__).get("text-to-image", type(pipeline))
    accepted = inspect.signature(cls.__init__).parameters
    parts = {**pipeline.components, "requires_safety_checker": False}
    return cls(**{name: part for name, part in parts.items() if name in accepted})


def _safetensors_in(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise ModelLoadError(f"the folder {folder.name} is missing")
    files = PartFiles(folder)
    if files.safetensors:
        return files.safetensors
    raise ModelLoadError(
        _could_run_code(files.pickles[0]) if files.pickles else "holds no safetensors file"
    )


def _choose(names: Sequence[str], usual: str) -> str:
    if len(names) == 1 or usual in names:
        return names[0] if len(names) == 1 else usual
    raise ModelLoadError(f"holds {len(names)} safetensors files; name one: weight_name")


def _check_ending(name: str) -> str:
    """The name of a file, which only counts as data if it ends in .safetensors: diffusers would
    read others too."""
    if not name.endswith(SAFETENSORS):
        raise ModelLoadError(_could_run_code(name))
    return name


def _could_run_code(name: str) -> str:
    return f"{name} could run code when it is read; only safetensors are loaded"


def _explain(error: Exception) -> str:
    text = str(error)
    if isinstance(error, SafetensorError) or "Unable to load weights" in text:
        return f"damaged: {first_lines(error)}"
    if "size mismatch" in text or "ignore_mismatched_sizes" in text or "shape" in text:
        return f"does not fit: weights of another shape ({first_lines(error)})"
    if "not found in the base model" in text:
        return f"does not fit: layers that the model does not have ({first_lines(error)})"
    return first_lines(error)
