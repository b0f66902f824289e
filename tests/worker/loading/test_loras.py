import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline
from safetensors.torch import load_file

from darkroom.catalog import Catalog
from darkroom.errors import UnsupportedError
from darkroom.model_card import ModelCard
from darkroom.request import Request
from darkroom.tasks import TASKS
from tests import lora_spellings as spellings
from tests import lycoris, tiny
from tests import tiny_adapters as shelf
from tests.adapter_kit import (
    Kit,
    apart,
    asked,
    call,
    latents,
    lora,
    loras,
    making,
    save,
)
from tests.gathering import run_all, values
from worker.gathering.gather import Gather
from worker.loading import adapter_files
from worker.making import tasks


def test_a_lora_named_twice_counts_twice(kits: dict[str, Kit]) -> None:
    model = kits["sd15"].model
    twice = asked(model, loras=loras(ink=0.25) * 2)
    assert torch.equal(latents(model, twice), latents(model, asked(model, loras=loras(ink=0.5))))


@pytest.mark.parametrize(
    ("family", "spelling", "parts"),
    [
        ("sd15", spellings.kohya, ()),
        ("sdxl", spellings.kohya, ()),
        ("sdxl", spellings.peft, ()),
        ("sd3", spellings.peft_default, ()),
        ("flux", spellings.diffusers, ()),
        ("flux", spellings.onetrainer, ()),
        ("sd15", spellings.peft_bare, ("unet",)),
        ("sdxl", spellings.kohya, ("text_encoder_2",)),
        ("sd15", spellings.kohya, ("text_encoder",)),
    ],
)
def test_each_layer_works_at_its_own_alpha_divided_by_its_own_rank(
    family: str, spelling: spellings.Spelling, parts: tuple[str, ...], tmp_path: Path
) -> None:
    made = spellings.changes(family, *parts)
    card = [lora(save(tmp_path / "ink", spelling(made)), "ink")]
    model = tiny.load(family, tmp_path / "model", Gather(), dtype="float64", loras=card)
    assert model.record.faults == {}
    merged = tiny.load(
        family, spellings.merge(family, made, tmp_path / "merged"), Gather(), dtype="float64"
    )
    own = {"scheduler": model.schedulers.own}
    changed = latents(model, asked(model, **own, loras=loras(ink=1.0)))
    assert apart(changed, latents(merged, asked(merged, **own))) < 1e-5  # saved in float32
    assert apart(changed, latents(model, asked(model, **own))) > 1e-2


def test_a_lora_in_memory_stays_as_it_is_when_another_is_copied_over_its_file(
    tmp_path: Path,
) -> None:
    card = [lora(shelf.write_lora("sd15", tmp_path / "ink", 1), "ink")]
    model = tiny.load("sd15", tmp_path / "model", Gather(), loras=card)
    request = asked(model, loras=loras(ink=1.0))
    before = latents(model, request)
    shelf.write_lora("sdxl", tmp_path / "other", 2)
    shutil.copy(tmp_path / "other" / shelf.LORA, tmp_path / "ink" / shelf.LORA)
    assert torch.equal(latents(model, request), before)


def of_sdxl(_: Path, bad: Path) -> None:
    shelf.write_lora("sdxl", bad, 7)


def of_another_shape_in_the_text_encoder(good: Path, bad: Path) -> None:
    tensors = load_file(good / shelf.LORA)
    name = next(k for k in tensors if k.startswith("text_encoder") and "down" in k)
    save(bad, tensors | {name: torch.zeros(tensors[name].shape[0], 20)})


def for_layers_that_are_not_there(good: Path, bad: Path) -> None:
    tensors = load_file(good / shelf.LORA)
    save(bad, {k.replace("down_blocks.1", "down_blocks.7"): v for k, v in tensors.items()})


def for_text_layers_that_are_not_there(good: Path, bad: Path) -> None:
    tensors = load_file(good / shelf.LORA)
    save(bad, {k.replace("encoder.layers.1.", "encoder.layers.7."): v for k, v in tensors.items()})


def of_another_kind(good: Path, bad: Path) -> None:
    tensors = load_file(good / shelf.LORA)
    name = next(k for k in tensors if k.startswith("unet")).split(".lora")[0]
    save(bad, tensors | {f"{name}.oft_blocks": torch.ones(16, 1)})


def for_nothing(_: Path, bad: Path) -> None:
    save(bad, {"other.lora_A.weight": torch.zeros(2, 2), "other.lora_B.weight": torch.zeros(2, 2)})


