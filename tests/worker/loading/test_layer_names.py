import pytest
import torch
from diffusers.loaders.lora_conversion_utils import (
    _convert_unet_lora_key,
    _maybe_map_sgm_blocks_to_diffusers,
)

from darkroom.lora_keys import read_keys
from tests import lora_spellings as spellings
from tests import tiny
from worker.loading.layer_names import Layers


def layers(family: str) -> Layers:
    pipeline = tiny.FAMILIES[family]()
    names = pipeline._lora_loadable_modules
    return Layers({name: getattr(pipeline, name) for name in names})


def one(known: Layers, layer: str) -> tuple[str, str]:
    (target,) = known.find(layer)
    assert target.of == 0
    return target.part, target.name


@pytest.mark.parametrize("family", ["sd15", "sdxl", "sd3", "flux"])
@pytest.mark.parametrize(
    "spelling",
    [
        spellings.kohya,
        spellings.peft,
        spellings.peft_default,
        spellings.diffusers,
        spellings.onetrainer,
    ],
)
def test_every_layer_is_known_by_every_name(family: str, spelling: spellings.Spelling) -> None:
    made = spellings.changes(family)
    found = read_keys(spelling(made))
    known = layers(family)
    assert {one(known, layer) for layer in found} == made.keys()
    for layer, said in found.items():
        change = made[one(known, layer)]
        assert said["down"] is change.down
        assert said["up"] is change.up
        assert ("alpha" not in said) == (change.alpha is None)


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_the_names_that_diffusers_used_first_are_known(family: str) -> None:
    made = spellings.changes(family, only=spellings.is_attention)
    found = read_keys(spellings.old_diffusers(made))
    known = layers(family)
    assert {one(known, layer) for layer in found} == made.keys()
    assert sum("alpha" in said for said in found.values()) > len(found) / 2


def test_names_of_the_first_stable_diffusion_are_read_as_diffusers_reads_them() -> None:
    unet = tiny.sdxl().unet
    known = Layers({"unet": unet})
    names = {name for name in known._names["unet"] if name.startswith(("input", "out"))}
    names |= {name for name in known._names["unet"] if name.startswith("middle_block")}
    assert len(names) == sum(
        isinstance(part, torch.nn.Linear | torch.nn.Conv2d) and "_embedding" not in name
        for name, part in unet.named_modules()
    )
    for name in names:
        key = f"lora_unet_{name}.lora_down.weight"
        theirs = _maybe_map_sgm_blocks_to_diffusers({key: torch.zeros(1)}, unet.config)
        read = _convert_unet_lora_key(next(iter(theirs)))
        for old, new in (("processor.", ""), ("to_out_lora", "to_out.0_lora"), ("_lora", ".lora")):
            read = read.replace(old, new)
        assert one(known, f"lora_unet_{name}") == ("unet", read.removesuffix(".lora.down.weight"))
        assert known.find(f"diffusion_model.{name}") == known.find(f"lora_unet_{name}")


def test_a_name_that_two_text_encoders_have_is_neither_s() -> None:
    both, alone = layers("sdxl"), layers("sd15")
    name = "text_model.encoder.layers.0.self_attn.q_proj"
    assert not both.find(name)
    assert alone.find(name)
    assert both.find(f"text_encoder_2.{name}")
    assert not alone.find(f"text_encoder_2.{name}")
