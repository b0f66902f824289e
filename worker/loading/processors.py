"""Processors of prompts and pictures, as they are where torchvision is not installed; used by what
reads models, knows no jobs.

transformers needs torchvision for processors that read videos, of which none are given here: those
of pictures it makes with Pillow and numpy instead.
"""

from __future__ import annotations

import functools
import inspect
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
import torch
import transformers
from diffusers.utils import is_torchvision_available
from transformers import ProcessorMixin

from darkroom.model_files import ModelFiles

_LIBRARY = "transformers"


def load_all(files: ModelFiles) -> dict[str, Any]:
    """The processors of a model that would read videos too, by the names of its parts, made for
    pictures alone; none where torchvision is installed, and the pipeline reads them itself.

    Raises what `UNREADABLE` names over files."""
    if is_torchvision_available():
        return {}
    named = {part: name for part, (library, name) in files.parts.items() if library == _LIBRARY}
    if "PixtralProcessor" in named.values():
        pixtral()
    classes = {part: getattr(transformers, str(name), None) for part, name in named.items()}
    return {
        part: for_pictures(cls).from_pretrained(
            files.part(part).folder, local_files_only=True, trust_remote_code=False
        )
        for part, cls in classes.items()
        if _reads_videos(cls)
    }


@functools.cache
def pixtral() -> type[ProcessorMixin]:
    """The tokenizer of FLUX.2 dev, whose pipeline hands it prompts and no pictures: a processor
    that transformers leaves out without torchvision, and gets here for prompts alone."""
    library: Any = import_module(_LIBRARY)  # as diffusers looks it up
    if is_torchvision_available():
        known: type[ProcessorMixin] = library.PixtralProcessor
        return known

    class PixtralProcessor(ProcessorMixin):
        text_kwargs: ClassVar = {"return_tensors": "pt"}

        def __init__(
            self, tokenizer: Any = None, chat_template: str | None = None, **_: Any
        ) -> None:
            super().__init__(tokenizer, chat_template=chat_template)

    PixtralProcessor.__module__ = _LIBRARY
    library.PixtralProcessor = PixtralProcessor
    return PixtralProcessor


def complete_omnigen() -> None:
    """Give OmniGen's pipeline the processor that it names, which diffusers leaves out where
    torchvision is not installed: all that it does with it is to make pictures tensors."""
    from diffusers.pipelines.omnigen import pipeline_omnigen, processor_omnigen

    if hasattr(pipeline_omnigen, "OmniGenMultiModalProcessor"):
        return

    class OmniGenMultiModalProcessor(processor_omnigen.OmniGenMultiModalProcessor):
        def __init__(self, text_tokenizer: Any, max_image_size: int = 1024) -> None:
            self.text_tokenizer = text_tokenizer
            self.collator = processor_omnigen.OmniGenCollator()
            self.reset_max_image_size(max_image_size)

        def reset_max_image_size(self, max_image_size: int) -> None:
            self.max_image_size = max_image_size

        def process_image(self, image: Any) -> torch.Tensor:
            """(3, height, width), from -1 to 1; both sides at most the largest, times of 16."""
            pixels = np.array(processor_omnigen.crop_image(image, self.max_image_size))
            shares = torch.from_numpy(pixels).permute(2, 0, 1).contiguous().float().div(255)
            return shares.sub(0.5).div(0.5)

    pipeline_omnigen.OmniGenMultiModalProcessor = OmniGenMultiModalProcessor


@functools.cache
def for_pictures(cls: type[ProcessorMixin]) -> type[ProcessorMixin]:
    """The processor without its part for videos: it looks for those that its constructor names."""

    def __init__(
        self: Any,
        image_processor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        **kwargs: Any,
    ) -> None:
        cls.__init__(self, image_processor, tokenizer, chat_template=chat_template, **kwargs)

    return type(cls.__name__, (cls,), {"__init__": __init__, "__module__": cls.__module__})


def _reads_videos(cls: Any) -> bool:
    is_processor = inspect.isclass(cls) and issubclass(cls, ProcessorMixin)
    return is_processor and "video_processor" in inspect.signature(cls.__init__).parameters
