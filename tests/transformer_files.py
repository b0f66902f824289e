"""Tiny transformers, and their tensors by the names under which the models were published, from the
definitions of their networks; what reads them is never asked.

Flux: `src/flux/model.py` and `modules/layers.py` of black-forest-labs/flux. Stable Diffusion 3 and
3.5: `mmditx.py` of Stability-AI/sd3.5. Z-Image: as `comfy/ldm/lumina/model.py` of ComfyUI keeps it.
"""

import re
from collections.abc import Callable, Mapping

import torch
from diffusers import (
    FluxTransformer2DModel,
    QwenImageTransformer2DModel,
    SD3Transformer2DModel,
    ZImageTransformer2DModel,
)

from tests import tiny

Tensors = dict[str, torch.Tensor]
Rules = tuple[tuple[str, str], ...]

_FLUX: Rules = (
    (r"^x_embedder\.", "img_in."),
    (r"^context_embedder\.", "txt_in."),
    (r"^time_text_embed\.timestep_embedder\.", "time_in."),
    (r"^time_text_embed\.text_embedder\.", "vector_in."),
    (r"^time_text_embed\.guidance_embedder\.", "guidance_in."),
    (r"\.linear_1\.", ".in_layer."),
    (r"\.linear_2\.", ".out_layer."),
    (r"^norm_out\.linear\.", "final_layer.adaLN_modulation.1."),
    (r"^proj_out\.", "final_layer.linear."),
    (r"^single_transformer_blocks\.(\d+)\.norm\.linear\.", r"single_blocks.\1.modulation.lin."),
    (r"^single_transformer_blocks\.(\d+)\.proj_out\.", r"single_blocks.\1.linear2."),
    (r"^single_transformer_blocks\.(\d+)\.(attn\.)?", r"single_blocks.\1."),
    (r"^transformer_blocks\.(\d+)\.norm1\.linear\.", r"double_blocks.\1.img_mod.lin."),
    (r"^transformer_blocks\.(\d+)\.norm1_context\.linear\.", r"double_blocks.\1.txt_mod.lin."),
    (r"^transformer_blocks\.(\d+)\.ff\.net\.0\.proj\.", r"double_blocks.\1.img_mlp.0."),
    (r"^transformer_blocks\.(\d+)\.ff\.net\.2\.", r"double_blocks.\1.img_mlp.2."),
    (r"^transformer_blocks\.(\d+)\.ff_context\.net\.0\.proj\.", r"double_blocks.\1.txt_mlp.0."),
    (r"^transformer_blocks\.(\d+)\.ff_context\.net\.2\.", r"double_blocks.\1.txt_mlp.2."),
    (r"^transformer_blocks\.(\d+)\.attn\.to_out\.0\.", r"double_blocks.\1.img_attn.proj."),
    (r"^transformer_blocks\.(\d+)\.attn\.to_add_out\.", r"double_blocks.\1.txt_attn.proj."),
    (r"^transformer_blocks\.(\d+)\.attn\.(norm_added|add)_", r"double_blocks.\1.txt_attn.\2_"),
    (r"^transformer_blocks\.(\d+)\.attn\.", r"double_blocks.\1.img_attn."),
    (r"\.(norm|norm_added)_q\.weight", ".norm.query_norm.scale"),
    (r"\.(norm|norm_added)_k\.weight", ".norm.key_norm.scale"),
)
_SD3: Rules = (
    (r"^pos_embed\.pos_embed$", "pos_embed"),
    (r"^pos_embed\.proj\.", "x_embedder.proj."),
    (r"^time_text_embed\.timestep_embedder\.linear_1\.", "t_embedder.mlp.0."),
    (r"^time_text_embed\.timestep_embedder\.linear_2\.", "t_embedder.mlp.2."),
    (r"^time_text_embed\.text_embedder\.linear_1\.", "y_embedder.mlp.0."),
    (r"^time_text_embed\.text_embedder\.linear_2\.", "y_embedder.mlp.2."),
    (r"^norm_out\.linear\.", "final_layer.adaLN_modulation.1."),
    (r"^proj_out\.", "final_layer.linear."),
    (
        r"^transformer_blocks\.(\d+)\.norm1\.linear\.",
        r"joint_blocks.\1.x_block.adaLN_modulation.1.",
    ),
    (
        r"^transformer_blocks\.(\d+)\.norm1_context\.linear\.",
        r"joint_blocks.\1.context_block.adaLN_modulation.1.",
    ),
    (r"^transformer_blocks\.(\d+)\.ff\.", r"joint_blocks.\1.x_block.mlp."),
    (r"^transformer_blocks\.(\d+)\.ff_context\.", r"joint_blocks.\1.context_block.mlp."),
    (r"\.mlp\.net\.0\.proj\.", ".mlp.fc1."),
    (r"\.mlp\.net\.2\.", ".mlp.fc2."),
    (
        r"^transformer_blocks\.(\d+)\.attn\.to_add_out\.",
        r"joint_blocks.\1.context_block.attn.proj.",
    ),
    (
        r"^transformer_blocks\.(\d+)\.attn\.(norm_added|add)_",
        r"joint_blocks.\1.context_block.attn.\2_",
    ),
    (r"^transformer_blocks\.(\d+)\.(attn2?)\.to_out\.0\.", r"joint_blocks.\1.x_block.\2.proj."),
    (r"^transformer_blocks\.(\d+)\.(attn2?)\.", r"joint_blocks.\1.x_block.\2."),
    (r"\.norm(_added)?_(q|k)\.", r".ln_\2."),
)
_Z_IMAGE: Rules = (
    (r"^all_x_embedder\.2-1\.", "x_embedder."),
    (r"^all_final_layer\.2-1\.", "final_layer."),
    (r"\.attention\.to_out\.0\.", ".attention.out."),
    (r"\.attention\.norm_(q|k)\.", r".attention.\1_norm."),
)
_JOINED = (
    ("qkv", ("to_q", "to_k", "to_v")),
    ("qkv", ("add_q_proj", "add_k_proj", "add_v_proj")),
)


