"""What a model may lack, such as a part that nothing needs, and what it may not, such as a
tokenizer's words; used by all that reads models, knows no jobs."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from darkroom.errors import ModelLoadError
from darkroom.model_files import ModelFiles

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

_MARK = re.compile(r"<extra_id_\d+>")
_MAY_BE_ABSENT = ("text_encoder", "tokenizer", "image_encoder", "feature_extractor")


def left_out(files: ModelFiles, cls: type[DiffusionPipeline]) -> Iterator[str]:
    """The parts that the model does without. Most come with the processor of a checker that is not
    loaded, and some only with its name. A list that is no part is an option."""
    for name in inspect.signature(cls.__init__).parameters:
        if not name.startswith(_MAY_BE_ABSENT):
            continue
        is_named = files.index.get(name) is not None and files.parts.get(name) != (None, None)
        is_needed = name != "feature_extractor" or name not in cls._optional_components
        if not is_named or not (is_needed or files.part(name).folder.is_dir()):
            yield name


def without_text_encoders(files: ModelFiles) -> dict[str, None]:
    """The parts to leave out: SD 3's T5, whose place its pipelines fill with zeros."""
    names = ("text_encoder_3", "tokenizer_3")
    parts = dict.fromkeys(name for name in names if name in files.index)
    if not parts:
        raise ModelLoadError(f"text_encoders: {files.pipeline} has none that it can do without")
    return parts


def is_empty(tokenizer: Any) -> bool:
    """Whether it has no words of its own: T5's knows a hundred without any vocabulary, by which it
    marks gaps, and the beginning of a word. A tokenizer of bytes needs none."""
    words = tokenizer if hasattr(tokenizer, "get_vocab") else tokenizer.tokenizer  # a processor
    if type(words).__name__ == "ByT5Tokenizer":
        return False
    known = set(words.get_vocab()).difference(words.all_special_tokens)
    return sum(not _MARK.fullmatch(word) for word in known) <= 1
