import json
from pathlib import Path

import pytest

from darkroom.catalog import Catalog
from darkroom.model_card import ModelCard
from darkroom.networks import NETWORKS, Network, network_of, stage_of, take_turns
from darkroom.offers import offer


@pytest.fixture
def _prior(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of a name that no pipeline on offer uses."""
    monkeypatch.setitem(NETWORKS, "prior", Network(stage="encode", offload_group="prior"))


@pytest.mark.usefixtures("_prior")
def test_a_row_says_in_which_stage_a_job_is() -> None:
    assert stage_of("prior") == "encode"
    assert (stage_of("unet"), stage_of("vae.decode")) == ("denoise", "decode")
    assert stage_of("vae.encode") is stage_of("text_encoder") is None


@pytest.mark.usefixtures("_prior")
def test_a_row_says_what_stays_on_the_device_beside_it() -> None:
    assert take_turns("unet", "controlnet")
    assert take_turns("prior", "prior")
    assert not take_turns("prior", "unet")
    assert not take_turns("unet", "vae")
    assert not take_turns("text_encoder", "text_encoder_2")


@pytest.mark.usefixtures("_prior")
def test_the_size_is_found_by_the_name_of_the_network(tmp_path: Path) -> None:
    model = {"model_index.json": {"_class_name": "StableDiffusionPipeline"}}
    model["prior/config.json"] = {"sample_size": 24}
    model["vqvae/config.json"] = {"block_out_channels": [8, 16, 16]}
    for name, content in model.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content))
    card = ModelCard(name="m", source=".")
    assert offer(Catalog([card], "m", tmp_path), card, None).width == 24 * 4


def test_a_pipeline_s_network_is_its_main_one() -> None:
    class Pipeline:
        controlnet, unet, transformer = "c", None, "t"

    assert network_of(Pipeline()) == "t"
    assert network_of(object()) is None
