"""Text encoders that pipelines join to one embedding, and what they make of weighted prompts:
Stable Diffusion 1 and 2, SDXL, and what is built like them; in a job's greenlet, knows no
requests."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch

from darkroom.errors import UnsupportedError
from darkroom.networks import NETWORKS
from darkroom.prompt_syntax import Chunk, is_weighted, text_of


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
        if len(prompt) > 1 or is_weighted(prompt):
            return False
        ids = self.tokenizer(self.spell(text_of(prompt))).input_ids
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


def encoders_of(pipeline: Any, accepted: Mapping[str, Any]) -> list[Encoder]:
    """Those that a pipeline joins to one embedding; none where it does otherwise."""
    tokenizers = tokenizers_of(pipeline)
    pooled = "pooled_prompt_embeds" in accepted
    if (
        "prompt_embeds" not in accepted
        or not any(hasattr(pipeline, k) for k, net in NETWORKS.items() if net.reads_joined_clip)
        or list(tokenizers) != (["tokenizer", "tokenizer_2"] if pooled else ["tokenizer"])
        or not all(is_clip(each) for each in tokenizers.values() if each is not None)
    ):
        return []
    encoders = []
    for name, tokenizer in tokenizers.items():
        if tokenizer is not None:  # SDXL's refiner has the second only
            module = getattr(pipeline, name.replace("tokenizer", "text_encoder"))
            convert = getattr(pipeline, "maybe_convert_prompt", lambda text, _: text)
            encoders.append(Encoder(module, tokenizer, convert, module.device, pooled))
    return encoders


def tokenizers_of(pipeline: Any) -> dict[str, Any]:
    """By name; None where a model is built without one. Asking for the pipeline's `components`
    takes milliseconds."""
    names = inspect.signature(type(pipeline).__init__).parameters
    return {name: getattr(pipeline, name) for name in names if name.startswith("tokenizer")}


def is_clip(tokenizer: Any) -> bool:
    return "CLIP" in type(tokenizer).__name__


def embed(
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
    given: dict[str, torch.Tensor] = {}
    for prefix, readings in read.items():
        padded = [each.pad(tokens) for each in readings]
        given[f"{prefix}prompt_embeds"] = torch.cat(padded, dim=-1)
        if (pooled := readings[-1].pooled) is not None:
            given[f"{prefix}pooled_prompt_embeds"] = pooled
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

    def pad(self, tokens: int) -> torch.Tensor:
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
