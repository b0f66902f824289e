"""Today's transformers, tiny and with random weights, and the stock pipelines around them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    AuraFlowTransformer2DModel,
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    ChromaTransformer2DModel,
    Flux2Transformer2DModel,
    HunyuanImageTransformer2DModel,
    Lumina2Transformer2DModel,
    PixArtTransformer2DModel,
    QwenImageTransformer2DModel,
    SanaTransformer2DModel,
    ZImageTransformer2DModel,
)

TEXT = 16
"""How wide the embeddings of prompts are."""


def qwen_image(**config: object) -> QwenImageTransformer2DModel:
    return QwenImageTransformer2DModel(
        attention_head_dim=16,
        joint_attention_dim=TEXT,
        axes_dims_rope=(4, 6, 6),
        **{
            "in_channels": 16,
            "out_channels": 4,
            "num_layers": 2,
            "num_attention_heads": 2,
            **config,
        },
    )


def z_image(**config: object) -> ZImageTransformer2DModel:
    return ZImageTransformer2DModel(
        in_channels=4,
        dim=32,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=TEXT,
        axes_dims=[8, 4, 4],
        **{"axes_lens": [512, 32, 32], **config},
    )


def flux2(*, guidance_embeds: bool = True) -> Flux2Transformer2DModel:
    return Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=TEXT,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=guidance_embeds,
    )


def chroma() -> ChromaTransformer2DModel:
    return ChromaTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=TEXT,
        axes_dims_rope=(4, 6, 6),
        approximator_num_channels=8,
        approximator_hidden_dim=32,
        approximator_layers=1,
    )


def sana(**config: object) -> SanaTransformer2DModel:
    return SanaTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        num_cross_attention_heads=2,
        cross_attention_head_dim=8,
        cross_attention_dim=16,
        caption_channels=TEXT,
        sample_size=8,
        **config,
    )


def pixart(**config: object) -> PixArtTransformer2DModel:
    return PixArtTransformer2DModel(
        sample_size=8,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        num_attention_heads=3,
        attention_head_dim=8,
        cross_attention_dim=24,
        caption_channels=TEXT,
        **config,
    )


def aura_flow() -> AuraFlowTransformer2DModel:
    return AuraFlowTransformer2DModel(
        sample_size=8,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=TEXT,
        caption_projection_dim=16,
        pos_embed_max_size=64,
    )


def lumina2() -> Lumina2Transformer2DModel:
    return Lumina2Transformer2DModel(
        sample_size=8,
        in_channels=4,
        hidden_size=32,
        num_layers=2,
        num_refiner_layers=1,
        num_attention_heads=2,
        num_kv_heads=1,
        multiple_of=8,
        axes_dim_rope=(4, 6, 6),
        axes_lens=(64, 32, 32),
        cap_feat_dim=TEXT,
    )


def hunyuan_image(**config: object) -> HunyuanImageTransformer2DModel:
    return HunyuanImageTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        text_embed_dim=TEXT,
        text_embed_2_dim=TEXT,
        rope_axes_dim=(8, 8),
        **config,
    )


def awake(made: torch.nn.Module) -> torch.nn.Module:
    """With numbers in place of what begins as zeros and would hide mistakes."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in made.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1, generator=generator)
    return made.eval()


@dataclass(frozen=True)
class Kind:
    """A network, and what pipelines call it with."""

    network: Callable[[], torch.nn.Module]
    arguments: Callable[["Draw"], dict[str, Any]]


@dataclass(frozen=True)
class Draw:
    """One call: how many rows, and of how many tokens its prompt is."""

    seed: int
    rows: int = 1
    tokens: int = 5
    dtype: torch.dtype = torch.float64

    def noise(self, *shape: int) -> torch.Tensor:
        """Of this shape behind the rows; another at each call of the same draw."""
        generator = torch.Generator().manual_seed(self.seed + 31 * len(shape) + sum(shape))
        made = torch.randn(self.rows, *shape, generator=generator, dtype=torch.float64)
        return made.to(self.dtype)

    def each(self, value: float, *shape: int) -> torch.Tensor:
        """A number for each row, that grows with the row and the seed."""
        numbers = value + 0.01 * torch.arange(self.rows) + 0.03 * self.seed
        return numbers.reshape(self.rows, *shape).to(self.dtype)

    def mask(self, longest: int) -> torch.Tensor:
        return (torch.arange(longest) < self.tokens).long().expand(self.rows, longest)

    def times(self, value: Any) -> list[Any]:
        return [value] * self.rows


