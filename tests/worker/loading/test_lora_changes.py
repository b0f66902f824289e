import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from darkroom.errors import ModelLoadError
from darkroom.lora_keys import read_keys
from tests import tiny
from worker.loading.adapted_layers import Change
from worker.loading.layer_names import Layers, Target
from worker.loading.lora_changes import changes, settings_of

LINEAR = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
CONV, POINT = "down_blocks.1.resnets.0.conv1", "down_blocks.1.attentions.0.proj_in"


@pytest.fixture(scope="module")
def layers() -> Layers:
    return Layers({"unet": tiny.sd15().unet})


def change(
    layers: Layers, down: Any, up: Any, alpha: Any = None, *, name: str = LINEAR, **told: Any
) -> Change:
    """The change of one layer of which a file says this."""
    tensors = {f"unet.{name}.lora_A.weight": down, f"unet.{name}.lora_B.weight": up}
    if alpha is not None:
        tensors[f"unet.{name}.alpha"] = alpha
    found = changes(read_keys(tensors), layers, {"unet": told} if told else {})
    assert [*found] == ["unet"]
    return found["unet"][name]


def sides(rank: int = 4, **of: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.ones(rank, 16, **of), torch.ones(32, rank, **of)


@pytest.mark.parametrize(
    ("alpha", "read"),
    [
        (None, 4.0),
        (torch.tensor(2.0), 2.0),
        (torch.tensor([2.0]), 2.0),
        (torch.tensor([[2.0]]), 2.0),
        (torch.tensor(2), 2.0),
        (torch.tensor(2.0, dtype=torch.float16), 2.0),
        (torch.tensor(2.0, dtype=torch.bfloat16), 2.0),
        (torch.tensor(-1.0), -1.0),
    ],
)
def test_alpha_is_one_number_in_whatever_shape_and_else_the_rank(
    alpha: torch.Tensor | None, read: float, layers: Layers
) -> None:
    made = change(layers, *sides(), alpha)
    assert (made.strength, made.down.shape[0]) == (read / 4, 4)


@pytest.mark.parametrize(
    ("alpha", "words"),
    [
        (torch.tensor(0.0), "has alpha 0, which some programs read as no effect"),
        (torch.tensor(0), "has alpha 0"),
        (torch.tensor(float("nan")), "has nan as its alpha"),
        (torch.tensor(float("inf")), "has inf as its alpha"),
        (torch.ones(2), "has 2 numbers as its alpha"),
        (torch.ones(0), "has 0 numbers as its alpha"),
    ],
)
def test_an_alpha_that_could_mean_anything_is_refused(
    alpha: torch.Tensor, words: str, layers: Layers
) -> None:
    with pytest.raises(ModelLoadError, match=rf"unet\.{LINEAR} {words}"):
        change(layers, *sides(), alpha)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float32])
def test_factors_become_what_the_layer_is(dtype: torch.dtype, layers: Layers) -> None:
    made = change(layers, *sides(dtype=dtype))
    assert (made.down.dtype, made.up.dtype) == (torch.float32, torch.float32)
    assert torch.equal(made.down, torch.ones(4, 16))


@pytest.mark.parametrize(
    ("name", "down", "up"),
    [
        (LINEAR, (2, 16, 1, 1), (32, 2, 1, 1)),
        (POINT, (2, 32), (32, 2)),
        (POINT, (2, 32, 1, 1), (32, 2, 1, 1)),
        (CONV, (2, 16, 3, 3), (32, 2, 1, 1)),
        (CONV, (2, 16, 3, 3), (32, 2)),
    ],
)
def test_a_convolution_of_one_pixel_is_a_linear_layer(
    name: str, down: tuple[int, ...], up: tuple[int, ...], layers: Layers
) -> None:
    made = change(layers, torch.ones(down), torch.ones(up), name=name)
    out, into, *kernel = layers.weight(Target("unet", name)).shape
    assert made.down.shape == (2, into, *kernel)
    assert made.up.shape == (out, 2, *[1] * len(kernel))


@pytest.mark.parametrize(
    ("down", "up", "words"),
    [
        (torch.ones(4, 20), torch.ones(32, 4), "another shape: .* 4 x 20 where .* needs 4 x 16"),
        (torch.ones(4, 16), torch.ones(31, 4), "31 x 4 where the model needs 32 x 4"),
        (torch.ones(32, 4), torch.ones(4, 16), "does not fit: weights of another shape"),
        (torch.ones(4, 16), torch.ones(32, 3), "32 x 3 where the model needs 32 x 4"),
        (torch.ones(4), torch.ones(32, 4), "has 4 where the model needs 4 x 16"),
        (torch.tensor(1.0), torch.ones(32, 4), "has rank 0"),
        (torch.ones(4, 16, 3, 3), torch.ones(32, 4, 1, 1), "4 x 16 x 3 x 3 where"),
        (torch.ones(0, 16), torch.ones(32, 0), "has rank 0, and changes nothing"),
        (torch.ones(4, 16, dtype=torch.int8), torch.ones(32, 4), "no floating-point numbers"),
        (torch.full((4, 16), torch.nan), torch.ones(32, 4), "not finite in float32"),
        (torch.ones(4, 16), torch.full((32, 4), 1e300, dtype=torch.float64), "not finite in flo"),
    ],
)
def test_factors_that_do_not_fit_are_refused(
    down: torch.Tensor, up: torch.Tensor, words: str, layers: Layers
) -> None:
    with pytest.raises(ModelLoadError, match=words):
        change(layers, down, up)


