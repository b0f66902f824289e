from typing import Any

import pytest
import torch

from darkroom.errors import ModelLoadError
from darkroom.lora_keys import read_keys
from tests import tiny
from worker.loading.layer_names import Layers
from worker.loading.lora_keys import as_kohya, misfit, without_alphas


def layers(family: str) -> Layers:
    pipeline = tiny.FAMILIES[family]()
    names = pipeline._lora_loadable_modules
    return Layers({name: getattr(pipeline, name) for name in names})


def pair(layer: str = "unet.conv_in") -> dict[str, torch.Tensor]:
    return {f"{layer}.lora_A.weight": torch.ones(1), f"{layer}.lora_B.weight": torch.ones(1)}


@pytest.mark.parametrize(
    ("family", "layer", "words"),
    [
        ("sd15", "lora_unet_double_blocks_0_img_attn_proj", "made for Flux: none of"),
        ("sd15", "lora_unet_joint_blocks_0_x_block_mlp_fc1", "made for Stable Diffusion 3: none"),
        ("sd15", "lora_te2_text_model_encoder_layers_0_mlp_fc1", "made for SDXL: none of"),
        ("flux", "lora_unet_double_blocks_99_img_attn_proj", "^does not fit: none of"),
        ("flux", "lora_unet_down_blocks_0_conv", "made for Stable Diffusion 1 or 2 or SDXL: none"),
    ],
)
def test_a_lora_of_another_family_says_of_which(family: str, layer: str, words: str) -> None:
    found = read_keys(pair(layer))
    kind = type(tiny.FAMILIES[family]()).__name__
    with pytest.raises(ModelLoadError, match=words):
        raise ModelLoadError(misfit(found, list(found), layers(family), kind))


def test_a_lora_of_a_model_of_another_width_says_of_which() -> None:
    known: Any = layers("sd15")
    layer = "unet.down_blocks.9.attentions.0.transformer_blocks.0.attn2.to_k"
    found = read_keys(
        {f"{layer}.lora_A.weight": torch.ones(2, 2048), f"{layer}.lora_B.weight": torch.ones(8, 2)}
    )
    told = misfit(found, list(found), known, "StableDiffusionPipeline")
    assert "text embeddings have 2048 numbers (SDXL), not 16: none of" in told


def test_for_converters_the_strength_is_put_into_the_factors() -> None:
    tensors = {
        "diffusion_model.double_blocks.0.img_attn.proj.lora_A.weight": torch.ones(4, 8),
        "diffusion_model.double_blocks.0.img_attn.proj.lora_B.weight": torch.ones(8, 4),
        "diffusion_model.double_blocks.0.img_attn.proj.alpha": torch.tensor([2.0]),
    }
    named = as_kohya(without_alphas(tensors, read_keys(tensors)))
    layer = "lora_unet_double_blocks_0_img_attn_proj"
    assert named.keys() == {f"{layer}.lora_down.weight", f"{layer}.lora_up.weight"}
    assert torch.equal(named[f"{layer}.lora_up.weight"], torch.full((8, 4), 0.5))