def ids(height: int, width: int, axes: int) -> torch.Tensor:
    grid = torch.zeros(height, width, axes)
    grid[..., 1] += torch.arange(height)[:, None]
    grid[..., 2] += torch.arange(width)
    return grid.reshape(height * width, axes)


def _qwen_image(draw: Draw) -> dict[str, Any]:
    return {
        "hidden_states": draw.noise(24, 16),
        "timestep": draw.each(0.5),
        "encoder_hidden_states": draw.noise(draw.tokens, TEXT),
        "img_shapes": draw.times([(1, 4, 4), (1, 2, 4)]),
        "controlnet_block_samples": [draw.noise(24, 32)],
    }


def _qwen_edit(draw: Draw) -> dict[str, Any]:
    """The references get a modulation of their own. The shapes come for each row or once, as from
    pipelines, which forget that a prompt can have several pictures."""
    shapes = [[(1, 4, 4), (1, 2, 4)]] * (1 if draw.seed % 2 else draw.rows)
    plain = {k: v for k, v in _qwen_image(draw).items() if k != "controlnet_block_samples"}
    return plain | {"img_shapes": shapes}


def _qwen_layered(draw: Draw) -> dict[str, Any]:
    layers = draw.times([(1, 2, 4), (1, 2, 4), (1, 2, 4)])
    kinds = torch.arange(draw.rows) % 2
    return _qwen_edit(draw) | {"img_shapes": layers, "additional_t_cond": kinds}


def _z_image(draw: Draw) -> dict[str, Any]:
    return {
        "x": list(draw.noise(4, 1, 8, 8)),
        "t": draw.each(0.5).float(),
        "cap_feats": list(draw.noise(draw.tokens, TEXT)),
    }


def _flux2(draw: Draw) -> dict[str, Any]:
    return {
        "hidden_states": draw.noise(16, 16),
        "encoder_hidden_states": draw.noise(8, TEXT),
        "timestep": draw.each(0.5),
        "guidance": draw.each(4.0).float(),
        "img_ids": ids(4, 4, 4).expand(draw.rows, -1, -1),
        "txt_ids": ids(1, 8, 4).expand(draw.rows, -1, -1),
    }


def _chroma(draw: Draw) -> dict[str, Any]:
    text = draw.mask(8)
    return {
        "hidden_states": draw.noise(16, 16),
        "encoder_hidden_states": draw.noise(8, TEXT),
        "timestep": draw.each(0.5),
        "img_ids": ids(4, 4, 3),
        "txt_ids": torch.zeros(8, 3),
        "attention_mask": torch.cat([text, torch.ones(draw.rows, 16)], dim=1).to(draw.dtype),
        "controlnet_block_samples": [draw.noise(16, 32)],
        "controlnet_single_block_samples": [draw.noise(16, 32)],
    }


def _sana(draw: Draw) -> dict[str, Any]:
    return {
        "hidden_states": draw.noise(4, 8, 8),
        "encoder_hidden_states": draw.noise(12, TEXT),
        "encoder_attention_mask": draw.mask(12),
        "timestep": draw.each(500.0),
        "controlnet_block_samples": (draw.noise(64, 16),),
    }


def _sana_sprint(draw: Draw) -> dict[str, Any]:
    return _sana(draw) | {"guidance": draw.each(0.45)}


