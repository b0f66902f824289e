"""What a pipeline is told of a request's prompts: strings, or embeddings made here where strings
would lose weights, length or the choice of layers; runs in a job's greenlet, sees no other job."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from darkroom.errors import UnsupportedError
from darkroom.request import Prompted, Upscale
from worker.making.prompt_syntax import Chunk, is_weighted, parse, text_of
from worker.making.text_encoders import Encoder, embed, encoders_of, is_clip, tokenizers_of

MAX_CHUNKS = 20
"""Of 75 tokens. Each costs a pass of the text encoder, and makes every step of denoising slower."""
MAX_PASSES = 100
"""A passage with a weight below 1 costs another pass for each chunk of its part of the prompt."""


def arguments(request: Prompted | Upscale, pipeline: Any) -> tuple[dict[str, Any], list[str]]:
    """The arguments of the pipeline's call that carry the prompts, and a sentence for each thing
    in them that the model will not read.

    Strings wherever the pipeline reads them as they are meant. Raises UnsupportedError."""
    accepted = inspect.signature(pipeline.__call__).parameters
    if "prompt" not in accepted:
        return {}, []
    encoders = encoders_of(pipeline, accepted)
    if not encoders:
        return _strings(request, pipeline, accepted)
    prompt, negative = parse(request.prompt), parse(request.negative_prompt)
    guided = request.guidance_scale > 1 and "negative_prompt_embeds" in accepted
    clip_skip = getattr(request, "clip_skip", 0)
    prompts = (prompt, negative) if guided else (prompt,)
    if not clip_skip and all(each.fits(p) for each in encoders for p in prompts):
        given = {"prompt": text_of(prompt)}
        if request.negative_prompt:  # left out is not the same as empty: SDXL then takes zeros
            given["negative_prompt"] = text_of(negative)
        return given, []
    for field, chunks in zip(("prompt", "negative_prompt"), prompts, strict=False):
        _check_length(field, chunks, encoders)
    # Zeros are the pipeline's own choice, and it makes as many as it needs.
    zeros = not request.negative_prompt and pipeline.config.get("force_zeros_for_empty_prompt")
    with torch.no_grad():
        read = embed(prompt, negative if guided and not zeros else None, encoders, clip_skip)
    return read, []


def _check_length(field: str, prompt: Sequence[Chunk], encoders: Sequence[Encoder]) -> None:
    """Few letters can be much work: BREAK begins a chunk, and an emoji may be several tokens."""
    lengths = [max(each.chunks(part) for each in encoders) for part in prompt]
    weakened = [sum(fragment.weight < 1.0 for fragment in part) for part in prompt]
    if sum(lengths) > MAX_CHUNKS:
        raise UnsupportedError(
            f"{field} makes {sum(lengths)} chunks for the text encoder; at most {MAX_CHUNKS} are "
            "possible. Make it shorter, or leave out some BREAKs."
        )
    passes = sum(length * (1 + count) for length, count in zip(lengths, weakened, strict=True))
    if passes > MAX_PASSES:
        raise UnsupportedError(
            f"{field} makes {passes} passes of the text encoder; at most {MAX_PASSES} are "
            "possible. Make it shorter, or weigh fewer passages less than 1."
        )


def _strings(
    request: Prompted | Upscale, pipeline: Any, accepted: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    given: dict[str, Any] = {"prompt": request.prompt}
    if request.negative_prompt:
        given["negative_prompt"] = request.negative_prompt
    if clip_skip := getattr(request, "clip_skip", 0):
        if "clip_skip" not in accepted:
            raise UnsupportedError(f"{type(pipeline).__name__} takes no clip_skip.")
        given["clip_skip"] = clip_skip
    unread = [
        f"{field} weighs words, which this model cannot; it reads the brackets as text."
        for field in ("prompt", "negative_prompt")
        if is_weighted(parse(getattr(request, field)))
    ]
    return given, unread + _cut_prompts(request, pipeline, accepted)


def _cut_prompts(
    request: Prompted | Upscale, pipeline: Any, accepted: Mapping[str, Any]
) -> list[str]:
    """A sentence for each prompt that is longer than all that the model reads."""
    warnings = []
    for field in ("prompt", "negative_prompt"):
        lengths = [
            (len(tokenizer(getattr(request, field)).input_ids), limit)
            for tokenizer, limit in _readers(pipeline, accepted)
        ]
        if lengths and all(length > limit for length, limit in lengths):
            length, limit = max(lengths, key=lambda pair: pair[1])
            warnings.append(
                f"{field} has {length} tokens; the model reads the first {limit} and ignores "
                "the rest."
            )
    return warnings


def _readers(pipeline: Any, accepted: Mapping[str, Any]) -> list[tuple[Any, int]]:
    """The tokenizers in use, each with the number of tokens its encoder is given."""
    longest = getattr(accepted.get("max_sequence_length"), "default", None)
    readers = []
    for tokenizer in tokenizers_of(pipeline).values():
        if tokenizer is not None:
            own = tokenizer.model_max_length
            readers.append((tokenizer, own if is_clip(tokenizer) or not longest else longest))
    return readers
