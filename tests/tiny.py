"""Tiny diffusers pipelines with random weights: the real code path, in milliseconds on a CPU."""

from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    PNDMScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.utils import logging as diffusers_logging
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)
from transformers.utils import logging as transformers_logging

from darkroom.models import ModelCard, Models
from worker import pipelines
from worker.gather import Gather
from worker.pipelines import LoadedModel

IMAGE_SIZE = 16
LATENT_SIZE = 8
MAX_TOKENS = 16
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def sd15() -> StableDiffusionPipeline:
    """Shaped like Stable Diffusion 1.5."""
    torch.manual_seed(15)
    return StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=_text_encoder(CLIPTextModel),
        tokenizer=tokenizer(),
        unet=unet(cross_attention_dim=16),
        scheduler=PNDMScheduler(**BETAS, skip_prk_steps=True, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl() -> StableDiffusionXLPipeline:
    """Shaped like SDXL: two text encoders, text and size embeddings added to the time's."""
    torch.manual_seed(21)
    return StableDiffusionXLPipeline(
        vae=_vae(),
        text_encoder=_text_encoder(CLIPTextModel),
        text_encoder_2=_text_encoder(CLIPTextModelWithProjection),
        tokenizer=tokenizer(),
        tokenizer_2=tokenizer(),
        unet=unet(
            cross_attention_dim=32,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 16,
        ),
        scheduler=EulerDiscreteScheduler(**BETAS),
        add_watermarker=False,
    )


def sd3() -> StableDiffusion3Pipeline:
    """Shaped like Stable Diffusion 3: a transformer and rectified flow; without the third
    encoder, as people run it when memory is short."""
    torch.manual_seed(3)
    return StableDiffusion3Pipeline(
        vae=_vae(shift_factor=0.06),
        text_encoder=_text_encoder(CLIPTextModelWithProjection),
        text_encoder_2=_text_encoder(CLIPTextModelWithProjection),
        text_encoder_3=None,
        tokenizer=tokenizer(),
        tokenizer_2=tokenizer(),
        tokenizer_3=None,
        transformer=SD3Transformer2DModel(
            sample_size=LATENT_SIZE,
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=32,
            caption_projection_dim=16,
            pooled_projection_dim=32,
            pos_embed_max_size=16,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def lcm() -> LatentConsistencyModelPipeline:
    """Shaped like a latent consistency model: guidance is an embedding, no negative prompt."""
    torch.manual_seed(4)
    return LatentConsistencyModelPipeline(
        vae=_vae(),
        text_encoder=_text_encoder(CLIPTextModel),
        tokenizer=tokenizer(),
        unet=unet(cross_attention_dim=16, time_cond_proj_dim=8),
        scheduler=LCMScheduler(**BETAS),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


FAMILIES: dict[str, Callable[[], DiffusionPipeline]] = {
    "sd15": sd15,
    "sdxl": sdxl,
    "sd3": sd3,
    "lcm": lcm,
}


def write(family: str, folder: Path) -> Path:
    """A model folder as diffusers writes it: safetensors and JSON."""
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    FAMILIES[family]().save_pretrained(folder, safe_serialization=True)
    return folder


def load(
    family: str, folder: Path, gather: Gather, *, dtype: str = "float32", **card: object
) -> LoadedModel:
    """The family as a worker has it: written to `folder`, read and wrapped."""
    if not (folder / "model_index.json").exists():
        write(family, folder)
    model = ModelCard(name=family, source=str(folder), dtype=dtype, **card)
    catalog = Models([model], family, folder)
    return pipelines.load(model, catalog, gather, torch.device("cpu"))


def unet(**config: object) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        **config,
    )


def controlnet() -> ControlNetModel:
    """Fits `unet(cross_attention_dim=16)`. Its last layers begin as zeros; here they do not."""
    made = ControlNetModel(
        in_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        cross_attention_dim=16,
        conditioning_embedding_out_channels=(8, 8),
    )
    with torch.no_grad():
        for parameter in made.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
    return made


def tokenizer() -> CLIPTokenizer:
    """Byte-level, without merges: one token per letter."""
    letters = [chr(code) for code in range(33, 127)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=MAX_TOKENS)


def _vae(**config: object) -> AutoencoderKL:
    return AutoencoderKL(
        sample_size=IMAGE_SIZE,
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=4,
        **config,
    )


def _text_encoder(cls: type) -> CLIPTextModel | CLIPTextModelWithProjection:
    ids = tokenizer()
    return cls(
        CLIPTextConfig(
            vocab_size=len(ids),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            projection_dim=16,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=ids.bos_token_id,
            eos_token_id=ids.eos_token_id,
            pad_token_id=ids.pad_token_id,
        )
    ).eval()