def _pixart(draw: Draw) -> dict[str, Any]:
    return {
        "hidden_states": draw.noise(4, 8, 8),
        "encoder_hidden_states": draw.noise(12, TEXT),
        "encoder_attention_mask": draw.mask(12),
        "timestep": torch.full((draw.rows,), 500 + draw.seed),
        "added_cond_kwargs": {"resolution": None, "aspect_ratio": None},
    }


def _pixart_sizes(draw: Draw) -> dict[str, Any]:
    resolution = torch.cat([draw.each(512.0, 1), draw.each(512.0, 1)], dim=1)
    sizes = {"resolution": resolution, "aspect_ratio": draw.each(1.0, 1)}
    return _pixart(draw) | {"added_cond_kwargs": sizes}


def _lumina2(draw: Draw) -> dict[str, Any]:
    return {
        "hidden_states": draw.noise(4, 8, 8),
        "timestep": draw.each(0.5),
        "encoder_hidden_states": draw.noise(12, TEXT),
        "encoder_attention_mask": draw.mask(12),
    }


def _aura_flow(draw: Draw) -> dict[str, Any]:
    return {
        "hidden_states": draw.noise(4, 8, 8),
        "encoder_hidden_states": draw.noise(12, TEXT),
        "timestep": draw.each(0.5),
    }


def _hunyuan_image(draw: Draw) -> dict[str, Any]:
    return {
        "hidden_states": draw.noise(4, 8, 8),
        "timestep": draw.each(500.0),
        "encoder_hidden_states": draw.noise(12, TEXT),
        "encoder_attention_mask": draw.mask(12),
        "encoder_hidden_states_2": draw.noise(6, TEXT),
        "encoder_attention_mask_2": draw.mask(6) * (draw.seed % 2),
    }


def _hunyuan_distilled(draw: Draw) -> dict[str, Any]:
    return _hunyuan_image(draw) | {
        "timestep_r": draw.each(400.0),
        "guidance": draw.each(3250.0),
    }


KINDS = {
    "qwen-image": Kind(qwen_image, _qwen_image),
    "qwen-edit-2511": Kind(lambda: qwen_image(zero_cond_t=True), _qwen_edit),
    "qwen-layered": Kind(
        lambda: qwen_image(use_additional_t_cond=True, use_layer3d_rope=True), _qwen_layered
    ),
    "z-image": Kind(z_image, _z_image),
    "flux2": Kind(flux2, _flux2),
    "chroma": Kind(chroma, _chroma),
    "sana": Kind(sana, _sana),
    "sana-sprint": Kind(
        lambda: sana(guidance_embeds=True, qk_norm="rms_norm_across_heads"), _sana_sprint
    ),
    "pixart": Kind(pixart, _pixart),
    "pixart-alpha": Kind(lambda: pixart(use_additional_conditions=True), _pixart_sizes),
    "lumina2": Kind(lumina2, _lumina2),
    "aura-flow": Kind(aura_flow, _aura_flow),
    "hunyuan-image": Kind(hunyuan_image, _hunyuan_image),
    "hunyuan-image-distilled": Kind(
        lambda: hunyuan_image(guidance_embeds=True, use_meanflow=True), _hunyuan_distilled
    ),
}


def made(name: str, dtype: torch.dtype = torch.float64) -> torch.nn.Module:
    """The network of a kind, the same each time."""
    torch.manual_seed(7)
    network = awake(KINDS[name].network())
    return torch.nn.Module.to(network, dtype)


def vae(channels: int = 4) -> AutoencoderKL:
    """Makes half the side of pictures."""
    return AutoencoderKL(**_VAE, latent_channels=channels, shift_factor=0.1)


def flux2_vae() -> AutoencoderKLFlux2:
    return AutoencoderKLFlux2(**_VAE, latent_channels=4)


def qwen_vae() -> AutoencoderKLQwenImage:
    """Makes a quarter of the side of pictures."""
    return AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 2, 2],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[0.1] * 4,
        latents_std=[0.9] * 4,
    )


_VAE = {
    "sample_size": 16,
    "block_out_channels": (8, 16),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "layers_per_block": 1,
    "norm_num_groups": 4,
}