def test_a_wrong_width_says_whose_it_is(layers: Layers) -> None:
    with pytest.raises(ModelLoadError, match=r"embeddings have 768 numbers \(Stable Diffusion 1\)"):
        change(layers, torch.ones(4, 768), torch.ones(32, 4))


@pytest.mark.parametrize(
    ("told", "alpha"),
    [
        ({"r": 4, "lora_alpha": 8}, 8),
        ({"r": 4, "lora_alpha": 8, "alpha_pattern": {"attn2.to_k": 2}}, 2),
        ({"r": 4, "lora_alpha": 8, "alpha_pattern": {f"^{LINEAR}": 2}}, 2),
        ({"r": 4, "lora_alpha": 8, "alpha_pattern": {"2.to_k": 2, "to_q": 3}}, 8),
        ({"r": 16, "lora_alpha": 8, "rank_pattern": {"to_k": 4}}, 8),
        ({"r": 4, "lora_alpha": 8, "use_rslora": True}, 16),
        ({"lora_alpha": 8}, 8),
        ({"target_modules": ["to_k"]}, 4),
    ],
)
def test_settings_of_diffusers_and_peft_say_alpha_too(
    told: dict[str, Any], alpha: float, layers: Layers
) -> None:
    assert change(layers, *sides(), **told).strength == alpha / 4
    assert change(layers, *sides(), torch.tensor(2.0), **told).strength == 2 / 4


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"r": 8, "lora_alpha": 8}, "has rank 4, and by its settings 8"),
        ({"lora_alpha": "8"}, "no number"),
        ({"lora_alpha": True}, "no number"),
        ({"lora_alpha": [8]}, "no number"),
        ({"lora_alpha": 8, "alpha_pattern": [1]}, "no table"),
        ({"lora_alpha": 0}, "has alpha 0"),
        ({"lora_alpha": 8, "use_dora": True}, "DoRA by its settings"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    told: dict[str, Any], words: str, layers: Layers
) -> None:
    with pytest.raises(ModelLoadError, match=words):
        change(layers, *sides(), **told)


def test_a_layer_under_two_names_is_one_if_both_say_the_same(layers: Layers) -> None:
    down, up = sides()
    kohya = f"lora_unet_{LINEAR.replace('.', '_')}"
    both = {
        f"{LINEAR}.lora_A.weight": down,
        f"{LINEAR}.lora_B.weight": up,
        f"{kohya}.lora_down.weight": down,
        f"{kohya}.lora_up.weight": up,
    }
    assert [*changes(read_keys(both), layers, {})["unet"]] == [LINEAR]
    with pytest.raises(ModelLoadError, match="says twice"):
        changes(read_keys(both | {f"{kohya}.lora_up.weight": up * 2}), layers, {})


def test_settings_lie_in_the_file_or_beside_it(tmp_path: Path) -> None:
    tensors, written = {"a": torch.ones(1)}, {"unet.r": 4, "text_encoder.alpha_pattern": {"a.b": 1}}
    file = tmp_path / "adapter_model.safetensors"
    save_file(tensors, file, metadata={"lora_adapter_metadata": json.dumps(written)})
    assert settings_of(file) == {"unet": {"r": 4}, "text_encoder": {"alpha_pattern": {"a.b": 1}}}
    save_file(tensors, file)
    assert settings_of(file) == {}
    (tmp_path / "adapter_config.json").write_text('{"r": 4, "lora_alpha": 8}')
    assert settings_of(file) == {"": {"r": 4, "lora_alpha": 8}}
    save_file(tensors, tmp_path / "other.safetensors")
    assert settings_of(tmp_path / "other.safetensors") == {}


@pytest.mark.parametrize("written", ["{", "[1]", "[" * 100_000])
def test_damaged_settings_are_told(written: str, tmp_path: Path) -> None:
    file = tmp_path / "ink.safetensors"
    save_file({"a": torch.ones(1)}, file, metadata={"lora_adapter_metadata": written})
    with pytest.raises(ModelLoadError, match=r"settings .* are damaged"):
        settings_of(file)
