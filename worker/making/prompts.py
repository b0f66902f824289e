"""What a pipeline is told of a request's prompts: strings, or embeddings made here where strings
would lose weights, length or the choice of layers; runs in a job's greenlet, sees no other job."""

import inspect
import re
from bisect import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import torch

from darkroom.errors import UnsupportedError
from darkroom.prompt_syntax import (
    MAX_WEIGHT,
    Chunk,
    Fragment,
    groups,
    is_weighted,
    parse,
    text_of,
    unescaped,
    weigh,
)
from darkroom.request import Prompted, Upscale
from worker.loading.calls import guidance_argument
from worker.making.text_encoders import Encoder, embed, encoders_of, is_clip, tokenizers_of

MAX_CHUNKS = 20
"""Of 75 tokens. Each costs a pass of the text encoder, and makes every step of denoising slower."""
MAX_PASSES = 100
"""A passage with a weight below 1 costs another pass for each chunk of its part of the prompt."""
_RATIO = re.compile(r"(?:^|\s)[0-9]+:[0-9]+$")
"""The end of `(at 10:30)` and `(16:9)`."""
REWRITING = ("use_pe", "enable_prompt_rewrite")
_UNCUT = ("QwenImageEditPipeline", "QwenImageEditPlusPipeline", "QwenImageEditInpaintPipeline")
"""Pipelines that read all of a prompt, whatever they are told of its length."""
MOST_NAMED = 3
"""Things of a prompt that one sentence names."""


def arguments(request: Prompted | Upscale, pipeline: Any) -> tuple[dict[str, Any], list[str]]:
    """The arguments of the pipeline's call that carry the prompts, and a sentence for each thing
    in them that the model will not read.

    Strings wherever the pipeline reads them as they are meant. Raises UnsupportedError."""
    accepted = inspect.signature(pipeline.__call__).parameters
    if "prompt" not in accepted:
        return {}, []
    unread = list(_unread_negative(request, pipeline, accepted))
    fields = ("prompt",) if unread else ("prompt", "negative_prompt")
    encoders = encoders_of(pipeline, accepted)
    read = _embeddings_or_strings if encoders else _strings
    given, warnings = read(request, pipeline, accepted, fields)
    # Some let a language model write a prompt of its own from it, another each time.
    given |= {name: False for name in REWRITING if name in accepted}
    return given, unread + warnings


def _unread_negative(
    request: Prompted | Upscale, pipeline: Any, accepted: Mapping[str, Any]
) -> Iterator[str]:
    if not request.negative_prompt or _is_guided(request.guidance_scale, pipeline, accepted):
        return
    why = f"guidance_scale {request.guidance_scale:g} switches guidance off"
    if request.guidance_scale > 1:
        why = "this model works without classifier-free guidance"
    yield f"negative_prompt is not read: {why}."


def _is_guided(scale: float, pipeline: Any, accepted: Mapping[str, Any]) -> bool:
    """Whether the pipeline will follow a negative prompt."""
    if isinstance(getattr(type(pipeline), "do_classifier_free_guidance", None), property):
        pipeline._guidance_scale = scale  # as its call is about to do
        return bool(pipeline.do_classifier_free_guidance)
    if guidance_argument(type(pipeline)) == "true_cfg_scale":
        return scale > 1
    return scale > 1 and "true_cfg_scale" not in accepted


def _embeddings_or_strings(
    request: Prompted | Upscale,
    pipeline: Any,
    accepted: Mapping[str, Any],
    fields: Sequence[str],
) -> tuple[dict[str, Any], list[str]]:
    """For pipelines that join their text encoders to one embedding."""
    encoders = encoders_of(pipeline, accepted)
    prompt, negative = parse(request.prompt), parse(request.negative_prompt)
    guided = request.guidance_scale > 1 and "negative_prompt_embeds" in accepted
    warnings = [each for field in fields for each in _odd_weights(field, getattr(request, field))]
    clip_skip = getattr(request, "clip_skip", 0)
    prompts = (prompt, negative) if guided else (prompt,)
    if not clip_skip and all(each.fits(p) for each in encoders for p in prompts):
        given = {"prompt": text_of(prompt)}
        if request.negative_prompt:  # left out is not the same as empty: SDXL then takes zeros
            given["negative_prompt"] = text_of(negative)
        return given, warnings
    prompt, cut = _within_limits("prompt", prompt, encoders)
    if guided:
        negative, negative_cut = _within_limits("negative_prompt", negative, encoders)
        cut += negative_cut
    # Zeros are the pipeline's own choice, and it makes as many as it needs.
    zeros = not request.negative_prompt and pipeline.config.get("force_zeros_for_empty_prompt")
    with torch.no_grad():
        read = embed(prompt, negative if guided and not zeros else None, encoders, clip_skip)
    return read, warnings + cut


def _odd_weights(field: str, text: str) -> Iterator[str]:
    """What of the weights is not done as it is written, or hardly meant."""
    far = {weight for words, weight in weigh(text) if words.strip()}
    if far := {weight for weight in far if not 0 <= weight <= MAX_WEIGHT}:
        yield (
            f"{field} weighs words by {_few(f'{weight:g}' for weight in sorted(far))}; weights "
            f"reach from 0 to {MAX_WEIGHT:g}, and the nearest is taken."
        )
    ratios = [
        each.last for each in groups(text) if each.opening == "(" and _RATIO.search(each.last)
    ]
    if ratios := list(dict.fromkeys(each.split()[-1] for each in ratios)):
        yield (
            f"{field}: the number after the colon of {_few(ratios)} is taken for a weight; write "
            r"\( and \) for brackets that are text."
        )


