"""Tiny models with random weights of families that edit pictures, beside those of tiny.py and
tiny_families.py."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import transformers
from diffusers import DiffusionPipeline
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit, pipeline_qwenimage_edit_plus

from darkroom.networks import network_of
from tests import tiny, tiny_families, tiny_transformers
from tests.tiny_families import LM
from worker.loading.processors import pixtral


def klein() -> diffusers.Flux2KleinPipeline:
    """Shaped like FLUX.2 klein: any number of pictures beside the noise, true guidance."""
    return tiny_families.flux2_klein()


def keen_klein() -> diffusers.Flux2KleinPipeline:
    """The same, with attention that tells the pictures apart and weighs much: with weights as they
    are drawn, another picture changes the result by a tenth of a level."""
    made = klein()
    with torch.no_grad():
        for name, parameter in tiny_transformers.awake(made.transformer).named_parameters():
            if "norm_q" in name or "norm_added_q" in name:
                parameter.mul_(8)
            if "to_out" in name or "to_add_out" in name or "proj_out" in name:
                parameter.mul_(20)
    return made


def flux2() -> diffusers.Flux2Pipeline:
    """Shaped like FLUX.2 dev: guidance as an embedding, prompts read by a larger encoder, and by a
    processor in the place of a tokenizer."""
    words = tiny_families.tokenizer()
    text = {"model_type": "mistral", **LM, "num_hidden_layers": 30, "vocab_size": len(words)}
    vision = {
        "model_type": "pixtral",
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 16,
    }
    config = transformers.Mistral3Config(text_config=text, vision_config=vision)
    encoder = transformers.Mistral3ForConditionalGeneration(config).eval()
    network = tiny_families.flux2_network(guidance_embeds=True)
    parts = tiny_families.with_lm(network, encoder, tiny_families.flux2_vae())
    processor = pixtral()(
        image_processor=transformers.PixtralImageProcessor(),
        tokenizer=words,
        chat_template=tiny_families.TEMPLATE,
        image_token="<|image_pad|>",
    )
    return diffusers.Flux2Pipeline(**parts | {"tokenizer": processor})


def sdxl_pix2pix() -> diffusers.StableDiffusionXLInstructPix2PixPipeline:
    """Shaped like InstructPix2Pix for SDXL."""
    parts = tiny._sdxl() | {"unet": tiny.unet(in_channels=8, **tiny.SDXL)}
    known = diffusers.StableDiffusionXLInstructPix2PixPipeline._get_signature_keys(
        diffusers.StableDiffusionXLInstructPix2PixPipeline
    )[0]
    return diffusers.StableDiffusionXLInstructPix2PixPipeline(
        **{name: part for name, part in parts.items() if name in known}
    )


def qwen_edit() -> diffusers.QwenImageEditPipeline:
    return diffusers.QwenImageEditPipeline(**_qwen())


def qwen_edit_8() -> diffusers.QwenImageEditPipeline:
    """With latents as small as the real ones, so that pictures can be as large."""
    return diffusers.QwenImageEditPipeline(**_qwen() | {"vae": tiny_families.qwen_vae(levels=4)})


def qwen_edit_plus() -> diffusers.QwenImageEditPlusPipeline:
    return diffusers.QwenImageEditPlusPipeline(**_qwen(zero_cond_t=True))


def qwen_layered() -> diffusers.QwenImageLayeredPipeline:
    """Its VAE reads and makes transparent pictures, of as many channels as others' tiny latents."""
    channels = {"in_channels": 4 * 8, "out_channels": 8}
    parts = _qwen(use_additional_t_cond=True, use_layer3d_rope=True, **channels)
    vae = tiny_families.qwen_vae(8, input_channels=4)
    return diffusers.QwenImageLayeredPipeline(**parts | {"vae": vae})


def longcat_edit() -> diffusers.LongCatImageEditPipeline:
    return diffusers.LongCatImageEditPipeline(**tiny_families.longcat().components)


def kandinsky5_edit() -> diffusers.Kandinsky5I2IPipeline:
    parts = tiny_families.kandinsky5(visual_cond=True).components
    return diffusers.Kandinsky5I2IPipeline(**parts)


def fibo_edit() -> diffusers.BriaFiboEditPipeline:
    return diffusers.BriaFiboEditPipeline(**tiny_families.bria_fibo().components)


def z_image_omni() -> diffusers.ZImageOmniPipeline:
    """Its network reads pictures twice, also as SigLIP 2 sees them."""
    size = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    config = transformers.Siglip2VisionConfig(**size, num_hidden_layers=1, num_patches=16)
    parts = tiny_families.z_image(siglip_feat_dim=16, axes_lens=[512, 64, 64]).components
    return diffusers.ZImageOmniPipeline(
        **parts,
        siglip=transformers.Siglip2VisionModel(config).eval(),
        siglip_processor=transformers.Siglip2ImageProcessor(max_num_patches=16),
    )


FAMILIES: dict[str, Callable[[], DiffusionPipeline]] = {
    "klein": klein,
    "keen-klein": keen_klein,
    "flux2": flux2,
    "sdxl-pix2pix": sdxl_pix2pix,
    "qwen-edit": qwen_edit,
    "qwen-edit-8": qwen_edit_8,
    "qwen-edit-plus": qwen_edit_plus,
    "qwen-layered": qwen_layered,
    "longcat-edit": longcat_edit,
    "kandinsky5-edit": kandinsky5_edit,
    "fibo-edit": fibo_edit,
    "z-image-omni": z_image_omni,
    "omnigen": tiny_families.omnigen,
}


def write(family: str, folder: Path) -> Path:
    """A model folder as diffusers writes it, the same each time."""
    torch.manual_seed(41)
    pipeline = FAMILIES[family]()
    tiny_transformers.awake(network_of(pipeline))
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def keep_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets Qwen-Image's pipelines bring pictures to fewer pixels than are good for large
    networks."""
    for module in (pipeline_qwenimage_edit, pipeline_qwenimage_edit_plus):
        of = module.calculate_dimensions
        monkeypatch.setattr(module, "calculate_dimensions", lambda _, ratio, of=of: of(4096, ratio))


def _qwen(**config: Any) -> dict[str, Any]:
    network = tiny_transformers.qwen_image(**config)
    parts = tiny_families.with_lm(network, tiny_families.qwen_vl(), tiny_families.qwen_vae())
    return {**parts, "processor": tiny_families.processor()}
