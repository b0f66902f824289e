from pathlib import Path

import pytest
import torch
from diffusers.models.attention_dispatch import _AttentionBackendRegistry

from darkroom.errors import ModelLoadError
from tests import tiny
from worker.gathering.gather import Gather
from worker.loading import tuning


def test_the_attention_of_one_network_is_chosen_and_of_no_other(tmp_path: Path) -> None:
    before = _AttentionBackendRegistry._active_backend
    model = tiny.load("flux", tmp_path, Gather(), attention="_native_math")
    processors = model.components["transformer"].attn_processors.values()
    assert {each._attention_backend for each in processors} == {"_native_math"}
    assert _AttentionBackendRegistry._active_backend is before
    view = model.view("text-to-image", "FlowMatchEulerDiscreteScheduler")
    with torch.no_grad():
        images = view("a cat", num_inference_steps=1, output_type="pt").images
    assert images.isfinite().all()


@pytest.mark.parametrize(
    ("family", "name", "words"),
    [
        ("flux", "fastest", "none of .*flex.*native.*xformers"),
        ("flux", "flash_hub", "none of "),
        ("flux", "sage", "cannot be used here"),
        ("sd15", "native", "UNet2DConditionModel does not let its attention be chosen"),
    ],
)
def test_attention_that_cannot_be_had_is_a_clear_error(
    family: str, name: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelLoadError, match=words):
        tiny.load(family, tmp_path, Gather(), attention=name)


def test_slicing_and_tiling_of_the_vae_are_switched_on(tmp_path: Path) -> None:
    vae = tiny.load("sd15", tmp_path, Gather(), vae_slicing=True).components["vae"]
    assert (vae.use_slicing, vae.use_tiling) == (True, False)
    vae = tiny.load("sd15", tmp_path, Gather(), vae_tiling=True).components["vae"]
    assert (vae.use_slicing, vae.use_tiling) == (False, True)


def test_a_model_without_such_a_vae_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="vae_tiling: there is no VAE"):
        tiny.load("ldm", tmp_path, Gather(), vae_tiling=True)


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x).relu()


@pytest.fixture
def _fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("_fresh")
def test_what_cannot_be_compiled_runs_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    network, row = Small(), torch.ones(1, 4)
    plain = network(row)
    tuning.compile_network(network)
    assert tuning.compile_fault({"unet": network}) is None
    with torch._inductor.config.patch({"cpp.cxx": ("/no/compiler",)}), torch.no_grad():
        assert torch.equal(network(row), plain)
        assert torch.equal(network(row), plain)
    assert tuning.compile_fault({"unet": network}) is not None


@pytest.mark.long
@pytest.mark.usefixtures("_fresh")
def test_a_compiled_network_computes_the_same_and_still_parks(tmp_path: Path) -> None:
    gather = Gather()
    plain = tiny.load("sd15", tmp_path, Gather()).components["unet"]
    model = tiny.load("sd15", tmp_path, gather, compile=True)
    network = model.components["unet"]
    blocks = [each for each in network.modules() if "forward" in each.__dict__]
    assert {type(each).__name__ for each in blocks} == {
        "UNet2DConditionModel",  # wrapped for parking
        "BasicTransformerBlock",
    }
    inputs = {
        "sample": torch.randn(2, 4, 8, 8),
        "timestep": torch.tensor([3.0, 7.0]),
        "encoder_hidden_states": torch.randn(2, 16, 16),
        "return_dict": False,
    }
    with torch.no_grad():
        expected = plain(**inputs)[0]
        results: list[torch.Tensor] = []
        gather.start(1, lambda: results.append(network(**inputs)[0]))
        assert [call.module_name for call in gather.parked.values()] == ["unet"]
        gather.run(list(gather.parked.values()))
    assert tuning.compile_fault(model.components) is None
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    assert torch.allclose(results[0], expected, atol=1e-5)
