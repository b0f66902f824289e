"""Tiny models as checkpoints in single files: diffusers' tensors by the names that the published
definitions give them (`tests/published.py` says where those are)."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from tests import published, tiny
from tests.published import Checkpoint, Text, Unet, Vae

Tensors = dict[str, torch.Tensor]

VAE = Vae(ch=8, ch_mult=(1, 2), num_res_blocks=1)
_WORDS = len(tiny.tokenizer())
CLIP_L = Text(width=16, layers=2, projection=16, vocabulary=_WORDS, context=tiny.MAX_TOKENS)
CLIP_G = Text(width=24, layers=2, projection=24, vocabulary=_WORDS, context=tiny.MAX_TOKENS)
CLIP_H = Text(width=16, layers=3, projection=16, vocabulary=_WORDS, context=tiny.MAX_TOKENS)
UNET = Unet(
    model_channels=16,
    channel_mult=(1, 2),
    attention_resolutions=(2, 1),
    transformer_depth=(1, 1),
    context_dim=16,
)
XL = Unet(
    model_channels=16,
    channel_mult=(1, 2, 2),
    attention_resolutions=(4, 2),
    transformer_depth=(1, 1, 2),
    context_dim=40,
    use_linear=True,
    adm_in_channels=6 * 8 + 24,
)
REFINER = Unet(
    model_channels=16,
    channel_mult=(1, 2, 2, 2),
    attention_resolutions=(4, 2),
    transformer_depth=(2, 2, 2, 2),
    context_dim=24,
    use_linear=True,
    adm_in_channels=5 * 8 + 24,
)


def of(unet: Unet, *encoders: tuple[str, Text, bool]) -> Checkpoint:
    return Checkpoint(unet, VAE, encoders)


_SD1 = (("cond_stage_model.", CLIP_L, False),)
_SD2 = (("cond_stage_model.model.", CLIP_H, True),)
_SDXL = (
    ("conditioner.embedders.0.", CLIP_L, False),
    ("conditioner.embedders.1.model.", CLIP_G, True),
)
CHECKPOINTS = {
    "sd1": of(UNET, *_SD1),
    "sd1-inpaint": of(Unet(**vars(UNET) | {"in_channels": 9}), *_SD1),
    "sd2": of(Unet(**vars(UNET) | {"use_linear": True}), *_SD2),
    "sd2-inpaint": of(Unet(**vars(UNET) | {"use_linear": True, "in_channels": 9}), *_SD2),
    "sdxl": of(XL, *_SDXL),
    "sdxl-inpaint": of(Unet(**vars(XL) | {"in_channels": 9}), *_SDXL),
    "sdxl-refiner": of(REFINER, ("conditioner.embedders.0.model.", CLIP_G, True)),
}
"""Shaped like those of the families, with all that tells them apart."""


def pipeline(family: str) -> DiffusionPipeline:
    """A pipeline with random weights for the checkpoint of the family."""
    torch.manual_seed(len(family))
    made = CHECKPOINTS[family]
    parts = {"vae": _vae(made.vae), "unet": _unet(made.unet)}
    is_xl = made.unet.adm_in_channels is not None
    for _, text, is_open in made.encoders:
        second = is_open and is_xl
        # Stable Diffusion 2 reads what its last layer but one says.
        layers = text.layers - 1 if is_open and not is_xl else text.layers
        parts["text_encoder_2" if second else "text_encoder"] = _encoder(text, layers, second)
        parts["tokenizer_2" if second else "tokenizer"] = tiny.tokenizer()
    if is_xl:
        return _xl(family, parts)
    cls = StableDiffusionInpaintPipeline if "inpaint" in family else StableDiffusionPipeline
    return cls(
        **parts,
        scheduler=DDIMScheduler(**tiny.BETAS, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _xl(family: str, parts: dict[str, object]) -> DiffusionPipeline:
    cls, options = {
        "sdxl": (StableDiffusionXLPipeline, {}),
        "sdxl-inpaint": (StableDiffusionXLInpaintPipeline, {}),
        "sdxl-refiner": (
            StableDiffusionXLImg2ImgPipeline,
            {"text_encoder": None, "tokenizer": None, "requires_aesthetics_score": True},
        ),
    }[family]
    return cls(**parts, scheduler=EulerDiscreteScheduler(**tiny.BETAS), **options)


def tensors(made: DiffusionPipeline, family: str) -> Tensors:
    """All tensors of a checkpoint, named as published: those of the pipeline, and those that are
    in such files and in no pipeline."""
    checkpoint = CHECKPOINTS[family]
    named = _prefixed("model.diffusion_model.", unet(made.unet))
    named |= _prefixed("first_stage_model.", vae(made.vae))
    for start, text, is_open in checkpoint.encoders:
        second = is_open and checkpoint.unet.adm_in_channels is not None
        encoder = made.text_encoder_2 if second else made.text_encoder
        named |= _prefixed(start, open_clip(encoder, text) if is_open else clip(encoder, text))
    shapes = published.checkpoint(checkpoint)
    named |= {name: torch.rand(shapes[name]) for name in published.SCHEDULE}
    assert {name: tuple(tensor.shape) for name, tensor in named.items()} == shapes
    return named


def write(family: str, folder: Path) -> tuple[Path, Path]:
    """The model as a folder and as a single file."""
    made = pipeline(family)
    made.save_pretrained(folder / family, safe_serialization=True)
    file = folder / f"{family}.safetensors"
    save_file({k: v.contiguous() for k, v in tensors(made, family).items()}, file)
    return folder / family, file


def unet(network: UNet2DConditionModel | ControlNetModel) -> Tensors:
    layers = network.config.layers_per_block + 1
    tensors = network.state_dict()

    def block(match: re.Match[str]) -> str:
        side, level, kind, number = match[1], int(match[2]), match[3], int(match[4])
        if side == "down":
            if kind == "downsamplers":
                return f"input_blocks.{(level + 1) * layers}.0."
            return f"input_blocks.{1 + level * layers + number}.{int(kind == 'attentions')}."
        if kind == "upsamplers":
            has_attention = f"up_blocks.{level}.attentions.0.norm.weight" in tensors
            return f"output_blocks.{level * layers + layers - 1}.{1 + has_attention}."
        return f"output_blocks.{level * layers + number}.{int(kind == 'attentions')}."

    named = _renamed(
        tensors,
        (r"^time_embedding\.linear_1", "time_embed.0"),
        (r"^time_embedding\.linear_2", "time_embed.2"),
        (r"^add_embedding\.linear_1", "label_emb.0.0"),
        (r"^add_embedding\.linear_2", "label_emb.0.2"),
        (r"^conv_in", "input_blocks.0.0"),
        (r"^conv_norm_out", "out.0"),
        (r"^conv_out", "out.2"),
        (r"^mid_block\.resnets\.0", "middle_block.0"),
        (r"^mid_block\.attentions\.0", "middle_block.1"),
        (r"^mid_block\.resnets\.1", "middle_block.2"),
        (r"^(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.", block),
        (r"(input_blocks\.\d+\.0)\.conv\.", r"\1.op."),
    )
    return _renamed(
        named,
        *(
            (rf"^((?:input|output)_blocks\.\d+\.0|middle_block\.[02])\.{new}\.", rf"\1.{old}.")
            for new, old in (
                ("norm1", "in_layers.0"),
                ("conv1", "in_layers.2"),
                ("time_emb_proj", "emb_layers.1"),
                ("norm2", "out_layers.0"),
                ("conv2", "out_layers.3"),
                ("conv_shortcut", "skip_connection"),
            )
        ),
    )


def vae(coder: AutoencoderKL) -> Tensors:
    last = len(coder.config.block_out_channels) - 1
    named = _renamed(
        coder.state_dict(),
        (r"conv_norm_out", "norm_out"),
        (r"down_blocks\.(\d+)\.", r"down.\1."),
        (r"up_blocks\.(\d+)\.", lambda match: f"up.{last - int(match[1])}."),
        (r"mid_block\.resnets\.0", "mid.block_1"),
        (r"mid_block\.resnets\.1", "mid.block_2"),
        (r"mid_block\.attentions\.0\.group_norm", "mid.attn_1.norm"),
        (r"mid_block\.attentions\.0\.to_out\.0", "mid.attn_1.proj_out"),
        (r"mid_block\.attentions\.0\.to_(q|k|v)", r"mid.attn_1.\1"),
        (r"resnets\.", "block."),
        (r"downsamplers\.0", "downsample"),
        (r"upsamplers\.0", "upsample"),
        (r"conv_shortcut", "nin_shortcut"),
    )
    is_convolution = re.compile(r"attn_1\.(q|k|v|proj_out)\.weight$")
    return {k: v[:, :, None, None] if is_convolution.search(k) else v for k, v in named.items()}


def clip(encoder: CLIPTextModel, text: Text) -> Tensors:
    named = _renamed(encoder.state_dict(), (r"^(text_model\.)?", "transformer.text_model."))
    positions = torch.arange(text.context)[None]
    return named | {"transformer.text_model.embeddings.position_ids": positions}


def open_clip(encoder: CLIPTextModel | CLIPTextModelWithProjection, text: Text) -> Tensors:
    named = _renamed(
        encoder.state_dict(),
        (r"^text_model\.", ""),
        (r"^embeddings\.position_embedding\.weight", "positional_embedding"),
        (r"^embeddings\.token_embedding", "token_embedding"),
        (r"^final_layer_norm", "ln_final"),
        (r"^encoder\.layers", "transformer.resblocks"),
        (r"\.layer_norm([12])\.", r".ln_\1."),
        (r"\.self_attn\.", ".attn."),
        (r"\.mlp\.fc1\.", ".mlp.c_fc."),
        (r"\.mlp\.fc2\.", ".mlp.c_proj."),
    )
    for number in range(encoder.config.num_hidden_layers):
        start = f"transformer.resblocks.{number}.attn."
        for kind in ("weight", "bias"):
            pieces = [named.pop(f"{start}{each}_proj.{kind}") for each in "qkv"]
            named[f"{start}in_proj_{kind}"] = torch.cat(pieces)
    if "text_projection.weight" in named:
        named["text_projection"] = named.pop("text_projection.weight").T
    lacking = (
        published.open_clip(text).items() - {k: tuple(v.shape) for k, v in named.items()}.items()
    )
    return named | {name: torch.rand(shape) for name, shape in lacking}


def _renamed(tensors: Mapping[str, torch.Tensor], *rules: tuple[str, str | Callable]) -> Tensors:
    named = {}
    for name, tensor in tensors.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        named[name] = tensor
    return named


def _prefixed(start: str, tensors: Tensors) -> Tensors:
    return {start + name: tensor for name, tensor in tensors.items()}


def _unet(made: Unet) -> UNet2DConditionModel:
    attends = [2**level in made.attention_resolutions for level in range(len(made.channel_mult))]
    more = {}
    if made.adm_in_channels is not None:
        more = {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": made.adm_in_channels,
        }
    return UNet2DConditionModel(
        sample_size=tiny.LATENT_SIZE,
        in_channels=made.in_channels,
        out_channels=4,
        block_out_channels=[mult * made.model_channels for mult in made.channel_mult],
        layers_per_block=made.num_res_blocks,
        norm_num_groups=8,
        attention_head_dim=2,
        cross_attention_dim=made.context_dim,
        use_linear_projection=made.use_linear,
        transformer_layers_per_block=list(made.transformer_depth),
        down_block_types=["CrossAttnDownBlock2D" if each else "DownBlock2D" for each in attends],
        up_block_types=["CrossAttnUpBlock2D" if each else "UpBlock2D" for each in attends[::-1]],
        **more,
    )


def _vae(made: Vae) -> AutoencoderKL:
    levels = len(made.ch_mult)
    return AutoencoderKL(
        sample_size=tiny.IMAGE_SIZE,
        block_out_channels=[mult * made.ch for mult in made.ch_mult],
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=made.num_res_blocks,
        norm_num_groups=4,
        latent_channels=made.z_channels,
    )


def _encoder(text: Text, layers: int, has_projection: bool) -> CLIPTextModel:
    ids = tiny.tokenizer()
    cls = CLIPTextModelWithProjection if has_projection else CLIPTextModel
    config = CLIPTextConfig(
        vocab_size=text.vocabulary,
        hidden_size=text.width,
        intermediate_size=4 * text.width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        projection_dim=text.projection,
        max_position_embeddings=text.context,
        bos_token_id=ids.bos_token_id,
        eos_token_id=ids.eos_token_id,
        pad_token_id=ids.pad_token_id,
    )
    return cls(config).eval()
