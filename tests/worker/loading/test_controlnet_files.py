"""ControlNets in single files, named as published and as diffusers names them, against folders."""

import re
from pathlib import Path

import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from safetensors.torch import save_file

from darkroom.errors import ModelLoadError
from darkroom.file_families import contents_of
from darkroom.weight_headers import read_header
from tests import checkpoints, published
from worker.loading.controlnet_files import read

WIDTHS = (4, 8, 8, 12)
SD1, SDXL = "StableDiffusionPipeline", "StableDiffusionXLPipeline"


def published_names(net: ControlNetModel) -> dict[str, torch.Tensor]:
    """As `cldm/cldm.py` of lllyasviel/ControlNet names them."""
    named = {}
    for name, tensor in checkpoints.unet(net).items():
        kind = name.rpartition(".")[2]
        if name.startswith("controlnet_down_blocks"):
            name = f"zero_convs.{name.split('.')[1]}.0.{kind}"
        elif name.startswith("controlnet_mid_block"):
            name = f"middle_block_out.0.{kind}"
        elif found := re.match(r"controlnet_cond_embedding\.(\w+)\.(\d*)", name):
            last = 2 * len(WIDTHS) * 2 - 2
            number = {"conv_in": 0, "conv_out": last}.get(found[1], 2 * int(found[2] or 0) + 2)
            name = f"input_hint_block.{number}.{kind}"
        named[f"control_model.{name}"] = tensor
    return named


def made(family: str) -> tuple[UNet2DConditionModel, ControlNetModel]:
    network = checkpoints.pipeline(family).unet
    torch.manual_seed(1)
    net = ControlNetModel.from_unet(network, conditioning_embedding_out_channels=WIDTHS)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_()
    return network, net


def test_a_controlnet_is_read_as_it_was_published(tmp_path: Path) -> None:
    network, net = made("sd1")
    named = published_names(net)
    shapes = published.controlnet(checkpoints.UNET, (4, 4, 8, 8, 8, 8, 12))
    assert {name: tuple(tensor.shape) for name, tensor in named.items()} == shapes
    file = tmp_path / "net.safetensors"
    for start in ("control_model.", ""):
        save_file(
            {start + k.removeprefix("control_model."): v.contiguous() for k, v in named.items()},
            file,
        )
        equal(read(file, network, SD1), net)


@pytest.mark.parametrize(("family", "pipeline"), [("sd1", SD1), ("sdxl", SDXL)])
def test_a_controlnet_is_read_as_diffusers_names_it(
    family: str, pipeline: str, tmp_path: Path
) -> None:
    network, net = made(family)
    file = tmp_path / "net.safetensors"
    save_file(net.state_dict(), file)
    found = read(file, network, pipeline)
    equal(found, net)
    names = ("addition_embed_type", "cross_attention_dim", "conditioning_embedding_out_channels")
    assert all(
        found.config[name] == net.config[name] or list(net.config[name]) == found.config[name]
        for name in names
    )


def test_a_smaller_controlnet_leaves_out_attention(tmp_path: Path) -> None:
    network, _ = made("sdxl")
    accepted = {
        **network.config,
        "down_block_types": ["DownBlock2D"] * 3,
        "transformer_layers_per_block": [1, 1, 1],
        "mid_block_type": "UNetMidBlock2D",
        "conditioning_embedding_out_channels": WIDTHS,
    }
    net = ControlNetModel.from_config(accepted)
    file = tmp_path / "net.safetensors"
    save_file(net.state_dict(), file)
    equal(read(file, network, SDXL), net)


def equal(found: torch.nn.Module, expected: torch.nn.Module) -> None:
    ours, theirs = found.state_dict(), expected.state_dict()
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def test_what_does_not_fit_or_is_no_controlnet_says_so(tmp_path: Path) -> None:
    network, net = made("sd1")
    other, _ = made("sdxl")
    file = tmp_path / "net.safetensors"
    save_file(net.state_dict(), file)
    with pytest.raises(
        ModelLoadError, match="does not fit: its cross_attention_dim is 16, the mod"
    ):
        read(file, other, SDXL)
    with pytest.raises(ModelLoadError, match="LDMPipeline takes no ControlNets"):
        read(file, network, "LDMPipeline")
    with pytest.raises(
        ModelLoadError, match=r"net\.safetensors is a ControlNet of a kind that needs"
    ):
        read(file, torch.nn.Linear(1, 1), SD1)
    save_file(net.state_dict() | {"task_embedding": torch.ones(1)}, file)
    with pytest.raises(
        ModelLoadError, match=r"net\.safetensors is a ControlNet of a kind that needs"
    ):
        read(file, network, SD1)
    save_file({"model.diffusion_model.input_blocks.0.0.weight": torch.ones(1, 1, 1, 1)}, file)
    with pytest.raises(ModelLoadError, match=r"net\.safetensors is no ControlNet, but a UNet"):
        read(file, network, SD1)
    half = dict(list(net.state_dict().items())[:-3])
    save_file(half, file)
    assert contents_of(read_header(file)).kind.name == "controlnet"
    with pytest.raises(ModelLoadError, match=r"some weights are missing in net\.safetensors"):
        read(file, network, SD1)
