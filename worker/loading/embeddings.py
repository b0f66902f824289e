"""Adds the words of textual inversions to a model's tokenizers and text encoders; used by
adapter_files.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from safetensors.torch import load_file

from darkroom.cards import EmbeddingCard
from darkroom.errors import ModelLoadError
from darkroom.file_kinds import EMBEDDING, WEIGHTS
from worker.loading.workbench import Workbench, refuse_not_finite

USUAL = "learned_embeds.safetensors"

KEYS = {"text_encoder": "clip_l", "text_encoder_2": "clip_g"}
"""Which vectors of a file are for which text encoder, where there are two."""
OF_DREAMBOOTH = {"text_encoders_0": "clip_l", "text_encoders_1": "clip_g"}
"""What diffusers' script for DreamBooth first called the same."""


def add(bench: Workbench, cards: Sequence[EmbeddingCard]) -> tuple[str, ...]:
    """The words that were added, which stand for as many tokens as the file has vectors."""
    added = []
    for card in cards:
        with bench.note_faults(f"embedding:{card.token}", card.source):
            _add(bench, card)
            added.append(card.token)
    return tuple(token for token in added if f"embedding:{token}" not in bench.faults)


def _add(bench: Workbench, card: EmbeddingCard) -> None:
    pipeline: Any = bench.pipeline
    if not hasattr(pipeline, "load_textual_inversion"):
        raise ModelLoadError(f"{bench.kind} takes no textual inversions")
    file = bench.file(card.source, card.weight_name, USUAL, EMBEDDING, WEIGHTS, wanted="embedding")
    read = load_file(file)
    parts = []
    for encoder, vectors in _by_encoder(pipeline, read).items():
        words = [card.token, *(f"{card.token}_{i}" for i in range(1, len(vectors)))]
        tokenizer = getattr(pipeline, encoder.replace("text_encoder", "tokenizer"))
        parts.append((tokenizer, getattr(pipeline, encoder), words, vectors))
    for part in parts:
        _check_words(*part)
    for part in parts:
        _add_words(*part)


def _by_encoder(pipeline: Any, read: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The vectors for each text encoder, one per row."""
    read = {OF_DREAMBOOTH.get(key, key): vectors for key, vectors in read.items()}
    keys = {name: key for name, key in KEYS.items() if getattr(pipeline, name, None) is not None}
    if len(keys) == len(read) == 1:
        return {next(iter(keys)): _rows(next(iter(read.values())))}
    if missing := [key for key in keys.values() if key not in read]:
        raise ModelLoadError(
            f"the model has {len(keys)} text encoders, and the file has no vectors "
            f"{', '.join(missing)}"
        )
    return {name: _rows(read[key]) for name, key in keys.items()}


def _rows(vectors: torch.Tensor) -> torch.Tensor:
    return vectors if vectors.ndim > 1 else vectors.reshape(1, -1)


def _check_words(tokenizer: Any, encoder: Any, words: Sequence[str], vectors: torch.Tensor) -> None:
    known = tokenizer.get_vocab()
    if taken := [word for word in words if word in known]:
        raise ModelLoadError(f"{taken[0]!r} is a word of the tokenizer already")
    table = encoder.get_input_embeddings().weight
    width = table.shape[1]
    if vectors.ndim != 2 or vectors.shape[1] != width or not len(vectors):
        shape = " x ".join(str(side) for side in vectors.shape)
        raise ModelLoadError(f"does not fit: vectors of {shape}, the text encoder's have {width}")
    if not vectors.is_floating_point():
        raise ModelLoadError(f"holds no floating-point numbers, but {vectors.dtype}")
    refuse_not_finite([vectors], table.dtype)
    room = tokenizer.model_max_length - 2  # a beginning and an end
    if len(vectors) > room:
        raise ModelLoadError(f"has {len(vectors):,} vectors, and a chunk of a prompt holds {room}")


def _add_words(tokenizer: Any, encoder: Any, words: Sequence[str], vectors: torch.Tensor) -> None:
    """As diffusers' `load_textual_inversion`, but words match only whole and as they are spelled:
    prompts without them are read as before."""
    from transformers import AddedToken

    tokenizer.add_tokens([AddedToken(w, single_word=True, normalized=False) for w in words])
    rows = max(len(tokenizer), encoder.get_input_embeddings().num_embeddings)
    table = encoder.resize_token_embeddings(rows, mean_resizing=False).weight
    with torch.no_grad():
        table[tokenizer.convert_tokens_to_ids(list(words))] = vectors.to(table)
    for part in encoder.modules():
        # 2 stands for an old rule, the end is where the highest id is; new words have higher ones.
        if getattr(part, "eos_token_id", None) == 2:
            part.eos_token_id = tokenizer.eos_token_id