def with_half_missing(good: Path, bad: Path) -> None:
    tensors = load_file(good / shelf.LORA)
    name = next(k for k in tensors if k.startswith("unet") and "up.weight" in k)
    save(bad, {k: v for k, v in tensors.items() if k != name})


def with_half_missing_in_the_text_encoder(good: Path, bad: Path) -> None:
    tensors = load_file(good / shelf.LORA)
    name = next(k for k in tensors if k.startswith("text_encoder") and "up.weight" in k)
    save(bad, {k: v for k, v in tensors.items() if k != name})


def without_loras(_: Path, bad: Path) -> None:
    save(bad, {"unet.conv_in.weight": torch.zeros(2, 2)})


def cut_off(good: Path, bad: Path) -> None:
    content = (good / shelf.LORA).read_bytes()
    bad.mkdir()
    (bad / shelf.LORA).write_bytes(content[: len(content) // 2])


def pickled(good: Path, bad: Path) -> None:
    bad.mkdir()
    torch.save(load_file(good / shelf.LORA), bad / "pytorch_lora_weights.bin")


def pickled_in_disguise(good: Path, bad: Path) -> None:
    bad.mkdir()
    torch.save(load_file(good / shelf.LORA), bad / shelf.LORA)


def empty(_: Path, bad: Path) -> None:
    bad.mkdir()


def of_two_files(_: Path, bad: Path) -> None:
    for name in ("one.safetensors", "two.safetensors"):
        save(bad, {"other.lora_A.weight": torch.zeros(2, 2)}, name)


def nowhere(_: Path, __: Path) -> None:
    pass


FAULTS = [
    (of_sdxl, "made for a model whose text embeddings have 32 numbers, not 16"),
    (of_another_shape_in_the_text_encoder, "does not fit: weights of another shape"),
    (for_layers_that_are_not_there, "belong to no layer"),
    (for_text_layers_that_are_not_there, "belong to no layer"),
    (of_another_kind, "is an OFT"),
    (for_nothing, "none of its weights belongs to a layer"),
    (with_half_missing, "some of its weights are missing"),
    (with_half_missing_in_the_text_encoder, "some of its weights are missing"),
    (without_loras, "is no LoRA: it holds unet.conv_in.weight"),
    (cut_off, "damaged"),
    (pickled, "pytorch_lora_weights.bin could run code"),
    (pickled_in_disguise, "is no LoRA, but a zip archive, as torch.save writes pickles"),
    (empty, "holds no safetensors file"),
    (of_two_files, "name one: weight_name"),
    (nowhere, "is missing: there is no such file or folder"),
]


@pytest.mark.parametrize(
    ("spoil", "words"), FAULTS, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_lora_that_cannot_be_used_is_named_and_harms_no_other(
    spoil: Callable[[Path, Path], None],
    words: str,
    kits: dict[str, Kit],
    tmp_path: Path,
) -> None:
    kit = kits["sd15"]
    spoil(kit.folder / "ink", tmp_path / "bad")
    card = {
        "loras": [
            lora(kit.folder / "ink", "ink"),
            lora(tmp_path / "bad", "bad"),
            lora(kit.folder / "oil", "oil"),
        ]
    }
    model = kit.load(**card)
    assert model.record.loras == ("ink", "oil")
    assert list(model.record.faults) == ["lora:bad"]
    assert words in model.record.faults["lora:bad"]
    request = asked(model, loras=loras(ink=1.0, oil=0.5))
    assert torch.equal(latents(model, request), latents(kit.model, request))
    assert torch.equal(latents(model, asked(model)), latents(kit.plain, asked(kit.plain)))
    with pytest.raises(UnsupportedError, match="cannot be used"):
        model.adapters.choose(asked(model, loras=loras(bad=1.0)))


def test_a_model_of_which_no_lora_can_be_used_is_a_plain_one(
    kits: dict[str, Kit], tmp_path: Path
) -> None:
    folder = kits["sd15"].folder
    shelf.write_lora("sdxl", tmp_path, 7)
    model = tiny.load("sd15", folder / "model", Gather(), loras=[lora(tmp_path, "bad")])
    assert (model.adapters.modules, model.record.loras) == ([], ())


def test_loras_and_boxes_work_together(tmp_path: Path) -> None:
    source = shelf.write_lora("sd15", tmp_path / "ink", 1)
    gather = Gather()
    model = tiny.load(
        "gligen", tmp_path / "model", gather, dtype="float64", loras=[lora(source, "ink")]
    )
    assert model.record.faults == {}
    ink, box = loras(ink=0.5), {"phrase": "a hat", "box": (0.0, 0.0, 0.5, 0.5)}
    values_of = asked(model, num_inference_steps=4).model_dump(exclude={"controls", "hires"})
    layout = values_of | {"task": "layout-to-image", "regions": [box]}
    wanted = [
        TASKS["text-to-image"].request(**values_of),
        TASKS["text-to-image"].request(**values_of | {"loras": ink}),
        TASKS["layout-to-image"].request(**layout),
        TASKS["layout-to-image"].request(**layout | {"loras": ink}),
        TASKS["layout-to-image"].request(**layout | {"loras": ink, "seed": 2}),
    ]

    def job(request: Request) -> np.ndarray:
        with torch.no_grad():
            return tasks.run(request, model, {}).pictures[0].astype(int)

    alone = [job(request) for request in wanted]
    jobs = {index: lambda r=request: job(r) for index, request in enumerate(wanted)}
    together = values(run_all(gather, jobs))
    assert max(np.abs(together[i] - alone[i]).max() for i in together) <= 1
    assert len({picture.tobytes() for picture in alone}) == len(wanted)
    assert gather.joined_calls >= 1


def test_sd3_takes_loras_too(tmp_path: Path) -> None:
    source = shelf.write_lora("sd3", tmp_path / "ink", 1)
    gather = Gather()
    model = tiny.load(
        "sd3", tmp_path / "model", gather, dtype="float64", loras=[lora(source, "ink")]
    )
    assert model.record.faults == {}
    scheduler = {"scheduler": model.schedulers.own}
    wanted = [
        asked(model, **scheduler),
        asked(model, **scheduler, loras=loras(ink=1.0)),
        asked(model, **scheduler, loras=loras(ink=1.0), seed=2),
    ]
    alone = [latents(model, request) for request in wanted]
    together = values(run_all(gather, {i: making(model, r) for i, r in enumerate(wanted)}))
    assert max(apart(together[i], alone[i]) for i in together) < 1e-9
    assert apart(alone[1], alone[0]) > 1e-3
    assert gather.joined_calls == 2


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_other_kinds_make_what_their_merged_weights_make(family: str, tmp_path: Path) -> None:
    """All of them in one file, on every layer, joined with other jobs."""
    tensors = merge_into(family, tmp_path / "merged", scale := 0.05)
    card = [lora(save(tmp_path / "ink", tensors), "ink")]
    gather = Gather()
    model = tiny.load(family, tmp_path / "model", gather, dtype="float64", loras=card)
    assert model.record.faults == {}
    merged = tiny.load(family, tmp_path / "merged", Gather(), dtype="float64")
    own = {"scheduler": model.schedulers.own}
    wanted = [asked(model, **own, seed=seed, loras=loras(ink=scale)) for seed in (1, 2)]
    wanted.append(asked(model, **own))
    together = values(run_all(gather, {i: making(model, r) for i, r in enumerate(wanted)}))
    for index in (0, 1):
        expected = latents(merged, asked(merged, **own, seed=index + 1))
        assert apart(together[index], expected) < 1e-9
    assert apart(together[0], together[2]) > 1e-2
    assert gather.joined_calls >= 2  # of the two that work with it, at both steps


def merge_into(family: str, folder: Path, scale: float) -> dict[str, torch.Tensor]:
    """The model with changes of all kinds in its weights, at `scale`; these as a file has them."""
    pipeline = tiny.FAMILIES[family]().to(torch.float64)
    draw, tensors = np.random.default_rng(2), {}
    for part in pipeline._lora_loadable_modules[::-1]:
        prefix = "lora_te1" if part == "text_encoder" else "lora_unet"
        for name, layer in getattr(pipeline, part).named_modules():
            if not isinstance(layer, torch.nn.Linear | torch.nn.Conv2d):
                continue
            kinds = lycoris.OF_ALL if layer.bias is not None else lycoris.OF_ALL[:4]
            weight = layer.weight.detach().numpy()
            written = kinds[len(tensors) % len(kinds)](weight, draw)
            tensors |= written.tensors(f"{prefix}_{name.replace('.', '_')}")
            with torch.no_grad():
                layer.weight += scale * (torch.from_numpy(written.weight) - layer.weight)
                if layer.bias is not None:
                    layer.bias += scale * torch.as_tensor(written.bias)
    pipeline.save_pretrained(folder, safe_serialization=True)
    return tensors


def test_a_dora_of_peft_is_what_diffusers_makes_of_it(tmp_path: Path) -> None:
    """Of the network: diffusers does not read the lengths that one has for text encoders."""
    shelf.write_lora("sd15", tmp_path / "ink", 1, dora=True, text=False)
    card = [lora(tmp_path / "ink", "ink")]
    model = tiny.load("sd15", tmp_path / "model", Gather(), dtype="float64", loras=card)
    assert model.record.faults == {}
    request = asked(model, loras=loras(ink=1.0))
    theirs = DiffusionPipeline.from_pretrained(tmp_path / "model", dtype=torch.float64)
    theirs.load_lora_weights(tmp_path / "ink")
    theirs.to(torch.float64)
    theirs.scheduler = model.schedulers.new(request.scheduler)
    theirs.set_progress_bar_config(disable=True)
    made = latents(model, request)
    assert apart(made, call(theirs, request)) < 1e-9
    assert apart(made, latents(model, asked(model))) > 1e-2


@pytest.mark.parametrize("way", ["kohya", "comfy"])
def test_names_that_flux_was_published_with_are_read(way: str, tmp_path: Path) -> None:
    """Its attention has one layer where diffusers has three."""
    draw = torch.Generator().manual_seed(1)
    down = torch.randn(3, 32, generator=draw) * 0.3
    up = torch.randn(96, 3, generator=draw) * 0.3
    layer = "diffusion_model.double_blocks.0.img_attn.qkv"
    said = {f"{layer}.lora_A.weight": down, f"{layer}.lora_B.weight": up}
    if way == "kohya":
        layer = "lora_unet_double_blocks_0_img_attn_qkv"
        said = {f"{layer}.lora_down.weight": down, f"{layer}.lora_up.weight": up}
    said[f"{layer}.alpha"] = torch.tensor(1.5)
    card = [lora(save(tmp_path / "ink", said), "ink")]
    model = tiny.load("flux", tmp_path / "model", Gather(), loras=card)
    assert model.record.faults == {}
    attention = model.adapters.adapted["transformer"].transformer_blocks[0].attn
    for part, wanted in zip(("to_q", "to_k", "to_v"), (up @ down * 0.5).chunk(3), strict=True):
        layer = getattr(attention, part)
        got = layer.changes["lora0"].delta(layer.weight)
        assert torch.allclose(got, wanted, atol=1e-6)


def test_what_was_refused_is_not_looked_at_again_until_it_changes(tmp_path: Path) -> None:
    tensors = {"lora_unet_conv_in.hada_w1_a": torch.ones(1)}
    file = save(tmp_path / "bad", tensors) / shelf.LORA
    tiny.write("sd15", tmp_path / "model")
    card = ModelCard(name="m", source="model", loras=[lora(tmp_path / "bad", "bad")])
    catalog, refused = Catalog([card], "m", tmp_path), {}

    def fault() -> str:
        pipeline = StableDiffusionPipeline.from_pretrained(tmp_path / "model")
        return adapter_files.load(card, catalog, pipeline, refused).faults["lora:bad"]

    assert "missing: a part of lora_unet_conv_in" in fault()
    told, (state, _) = next(iter(refused.items()))
    refused[told] = state, "is as it was"
    assert fault().endswith("bad: is as it was")
    os.utime(file, ns=(1, 1))
    assert "missing: a part of lora_unet_conv_in" in fault()


def test_a_lora_that_changes_the_model_itself_is_refused(tmp_path: Path) -> None:
    """diffusers widens Flux's first layer for some, and all jobs would have it."""
    embedder = tiny.flux().transformer.x_embedder
    width, made = embedder.in_features, embedder.out_features
    for name, wide in (("control", 2 * width), ("ink", width)):
        layer = "transformer.x_embedder.lora"
        sides = {
            f"{layer}_A.weight": torch.randn(4, wide),
            f"{layer}_B.weight": torch.randn(made, 4),
        }
        save(tmp_path / name, sides)
    cards = [lora(tmp_path / name, name) for name in ("control", "ink")]
    model = tiny.load("flux", tmp_path / "model", Gather(), loras=cards)
    assert "does not fit: weights of another shape" in model.record.faults["lora:control"]
    assert model.record.loras == ("ink",)
    assert model.adapters.adapted["transformer"].x_embedder.in_features == width
