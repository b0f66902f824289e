"""Tiny models with random weights of families that edit pictures, beside those of tiny.py."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler

from tests import tiny, tiny_transformers
from tests.tiny_transformers import TEXT

_WORDS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.content if m.content is string "
    "else m.content[0].text }}<|im_end|>{% endfor %}"
)
_LAYERS = {
    "hidden_size": TEXT,
    "intermediate_size": TEXT,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 2048,
}


def klein() -> DiffusionPipeline:
    """Shaped like FLUX.2 klein: any number of pictures beside the noise, true guidance."""
    torch.manual_seed(41)
    tokenizer = _tokenizer()
    config = transformers.Qwen3Config(**_LAYERS, vocab_size=len(tokenizer), num_hidden_layers=27)
    return diffusers.Flux2KleinPipeline(
        **_flux2(guidance_embeds=False),
        text_encoder=transformers.Qwen3ForCausalLM(config).eval(),
        tokenizer=tokenizer,
    )


def flux2() -> DiffusionPipeline:
    """Shaped like FLUX.2 dev: guidance as an embedding, prompts read by a larger encoder."""
    torch.manual_seed(42)
    tokenizer = _tokenizer()
    text = {**_LAYERS, "vocab_size": len(tokenizer), "num_hidden_layers": 30}
    vision = {
        "model_type": "pixtral",
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 16,
    }
    config = transformers.Mistral3Config(
        text_config={"model_type": "mistral", **text}, vision_config=vision
    )
    return diffusers.Flux2Pipeline(
        **_flux2(guidance_embeds=True),
        text_encoder=transformers.Mistral3ForConditionalGeneration(config).eval(),
        tokenizer=tokenizer,
    )


def sdxl_pix2pix() -> DiffusionPipeline:
    """Shaped like InstructPix2Pix for SDXL."""
    torch.manual_seed(43)
    parts = tiny._sdxl() | {"unet": tiny.unet(in_channels=8, **tiny.SDXL)}
    known = diffusers.StableDiffusionXLInstructPix2PixPipeline._get_signature_keys(
        diffusers.StableDiffusionXLInstructPix2PixPipeline
    )[0]
    return diffusers.StableDiffusionXLInstructPix2PixPipeline(
        **{name: part for name, part in parts.items() if name in known}
    )


FAMILIES: dict[str, Callable[[], DiffusionPipeline]] = {
    "klein": klein,
    "flux2": flux2,
    "sdxl-pix2pix": sdxl_pix2pix,
}


def write(family: str, folder: Path) -> Path:
    """A model folder as diffusers writes it."""
    FAMILIES[family]().save_pretrained(folder, safe_serialization=True)
    return folder


def _flux2(*, guidance_embeds: bool) -> dict[str, Any]:
    network = tiny_transformers.flux2(guidance_embeds=guidance_embeds)
    # The prompt is read at three layers of its encoder.
    wide = diffusers.Flux2Transformer2DModel.from_config(
        network.config, joint_attention_dim=3 * TEXT
    )
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        "vae": tiny_transformers.flux2_vae(),
        "transformer": wide.eval(),
    }


def _tokenizer() -> transformers.Qwen2Tokenizer:
    """Of bytes, without merges, with a template for chats."""
    from tokenizers.pre_tokenizers import ByteLevel

    names = [*_WORDS, *sorted(ByteLevel.alphabet())]
    made = transformers.Qwen2Tokenizer(
        vocab={name: number for number, name in enumerate(names)}, merges=[]
    )
    made.chat_template = _CHAT
    return made
