import pytest
import torch
from diffusers.loaders.lora_conversion_utils import _convert_kohya_flux_lora_to_diffusers

from tests import tiny
from worker.loading.flux_names import flux_names
from worker.loading.layer_names import Layers


def linears(network: torch.nn.Module) -> dict[str, torch.nn.Linear]:
    return {n: m for n, m in network.named_modules() if isinstance(m, torch.nn.Linear)}


def test_published_names_mean_what_diffusers_reads_in_them() -> None:
    """Also which rows are whose, but for `linear1`, of which it knows the full size alone."""
    network = tiny.flux().transformer
    layers = linears(network)
    known = Layers({"transformer": network})
    file = {}
    blocks = [
        name for name, _ in flux_names(layers) if "_blocks." in name and "linear1" not in name
    ]
    for number, name in enumerate(blocks):
        key = f"lora_unet_{name.replace('.', '_')}"
        places = known.find(key)
        rows = sum(layers[place.name].out_features for place in places)
        # A rank that no number of parts divides: diffusers looks for parts within otherwise.
        file[f"{key}.lora_down.weight"] = torch.ones(5, layers[places[0].name].in_features)
        file[f"{key}.lora_up.weight"] = torch.arange(5.0 * rows).reshape(rows, 5) + number
    theirs = _convert_kohya_flux_lora_to_diffusers(dict(file))
    said = {k.removeprefix("transformer."): v for k, v in theirs.items() if "lora_B" in k}
    assert len(blocks) == 12
    read = 0
    for name in blocks:
        key = f"lora_unet_{name.replace('.', '_')}"
        for place in known.find(key):
            up = file[f"{key}.lora_up.weight"]
            rows = place.rows(layers[place.name].weight)
            expected = said[f"{place.name}.lora_B.weight"]
            assert torch.equal(up if rows is None else up[rows], expected)
            read += 1
    assert read == len(said)


def test_the_first_layer_of_a_single_block_is_queries_keys_values_and_more() -> None:
    network = tiny.flux().transformer
    places = Layers({"transformer": network}).find("diffusion_model.single_blocks.0.linear1")
    block = "single_transformer_blocks.0"
    assert [(each.name, each.first, each.of) for each in places] == [
        (f"{block}.attn.to_q", 0, 224),
        (f"{block}.attn.to_k", 32, 224),
        (f"{block}.attn.to_v", 64, 224),
        (f"{block}.proj_mlp", 96, 224),
    ]


def test_layers_outside_of_blocks_have_published_names_too() -> None:
    layers = linears(tiny.flux().transformer)
    named = dict(flux_names(layers))
    assert named["img_in"] == ("x_embedder",)
    assert named["guidance_in.out_layer"] == ("time_text_embed.guidance_embedder.linear_2",)
    assert all(name in layers for names in named.values() for name in names)


@pytest.mark.parametrize("family", ["sd3", "sd35"])
def test_other_transformers_have_none_of_these_names(family: str) -> None:
    assert [*flux_names(linears(tiny.FAMILIES[family]().transformer))] == []
