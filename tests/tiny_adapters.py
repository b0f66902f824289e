"""Tiny adapters with random weights for the models of tiny.py, written as people publish them."""

from pathlib import Path

import torch
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from tests import tiny

LORA = "pytorch_lora_weights.safetensors"
EMBEDDING = "learned_embeds.safetensors"
IP_ADAPTER = "ip-adapter.safetensors"
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
TEXT_ATTENTION = ["q_proj", "v_proj"]
IMAGE_DIM = 24


def write_lora(
    family: str,
    folder: Path,
    seed: int,
    *,
    text: bool = True,
    rank: int = 4,
    alpha: int = 8,
    dora: bool = False,
) -> Path:
    """A LoRA for the network and, with `text`, for the text encoders too; with `dora` a DoRA."""
    torch.manual_seed(seed)
    pipeline = tiny.FAMILIES[family]()
    targets = {"unet": ATTENTION, "transformer": ["to_q", "to_k"]}
    if text:
        targets |= {"text_encoder": TEXT_ATTENTION, "text_encoder_2": TEXT_ATTENTION}
    layers = {}
    for name, modules in targets.items():
        if (part := getattr(pipeline, name, None)) is None:
            continue
        config = {"r": rank, "lora_alpha": alpha, "target_modules": modules, "use_dora": dora}
        part.add_adapter(LoraConfig(**config, init_lora_weights="gaussian"))
        with torch.no_grad():  # one side begins as zeros, and such a LoRA changes nothing
            for path, parameter in part.named_parameters():
                if ".lora_" in path:
                    parameter.normal_(std=0.3)
        weights = convert_state_dict_to_diffusers(get_peft_model_state_dict(part))
        layers |= {f"{name}_lora_layers": weights}
        layers |= {f"{name}_lora_adapter_metadata": part.peft_config["default"].to_dict()}
    pipeline.save_lora_weights(folder, **layers)
    return folder


def write_embedding(family: str, folder: Path, seed: int, *, vectors: int = 1) -> Path:
    """A textual inversion of `vectors` vectors; for SDXL, one for each text encoder."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    keys = ("clip_l", "clip_g") if family == "sdxl" else ("emb_params",)
    save_file({key: torch.randn(vectors, 16) for key in keys}, folder / EMBEDDING)
    return folder


def write_ip_adapter(family: str, folder: Path, seed: int) -> Path:
    """An IP-Adapter of the first kind, with its image encoder in `image_encoder`."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    network = tiny.FAMILIES[family]().unet
    width = network.config.cross_attention_dim
    tensors = {
        "image_proj.proj.weight": torch.randn(4 * width, IMAGE_DIM) / IMAGE_DIM**0.5,
        "image_proj.proj.bias": torch.randn(4 * width),
        "image_proj.norm.weight": torch.randn(width),
        "image_proj.norm.bias": torch.randn(width),
    }
    number = 1
    for name in network.attn_processors:
        if name.endswith("attn1.processor"):
            continue
        attention = network.get_submodule(name.removesuffix(".processor"))
        for part in ("to_k_ip", "to_v_ip"):
            tensors[f"ip_adapter.{number}.{part}.weight"] = torch.randn(attention.inner_dim, width)
        number += 2
    save_file(tensors, folder / IP_ADAPTER)
    image_encoder().save_pretrained(folder / "image_encoder")
    return folder


def write_controlnet(folder: Path, seed: int, **config: object) -> Path:
    """A ControlNet that fits `tiny.sd15`, or `tiny.sdxl` with `**tiny.SDXL`."""
    torch.manual_seed(seed)
    tiny.controlnet(**config).save_pretrained(folder)
    return folder


def image_encoder() -> CLIPVisionModelWithProjection:
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=16,
            intermediate_size=32,
            projection_dim=IMAGE_DIM,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=32,
            patch_size=16,
        )
    ).eval()
