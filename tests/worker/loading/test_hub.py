from pathlib import Path

import pytest

from darkroom.catalog import Catalog
from darkroom.model_card import ModelCard
from worker.loading.hub import repositories


def test_every_source_of_a_card_is_wanted() -> None:
    card = ModelCard(
        name="all",
        source="a/model",
        revision="abc",
        variant="fp16",
        text_encoders=False,
        vae="b/vae",
        safety={"source": "c/checker"},
        controlnets=[{"name": "canny", "source": "d/net", "revision": "def"}],
        loras=[
            {"name": "ink", "source": "e/lora", "weight_name": "ink.safetensors"},
            {"name": "oil", "source": "h/lora"},
        ],
        embeddings=[{"token": "<cat>", "source": "f/cat"}],
        ip_adapter={
            "source": "g/ip",
            "subfolder": "models",
            "weight_name": "ip.safetensors",
            "image_encoder": "models/image_encoder",
        },
    )
    all_ = {
        each.source: each for each in repositories(card, Catalog([card], "all", Path("/nowhere")))
    }
    assert "".join(source[0] for source in all_) == "abcdehfg"
    assert (all_["a/model"].revision, all_["d/net"].revision) == ("abc", "def")
    assert {"text_encoder_3/*", "tokenizer_3/*"} <= set(all_["a/model"].besides)
    assert all_["e/lora"].files == ("ink.safetensors",)
    assert all_["h/lora"].files == ("*.safetensors", "*adapter_config.json")
    assert "models/ip.safetensors" in all_["g/ip"].files
    assert "models/image_encoder/*.safetensors" in all_["g/ip"].files
    patterns = [name for each in all_.values() for name in each.files]
    assert {Path(name).suffix for name in patterns} == {".safetensors", ".json", ".txt", ".model"}


NETWORK, TEXT = "unet/diffusion_pytorch_model{}.safetensors", "text_encoder/model{}.safetensors"
SHARD = "unet/diffusion_pytorch_model{}-00001-of-00002.safetensors"
NOBODYS = (
    "v1-5-pruned.safetensors",
    "unet/diffusion_pytorch_model.bin",
    "safety_checker/model.safetensors",
    "text_encoders/clip_l.safetensors",
)


@pytest.mark.parametrize(
    ("variant", "held", "wanted"),
    [
        (None, [NETWORK, TEXT], [NETWORK.format(""), TEXT.format("")]),
        ("fp16", [NETWORK, TEXT], [NETWORK.format(".fp16"), TEXT.format(".fp16")]),
        ("bf16", [NETWORK, TEXT], [NETWORK.format(""), TEXT.format("")]),
        (None, [SHARD], [SHARD.format("")]),
    ],
)
def test_one_variant_of_each_part_is_wanted(
    variant: str | None, held: list[str], wanted: list[str]
) -> None:
    names = [name.format(kind) for name in held for kind in ("", ".fp16", ".non_ema")]
    assert _wanted([*names, *NOBODYS], variant) == sorted(wanted)


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_a_repository_of_one_variant_needs_no_name_of_it(variant: str | None) -> None:
    half = [name.format(".fp16") for name in (NETWORK, TEXT, SHARD)]
    assert _wanted([*half, *NOBODYS], variant) == sorted(half)
    mixed = [NETWORK.format(".fp16"), TEXT.format("")]
    assert _wanted(mixed, variant) == sorted(mixed)


def _wanted(names: list[str], variant: str | None) -> list[str]:
    card = ModelCard(name="m", source="a/model", variant=variant)
    (model,) = repositories(card, Catalog([card], "m", Path("/nowhere")))
    assert model.wanted(["unet/config.json"]) == ["unet/config.json"]
    return model.wanted(names)
