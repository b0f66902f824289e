"""What a card changes about the files that are read; files that are wrong: test_pipelines.py."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from darkroom.errors import ModelLoadError
from tests import tiny
from worker.gathering.gather import Gather

WEIGHTS = "diffusion_pytorch_model.safetensors"
BLOCKS = {
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
}
VAE = {
    "block_out_channels": (8, 16),
    "latent_channels": 4,
    "norm_num_groups": 4,
    "sample_size": 16,
    **BLOCKS,
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.write("sd15", tmp_path / "model")


def vae(folder: Path, **config: object) -> Path:
    torch.manual_seed(99)
    AutoencoderKL(**VAE | config).save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_another_vae_takes_the_place_of_the_model_s_own(
    dtype: str, model: Path, tmp_path: Path
) -> None:
    other = vae(tmp_path / "vae", layers_per_block=2)
    loaded = tiny.load("sd15", model, Gather(), dtype=dtype, vae=str(other))
    assert len(loaded.components["vae"].decoder.up_blocks[0].resnets) == 3
    expected = torch.float32 if dtype == "float16" else getattr(torch, dtype)
    assert loaded.components["vae"].dtype == expected
    weight = load_file(other / WEIGHTS)["decoder.conv_in.weight"]
    assert torch.equal(loaded.components["vae"].decoder.conv_in.weight, weight.to(expected))
    view = loaded.view("text-to-image", "DDIMScheduler")
    with torch.no_grad():
        images = view("a cat", num_inference_steps=1, output_type="pt").images
    assert images.isfinite().all()


def test_a_vae_of_the_model_s_own_is_not_needed_then(model: Path, tmp_path: Path) -> None:
    (model / "vae" / WEIGHTS).unlink()
    assert tiny.load("sd15", model, Gather(), vae=str(vae(tmp_path / "vae"))).record.error is None


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"latent_channels": 8}, "have 8 channels, the model's 4"),
        (
            {
                "block_out_channels": (8, 8, 16),
                "down_block_types": ("DownEncoderBlock2D",) * 3,
                "up_block_types": ("UpDecoderBlock2D",) * 3,
            },
            "have 4 times smaller, the model's 2",
        ),
    ],
)
def test_a_vae_for_other_latents_is_refused(
    config: dict[str, object], words: str, model: Path, tmp_path: Path
) -> None:
    other = vae(tmp_path / "vae", **config)
    with pytest.raises(ModelLoadError, match=words):
        tiny.load("sd15", model, Gather(), vae=str(other))


def test_a_vae_that_is_none_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="unet holds no autoencoder"):
        tiny.load("sd15", model, Gather(), vae=str(model / "unet"))
    with pytest.raises(ModelLoadError, match="nobody/none is no folder, and not in"):
        tiny.load("sd15", model, Gather(), vae="nobody/none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelLoadError, match="empty holds no autoencoder"):
        tiny.load("sd15", model, Gather(), vae=str(tmp_path / "empty"))


def test_a_damaged_vae_is_a_clear_error(model: Path, tmp_path: Path) -> None:
    weights = vae(tmp_path / "vae") / WEIGHTS
    tensors = {name: tensor.clone() for name, tensor in load_file(weights).items()}
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelLoadError, match="vae: "):
        tiny.load("sd15", model, Gather(), vae=str(weights.parent))
    tensors.pop("decoder.conv_in.weight")
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(ModelLoadError, match="some weights are missing"):
        tiny.load("sd15", model, Gather(), vae=str(weights.parent))
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(ModelLoadError, match="could run code"):
        tiny.load("sd15", model, Gather(), vae=str(weights.parent))


def test_sd_3_does_without_its_t5(tmp_path: Path) -> None:
    tiny.write("sd35", tmp_path)
    (tmp_path / "text_encoder_3" / "model.safetensors").unlink()
    loaded = tiny.load("sd35", tmp_path, Gather(), text_encoders=False)
    assert loaded.components["text_encoder_3"] is None
    assert loaded.components["text_encoder_2"] is not None
    view = loaded.view("text-to-image", loaded.record.scheduler)
    with torch.no_grad():
        images = view(
            "a cat", num_inference_steps=1, max_sequence_length=16, output_type="pt"
        ).images
    assert images.isfinite().all()


def test_a_model_that_needs_its_text_encoders_says_so(model: Path) -> None:
    with pytest.raises(ModelLoadError, match="StableDiffusionPipeline has none that it can do"):
        tiny.load("sd15", model, Gather(), text_encoders=False)


def test_pickles_beside_safetensors_are_not_read(model: Path) -> None:
    (model / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n.")
    assert tiny.load("sd15", model, Gather()).record.error is None


def test_files_of_one_variant_alone_need_not_be_named(model: Path) -> None:
    for part in ("unet", "vae"):
        (model / part / WEIGHTS).rename(model / part / WEIGHTS.replace(".", ".fp16.", 1))
    encoder = model / "text_encoder" / "model.safetensors"
    encoder.rename(encoder.with_name("model.fp16.safetensors"))
    assert tiny.load("sd15", model, Gather()).record.parameters > 1000
