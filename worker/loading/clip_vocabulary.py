"""The tokenizer of CLIP, from the vocabulary that ships with Darkroom; used by the worker for
models in single files, which bring none.

Its words are the 256 bytes, the same at the end of a word, the results of 48,894 merges in their
order, and a beginning and an end: as in `simple_tokenizer.py` of OpenAI's CLIP and of open_clip.
"""

from pathlib import Path
from typing import Any

from transformers import CLIPTokenizer

from darkroom.model_files import read_json
from darkroom.single_files import CONFIGS

MERGES = CONFIGS / "clip" / "merges.txt"
START, END = "<|startoftext|>", "<|endoftext|>"


def tokenizer(folder: Path) -> Any:
    """The tokenizer whose padding and length stand in `tokenizer_config.json` of `folder`."""
    said = read_json(folder / "tokenizer_config.json")
    merges = [tuple(line.split()) for line in MERGES.read_text(encoding="utf-8").splitlines()]
    letters = _letters()
    words = [*letters, *(f"{letter}</w>" for letter in letters)]
    words += ["".join(pair) for pair in merges]
    return CLIPTokenizer(
        vocab={word: number for number, word in enumerate([*words, START, END])},
        merges=merges,
        pad_token=said.get("pad_token", END),
        model_max_length=said.get("model_max_length", 77),
    )


def _letters() -> list[str]:
    """A letter that can be seen for each byte, in the order of the vocabulary: Latin ones stand for
    themselves, then come the others from U+0100 on."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [*map(chr, seen), *(chr(256 + number) for number in range(256 - len(seen)))]