FLUX_SIZES = {"into": 16, "text": 32, "pooled": 16, "hidden": 3072, "heads": 24}
"""diffusers reads single files of a Flux of its true width alone."""


def _flux() -> FluxTransformer2DModel:
    with torch.device("meta"):
        made = FluxTransformer2DModel(
            in_channels=FLUX_SIZES["into"],
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=FLUX_SIZES["hidden"] // FLUX_SIZES["heads"],
            num_attention_heads=FLUX_SIZES["heads"],
            joint_attention_dim=FLUX_SIZES["text"],
            pooled_projection_dim=FLUX_SIZES["pooled"],
            guidance_embeds=True,
        )
    made = made.to(torch.bfloat16).to_empty(device="cpu")
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_()
    return made


def _sd3() -> SD3Transformer2DModel:
    return tiny.sd3().transformer


def _sd35() -> SD3Transformer2DModel:
    return tiny.sd35().transformer


def _qwen() -> QwenImageTransformer2DModel:
    torch.manual_seed(5)
    return QwenImageTransformer2DModel(
        in_channels=16,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        axes_dims_rope=(4, 6, 6),
    )


def _z_image() -> ZImageTransformer2DModel:
    torch.manual_seed(6)
    return ZImageTransformer2DModel(
        in_channels=4,
        dim=32,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=16,
        axes_dims=[4, 6, 6],
        axes_lens=[64, 32, 32],
    )


def flux(made: Tensors) -> Tensors:
    named = _joined(_renamed(made, _FLUX))
    for name in [name for name in named if ".proj_mlp." in name]:
        first = name.replace("proj_mlp", "qkv")
        named[name.replace("proj_mlp", "linear1")] = torch.cat([named.pop(first), named.pop(name)])
    return _swapped(named, ["final_layer.adaLN_modulation.1."])


def sd3(made: Tensors) -> Tensors:
    named = _joined(_renamed(made, _SD3))
    last = max(int(name.split(".")[1]) for name in named if name.startswith("joint_blocks."))
    end = f"joint_blocks.{last}.context_block.adaLN_modulation.1."
    return _swapped(named, ["final_layer.adaLN_modulation.1.", end])


def z_image(made: Tensors) -> Tensors:
    return _joined(_renamed(made, _Z_IMAGE))


SPELLINGS: dict[str, tuple[Callable[[], torch.nn.Module], Callable[[Tensors], Tensors]]] = {
    "flux-dev": (_flux, flux),
    "sd3": (_sd3, sd3),
    "sd35-medium": (_sd35, sd3),
    "qwen-image": (_qwen, dict),
    "z-image": (_z_image, z_image),
}
"""Tiny networks by family, and how what diffusers calls their tensors was published."""


def _joined(named: Tensors) -> Tensors:
    """Queries, keys and values in one."""
    for new, parts in _JOINED:
        for name in [name for name in named if f".{parts[0]}." in name]:
            pieces = [named.pop(name.replace(parts[0], part)) for part in parts]
            named[name.replace(parts[0], new)] = torch.cat(pieces)
    return named


def _swapped(named: Tensors, starts: list[str]) -> Tensors:
    """The published ones shift first and scale then, diffusers' last norm does the reverse."""
    for start in starts:
        for kind in ("weight", "bias"):
            scale, shift = named[start + kind].chunk(2)
            named[start + kind] = torch.cat([shift, scale])
    return named


def _renamed(tensors: Mapping[str, torch.Tensor], rules: Rules) -> Tensors:
    named = {}
    for name, tensor in tensors.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        assert name not in named, name
        named[name] = tensor
    return named
