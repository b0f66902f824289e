"""What a pipeline is told of a request's prompts: strings, or embeddings made here where strings
would lose weights, length or the choice of layers; runs in a job's greenlet, sees no other job."""

import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch

from darkroom.errors import UnsupportedError
from darkroom.networks import NETWORKS
from darkroom.request import Request

STRONGER = 1.1
"""What a pair of round brackets multiplies a weight by and a square pair divides it by."""
MAX_WEIGHT = 10.0
"""Greater ones, as of many nested brackets, leave the range of half-precision numbers."""
MAX_CHUNKS = 20
"""Of 75 tokens. Each costs a pass of the text encoder, and makes every step of denoising slower."""
MAX_PASSES = 100
"""A passage with a weight below 1 costs another pass for each chunk of its part of the prompt."""

_PIECE = re.compile(r"(\\*)([()\[\]])|[^()\[\]\\]+|\\+")
# Each reads a text once: `\s*` before what is sought would make long white space take seconds.
_WEIGHT = re.compile(r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*", re.ASCII)
_BREAK = re.compile(r"\bBREAK\b")


class Fragment(NamedTuple):
    """Words of one weight."""

    text: str
    weight: float


Chunk = tuple[Fragment, ...]


def arguments(request: Request, pipeline: Any) -> tuple[dict[str, Any], list[str]]:
    """The arguments of the pipeline's call that carry the prompts, and a sentence for each thing
    in them that the model will not read.

    Strings wherever the pipeline reads them as they are meant. Raises UnsupportedError."""
    accepted = inspect.signature(pipeline.__call__).parameters
    if "prompt" not in accepted:
        return {}, []
    encoders = _encoders(pipeline, accepted)
    if not encoders:
        return _strings(request, pipeline, accepted)
    prompt, negative = parse(request.prompt), parse(request.negative_prompt)
    guided = request.guidance_scale > 1 and "negative_prompt_embeds" in accepted
    clip_skip = getattr(request, "clip_skip", 0)
    prompts = (prompt, negative) if guided else (prompt,)
    if not clip_skip and all(each.fits(p) for each in encoders for p in prompts):
        given = {"prompt": _text(prompt)}
        if request.negative_prompt:  # left out is not the same as empty: SDXL then takes zeros
            given["negative_prompt"] = _text(negative)
        return given, []
    for field, chunks in zip(("prompt", "negative_prompt"), prompts, strict=False):
        _check_length(field, chunks, encoders)
    # Zeros are the pipeline's own choice, and it makes as many as it needs.
    zeros = not request.negative_prompt and pipeline.config.get("force_zeros_for_empty_prompt")
    with torch.no_grad():
        embeddings = _embeddings(
            prompt, negative if guided and not zeros else None, encoders, clip_skip
        )
    return embeddings, []


def parse(text: str) -> tuple[Chunk, ...]:
    r"""A1111's syntax: `(word)` weighs 1.1, `(word:1.3)` 1.3, `[word]` 1 / 1.1, nested weights are
    multiplied, `\(` is a bracket, BREAK begins a new chunk. Brackets without a partner are text."""
    pieces, weights = _weigh(list(_pieces(text)))
    chunks: list[list[Fragment]] = [[]]
    for piece, weight in zip(pieces, weights, strict=True):
        first, *others = _split(piece)
        _append(chunks[-1], first, weight)
        for other in others:
            chunks.append([])
            _append(chunks[-1], other, weight)
    return tuple(tuple(chunk) for chunk in chunks if chunk) or ((Fragment("", 1.0),),)


def _split(text: str) -> list[str]:
    """The parts between BREAKs, without the white space around these."""
    first, *others = _BREAK.split(text)
    if not others:
        return [first]
    *middle, last = others
    return [first.rstrip(), *(each.strip() for each in middle), last.lstrip()]


def _pieces(text: str) -> Iterator[tuple[bool, str]]:
    """Brackets that mean something, and the text between them. Backslashes are text unless a
    bracket follows them; there, two are one and a single one makes it text."""
    held = ""
    for match in _PIECE.finditer(text):
        slashes, bracket = match[1], match[2]
        if bracket is None:
            held += match[0]
            continue
        held += "\\" * (len(slashes) // 2)
        if len(slashes) % 2:
            held += bracket
            continue
        if held:
            yield False, held
        held = ""
        yield True, bracket
    if held:
        yield False, held


def _weigh(pieces: list[tuple[bool, str]]) -> tuple[list[str], list[float]]:
    """The pieces that are text, each with its weight."""
    factors = _factors(pieces)
    texts, weights, around = [], [], [1.0]
    for index, (_, piece) in enumerate(pieces):
        if index not in factors:
            texts.append(piece)
            weights.append(min(max(around[-1], 0.0), MAX_WEIGHT))
        elif piece in "([":
            around.append(around[-1] * factors[index])
        else:
            around.pop()
    return texts, weights


def _factors(pieces: list[tuple[bool, str]]) -> dict[int, float]:
    """What each bracket that has a partner multiplies by. Takes the numbers out of `pieces`."""
    opened: dict[str, list[int]] = {"(": [], "[": []}
    factors = {}
    for index, (is_bracket, piece) in enumerate(pieces):
        if not is_bracket:
            continue
        if piece in opened:
            opened[piece].append(index)
            continue
        own, other = ("(", "[") if piece == ")" else ("[", "(")
        if not opened[own]:
            continue
        begin = opened[own].pop()
        while opened[other] and opened[other][-1] > begin:  # `(a [b)`: nothing will close it
            opened[other].pop()
        factors[begin] = factors[index] = 1 / STRONGER
        if piece == ")":
            was_bracket, last = pieces[index - 1]
            words, colon, number = last.rpartition(":")
            given = _WEIGHT.fullmatch(number) if colon and not was_bracket else None
            factors[begin] = float(given[1]) if given else STRONGER
            if given:
                pieces[index - 1] = (False, words)
    return factors


def _append(chunk: list[Fragment], text: str, weight: float) -> None:
    if chunk and chunk[-1].weight == weight:
        chunk[-1] = Fragment(chunk[-1].text + text, weight)
    elif text:
        chunk.append(Fragment(text, weight))


def _text(prompt: Sequence[Chunk]) -> str:
    return "".join(fragment.text for chunk in prompt for fragment in chunk)


def _is_weighted(prompt: Sequence[Chunk]) -> bool:
    return any(fragment.weight != 1.0 for chunk in prompt for fragment in chunk)


def _check_length(field: str, prompt: Sequence[Chunk], encoders: Sequence["Encoder"]) -> None:
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


# --- Pipelines that read nothing but strings


def _strings(
    request: Request, pipeline: Any, accepted: Mapping[str, Any]
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
        if _is_weighted(parse(getattr(request, field)))
    ]
    return given, unread + _cut_prompts(request, pipeline, accepted)


def _cut_prompts(request: Request, pipeline: Any, accepted: Mapping[str, Any]) -> list[str]:
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
    for tokenizer in _tokenizers(pipeline).values():
        if tokenizer is not None:
            is_clip = _is_clip(tokenizer)
            limit = tokenizer.model_max_length if is_clip or not longest else longest
            readers.append((tokenizer, limit))
    return readers


def _is_clip(tokenizer: Any) -> bool:
    return "CLIP" in type(tokenizer).__name__


# --- Pipelines that take embeddings: Stable Diffusion 1 and 2, SDXL, and what is built like them


@dataclass(frozen=True)
class Encoder:
    """A text encoder of a pipeline."""

    module: Any
    tokenizer: Any
    convert: Callable[[str, Any], str]
    """Spells out tokens of textual inversion that stand for several vectors."""
    device: torch.device
    pooled: bool
    """Built like SDXL's: the last layer but one without the final norm, and a pooled vector."""

    def spell(self, text: str) -> str:
        return self.convert(text, self.tokenizer)

    def fits(self, prompt: Sequence[Chunk]) -> bool:
        """Whether the pipeline reads all of it from a string."""
        if len(prompt) > 1 or _is_weighted(prompt):
            return False
        ids = self.tokenizer(self.spell(_text(prompt))).input_ids
        return len(ids) <= self.tokenizer.model_max_length

    def chunks(self, prompt: Chunk) -> int:
        """How many are needed at least to read a part of a prompt; ends of sentences add some."""
        tokens = sum(len(self.tokenizer(self.spell(text)).input_ids) - 2 for text, _ in prompt)
        return max(1, math.ceil(tokens / (self.tokenizer.model_max_length - 2)))

    def layer(self, output: Any, clip_skip: int) -> torch.Tensor:
        """What the pipeline would take of the module's output, as (1, tokens, channels)."""
        if self.pooled:
            return output.hidden_states[-(clip_skip + 2)]
        if not clip_skip:
            return output.last_hidden_state
        # diffusers 0.42 looks for this norm where transformers 5 no longer keeps it.
        norm = getattr(self.module, "text_model", self.module).final_layer_norm
        hidden = output.hidden_states[-(clip_skip + 1)]
        return norm(hidden.to(norm.weight.device)).to(hidden.device)  # apart where offloaded


def _encoders(pipeline: Any, accepted: Mapping[str, Any]) -> list[Encoder]:
    """Those that a pipeline joins to one embedding; none where it does otherwise."""
    tokenizers = _tokenizers(pipeline)
    pooled = "pooled_prompt_embeds" in accepted
    if (
        "prompt_embeds" not in accepted
        or not any(hasattr(pipeline, k) for k, net in NETWORKS.items() if net.reads_joined_clip)
        or list(tokenizers) != (["tokenizer", "tokenizer_2"] if pooled else ["tokenizer"])
        or not all(_is_clip(each) for each in tokenizers.values() if each is not None)
    ):
        return []
    encoders = []
    for name, tokenizer in tokenizers.items():
        if tokenizer is not None:  # SDXL's refiner has the second only
            module = getattr(pipeline, name.replace("tokenizer", "text_encoder"))
            convert = getattr(pipeline, "maybe_convert_prompt", lambda text, _: text)
            encoders.append(Encoder(module, tokenizer, convert, module.device, pooled))
    return encoders


def _tokenizers(pipeline: Any) -> dict[str, Any]:
    """By name; None where a model is built without one. Asking for the pipeline's `components`
    takes milliseconds."""
    names = inspect.signature(type(pipeline).__init__).parameters
    return {name: getattr(pipeline, name) for name in names if name.startswith("tokenizer")}


def _embeddings(
    prompt: Sequence[Chunk],
    negative: Sequence[Chunk] | None,
    encoders: Sequence[Encoder],
    clip_skip: int,
) -> dict[str, torch.Tensor]:
    """Of a short prompt without weights, what the pipeline itself would make of the string; so the
    negative one knows no clip_skip."""
    layers = min(each.module.config.num_hidden_layers for each in encoders)
    if clip_skip >= layers:
        raise UnsupportedError(f"clip_skip must be less than the text encoder's {layers} layers.")
    asked = {"": (prompt, clip_skip)}
    if negative is not None:
        asked["negative_"] = (negative, 0)
    read = {
        prefix: [Reading(encoder, chunks, skipped) for encoder in encoders]
        for prefix, (chunks, skipped) in asked.items()
    }
    tokens = max(each.embedding.shape[1] for readings in read.values() for each in readings)
    given = {}
    for prefix, readings in read.items():
        padded = [each.padded(tokens) for each in readings]
        given[f"{prefix}prompt_embeds"] = torch.cat(padded, dim=-1)
        if encoders[-1].pooled:
            given[f"{prefix}pooled_prompt_embeds"] = readings[-1].pooled
    return given


class Reading:
    """What one text encoder makes of one prompt. It stands in for the encoder while compel splits
    long chunks and applies the weights."""

    def __init__(self, encoder: Encoder, prompt: Sequence[Chunk], clip_skip: int) -> None:
        from compel.embeddings_provider import EmbeddingsProvider, SplitLongTextMode

        self.encoder = encoder
        self.clip_skip = clip_skip
        self.device = encoder.device
        self.dtype = encoder.module.dtype
        self.pooled: torch.Tensor | None = None
        """Of the first chunk, without weights."""
        self.provider = EmbeddingsProvider(
            tokenizer=encoder.tokenizer,
            text_encoder=self,
            truncate=False,
            split_long_text_mode=SplitLongTextMode.PHRASES,
            device=encoder.device,
        )
        self.embedding = torch.cat([self._read(chunk) for chunk in prompt], dim=1)
        """(1, n times the encoder's tokens, channels)"""

    def __call__(
        self, token_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **_: Any
    ) -> SimpleNamespace:
        output = self.encoder.module(
            token_ids, attention_mask=attention_mask, output_hidden_states=True
        )
        if self.pooled is None and self.encoder.pooled:
            self.pooled = output[0]
        return SimpleNamespace(last_hidden_state=self.encoder.layer(output, self.clip_skip))

    def padded(self, tokens: int) -> torch.Tensor:
        """With the reading of an empty text after its end."""
        missing = tokens - self.embedding.shape[1]
        if not missing:
            return self.embedding
        empty = self.provider.empty_z.to(self.embedding)
        return torch.cat([self.embedding, *[empty] * (missing // empty.shape[1])], dim=1)

    def _read(self, chunk: Chunk) -> torch.Tensor:
        spelled = [(self.encoder.spell(text), weight) for text, weight in chunk]
        # compel stumbles over words without tokens, such as the space between two brackets.
        ids = self.provider.get_token_ids([text for text, _ in spelled], False)
        kept = [each for each, found in zip(spelled, ids, strict=True) if found] or [("", 1.0)]
        return self.provider.get_embeddings_for_weighted_prompt_fragments(
            [[text for text, _ in kept]], [[weight for _, weight in kept]], device=self.device
        )
