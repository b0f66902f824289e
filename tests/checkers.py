"""Tiny safety checkers with random weights, in folders as their libraries write them."""

from pathlib import Path

import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPVisionConfig,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)
from transformers.utils import logging

SIDE = 8
LABELS = {0: "normal", 1: "nsfw"}
TINY = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": 4,
}


def classifier(folder: Path, *, leaning: float = 0.0) -> Path:
    """An image classifier that knows normal from nsfw, as far as noise can; a positive `leaning`
    sees nsfw everywhere, a negative one nowhere."""
    torch.manual_seed(5)
    logging.disable_progress_bar()
    made = ViTForImageClassification(ViTConfig(**TINY, id2label=LABELS)).eval()
    with torch.no_grad():
        made.classifier.weight.normal_()
        made.classifier.bias.copy_(torch.tensor([-leaning, leaning]))
    made.save_pretrained(folder, safe_serialization=True)
    ViTImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return folder


def own_checker(folder: Path, *, flags: bool) -> Path:
    """Stable Diffusion's checker in `folder/safety_checker`, its processor beside it as in a
    pipeline; it flags everything or nothing."""
    torch.manual_seed(6)
    logging.disable_progress_bar()
    config = CLIPConfig(
        text_config=CLIPTextConfig(
            vocab_size=8, hidden_size=16, bos_token_id=0, eos_token_id=1
        ).to_dict(),
        vision_config=CLIPVisionConfig(**TINY, projection_dim=16).to_dict(),
        projection_dim=16,
    )
    made = StableDiffusionSafetyChecker(config).eval()
    with torch.no_grad():  # cosines lie between -1 and 1
        made.concept_embeds_weights.fill_(-2.0 if flags else 2.0)
        made.special_care_embeds_weights.fill_(2.0)
    made.save_pretrained(folder / "safety_checker", safe_serialization=True)
    size = {"shortest_edge": SIDE}
    crop = {"height": SIDE, "width": SIDE}
    CLIPImageProcessor(size=size, crop_size=crop).save_pretrained(folder / "feature_extractor")
    return folder / "safety_checker"
