from pathlib import Path

import pytest
import torch

from darkroom.catalog import Catalog
from darkroom.model_card import ModelCard
from tests import tiny
from worker.loading.weights import modules_of, read

CPU = torch.device("cpu")


@pytest.mark.parametrize("family", ["sd15", "sdxl", "sd3"])
def test_each_part_is_told_as_it_is_read(family: str, tmp_path: Path) -> None:
    tiny.write(family, tmp_path)
    card = ModelCard(name="m", source=str(tmp_path))
    shares: list[float] = []
    pipeline, _ = read(card, Catalog([card], "m", tmp_path), CPU, shares.append)
    sizes = [
        sum(tensor.numel() for tensor in (*module.parameters(), *module.buffers()))
        for _, module in modules_of(pipeline.components)
    ]
    assert len(shares) == len(sizes)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    steps = sorted(b - a for a, b in zip([0.0, *shares], shares, strict=False))
    wanted = sorted(size / sum(sizes) for size in sizes)
    assert steps == pytest.approx(wanted, abs=0.02)


def test_shards_are_read_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.sd15().save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list((tmp_path / "unet").glob("*-of-*.safetensors"))) > 2
    card = ModelCard(name="m", source=str(tmp_path), dtype="bfloat16")
    catalog = Catalog([card], "m", tmp_path)
    one, _ = read(card, catalog, CPU)
    monkeypatch.setattr("diffusers.models.modeling_utils.HF_ENABLE_PARALLEL_LOADING", True)
    other, _ = read(card, catalog, CPU)
    weights = other.unet.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in one.unet.state_dict().items())


def test_parts_go_to_the_device_one_by_one(tmp_path: Path) -> None:
    tiny.write("sd15", tmp_path)
    card = ModelCard(name="m", source=str(tmp_path))
    pipeline, _ = read(card, Catalog([card], "m", tmp_path), torch.device("meta"))
    devices = {
        parameter.device.type
        for _, module in modules_of(pipeline.components)
        for parameter in module.parameters()
    }
    assert devices == {"meta"}
