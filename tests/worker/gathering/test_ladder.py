from contextlib import suppress
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL

from tests import tiny, tiny_transformers
from worker.gathering.gather import Call, Gather
from worker.gathering.ladder import RUNGS, Ladder, higher, relief, rungs


@pytest.fixture
def vae() -> AutoencoderKL:
    torch.manual_seed(0)
    return tiny.sd15().vae


def decode(vae: AutoencoderKL, rows: int = 2, side: int = 8) -> Call:
    """A parked call that decodes latents."""
    gather = Gather()
    gather.wrap(vae, "vae")
    gather.start("job", lambda: vae.decode(torch.zeros(rows, 4, side, side)))
    return gather.parked["job"]


def test_the_later_rung_is_the_higher_one() -> None:
    assert higher(None, "vae_tiling") == "vae_tiling"
    assert higher("vae_tiling", "vae_slicing") == "vae_tiling"
    assert higher("smaller_group", "offload") == "offload"
    assert [higher("models_evicted", each) for each in RUNGS[1:]] == list(RUNGS[1:])


def test_what_can_be_tried_depends_on_the_call(vae: AutoencoderKL) -> None:
    parts = {"vae": vae, "unet": tiny.unet(cross_attention_dim=16)}
    assert rungs(decode(vae), parts) == ["vae_slicing", "vae_tiling", "offload"]
    assert rungs(decode(vae, rows=1), parts) == ["vae_tiling", "offload"]
    unet = parts["unet"]
    gather = Gather()
    gather.wrap(unet, "unet")
    gather.start("job", lambda: unet(torch.zeros(2, 4, 8, 8), 5, torch.zeros(2, 7, 16)))
    assert rungs(gather.parked["job"], parts) == ["offload"]


@pytest.mark.parametrize("rung", ["vae_slicing", "vae_tiling", "offload"])
def test_everything_is_put_back_after_a_rung(vae: AutoencoderKL, rung: str) -> None:
    names = ("use_slicing", "use_tiling", "tile_latent_min_size", "tile_sample_min_size")

    def settings() -> list[Any]:
        return [getattr(vae, name) for name in names]

    unet = tiny.unet(cross_attention_dim=16)
    weights = {name: each.clone() for name, each in unet.state_dict().items()}
    before, call = settings(), decode(vae)
    with suppress(torch.OutOfMemoryError), relief(rung, call, {"vae": vae, "unet": unet}):
        assert settings() != before
        raise torch.OutOfMemoryError("not enough yet")
    assert settings() == before
    assert all(torch.equal(each, weights[name]) for name, each in unet.state_dict().items())


def test_what_helped_is_remembered_by_model_and_size(vae: AutoencoderKL) -> None:
    ladder, call = Ladder(), decode(vae)
    ladder.remember(call, "one", "vae_tiling")
    assert ladder.remembered(decode(vae), "one") == "vae_tiling"
    assert ladder.remembered(decode(vae, side=4), "one") is None
    assert ladder.remembered(call, "other") is None


def test_sizes_in_lists_are_told_apart() -> None:
    network = tiny_transformers.made("z-image")
    gather, ladder = Gather(), Ladder()
    gather.wrap(network, "transformer")
    for side in (8, 16):
        latents = [torch.zeros(4, 1, side, side)]
        arguments = {"t": torch.zeros(1), "cap_feats": [torch.zeros(3, tiny_transformers.TEXT)]}
        gather.start(side, lambda x=latents, rest=arguments: network(x=x, **rest))
    ladder.remember(gather.parked[16], "z-image", "offload")
    assert ladder.remembered(gather.parked[16], "z-image") == "offload"
    assert ladder.remembered(gather.parked[8], "z-image") is None