def _few(named: Iterable[str]) -> str:
    first, more = list(islice(it := iter(named), MOST_NAMED)), next(it, None)
    return ", ".join(first) + (" and more" if more else "")


def _within_limits(
    field: str, prompt: tuple[Chunk, ...], encoders: Sequence[Encoder]
) -> tuple[tuple[Chunk, ...], list[str]]:
    """As much of a prompt as is read. Few letters can be much work: BREAK begins a chunk, and an
    emoji may be several tokens."""
    asked = sum(_chunks(part, encoders) for part in prompt)
    warnings = []
    if asked > MAX_CHUNKS:
        prompt = _cut(prompt, encoders)
        warnings.append(
            f"{field} makes {asked} chunks for the text encoder; it reads the first {MAX_CHUNKS} "
            "and ignores the rest."
        )
    weakened = sum(fragment.weight < 1.0 for part in prompt for fragment in part)
    prompt, kept = _with_few_weakened(prompt, encoders)
    if kept < weakened:
        warnings.append(
            f"{field} weighs {weakened} passages less than 1; {kept} of them are, and the others "
            f"count as 1: at most {MAX_PASSES} passes of the text encoder are made."
        )
    return prompt, warnings


def _with_few_weakened(
    prompt: Sequence[Chunk], encoders: Sequence[Encoder]
) -> tuple[tuple[Chunk, ...], int]:
    """A prompt with no more passages weighed less than 1 than may cost a pass each, and how many
    these are."""
    lengths = [_chunks(part, encoders) for part in prompt]
    room, kept, parts = MAX_PASSES - sum(lengths), 0, []
    for part, length in zip(prompt, lengths, strict=True):
        fragments = []
        for fragment in part:
            if fragment.weight < 1.0 and length > room:
                fragment = fragment._replace(weight=1.0)
            elif fragment.weight < 1.0:
                room -= length
                kept += 1
            fragments.append(fragment)
        parts.append(tuple(fragments))
    return tuple(parts), kept


def _chunks(part: Chunk, encoders: Sequence[Encoder]) -> int:
    return max(each.chunks(part) for each in encoders)


def _cut(prompt: Sequence[Chunk], encoders: Sequence[Encoder]) -> tuple[Chunk, ...]:
    """The first MAX_CHUNKS chunks of a prompt that has more."""
    kept: list[Chunk] = []
    room = MAX_CHUNKS
    for part in prompt:
        if _chunks(part, encoders) > room:
            break
        kept.append(part)
        room -= _chunks(part, encoders)
    if not room or len(kept) == len(prompt):
        return tuple(kept)
    part = prompt[len(kept)]

    def needs(fragments: int, letters: int) -> int:
        text, weight = part[fragments]
        return _chunks((*part[:fragments], Fragment(text[:letters], weight)), encoders)

    whole = bisect(range(len(part)), room, key=lambda n: needs(n, len(part[n].text)))
    letters = bisect(range(len(part[whole].text)), room, key=lambda n: needs(whole, n + 1))
    return (*kept, (*part[:whole], Fragment(part[whole].text[:letters], part[whole].weight)))


def _strings(
    request: Prompted | Upscale,
    pipeline: Any,
    accepted: Mapping[str, Any],
    fields: Sequence[str],
) -> tuple[dict[str, Any], list[str]]:
    """For pipelines that read their prompts in ways of their own."""
    given: dict[str, Any] = {"prompt": unescaped(request.prompt)}
    if request.negative_prompt:
        given["negative_prompt"] = unescaped(request.negative_prompt)
    if clip_skip := getattr(request, "clip_skip", 0):
        if "clip_skip" not in accepted:
            raise UnsupportedError(f"{type(pipeline).__name__} takes no clip_skip.")
        given["clip_skip"] = clip_skip
    read = {field: parse(getattr(request, field)) for field in fields}
    unread = [
        f"{field} weighs words, which this model cannot; it reads the brackets as text."
        for field, prompt in read.items()
        if is_weighted(prompt)
    ] + [
        f"{field} has BREAK, which begins no chunk for this model; it reads it as a word."
        for field, prompt in read.items()
        if len(prompt) > 1
    ]
    return given, unread + _cut_prompts(
        {field: given[field] for field in read if field in given}, pipeline, accepted
    )


def _cut_prompts(
    prompts: Mapping[str, str], pipeline: Any, accepted: Mapping[str, Any]
) -> list[str]:
    """A sentence for each prompt that is longer than all that the model reads."""
    warnings = []
    for field, text in prompts.items():
        lengths = [
            (len(tokenizer(text).input_ids), limit)
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
    if type(pipeline).__name__ in _UNCUT:
        return []
    longest = getattr(accepted.get("max_sequence_length"), "default", None)
    readers = []
    for tokenizer in tokenizers_of(pipeline).values():
        if tokenizer is not None:
            words = tokenizer if hasattr(tokenizer, "model_max_length") else tokenizer.tokenizer
            own = words.model_max_length
            readers.append((words, own if is_clip(words) or not longest else longest))
    return readers
