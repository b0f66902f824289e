import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    SD3ControlNetModel,
    StableDiffusion3ControlNetInpaintingPipeline,
    StableDiffusionControlNetPipeline,
)
from PIL import Image
from safetensors.torch import load_file, save_file

from darkroom.errors import UnsupportedError
from darkroom.input_images import IMAGE, MASK
from darkroom.input_images import control as place
from darkroom.request import Inpaint
from tests import tiny
from tests import tiny_adapters as shelf
from tests.adapter_kit import (
    Kit,
    apart,
    asked,
    call,
    control,
    latents,
    loras,
    photo,
)
from worker.gathering.gather import Gather
from worker.loading.vaes import MeanVAE
from worker.making import tasks


def test_a_controlnet_does_what_it_does_in_diffusers(kits: dict[str, Kit]) -> None:
    kit = kits["sd15"]
    request = asked(kit.model, controls=control(scale=0.5), loras=loras(wash=1.0))
    net = tiny.controlnet().from_pretrained(kit.folder / "edges", dtype=torch.float64)
    theirs = StableDiffusionControlNetPipeline.from_pretrained(
        kit.folder / "model", controlnet=net, dtype=torch.float64, safety_checker=None
    )
    theirs.load_lora_weights(kit.folder / "wash")
    theirs.scheduler = kit.model.schedulers.new(request.scheduler)
    theirs.set_progress_bar_config(disable=True)
    image = photo(9).resize((16, 16))
    expected = call(theirs, request, image=image, controlnet_conditioning_scale=0.5)
    assert apart(latents(kit.model, request), expected) < 1e-12


def test_several_controlnets_work_together(tmp_path: Path) -> None:
    sources = [shelf.write_controlnet(tmp_path / name, i) for i, name in enumerate("ab")]
    nets = [{"name": each.name, "source": str(each)} for each in sources]
    model = tiny.load("sd15", tmp_path / "model", Gather(), controlnets=nets)
    request = asked(model, controls=control("b") + control("a"))
    chosen = model.adapters.choose(request)
    parts = chosen.components["controlnet"]
    assert parts == [model.adapters.controlnets[name] for name in "ba"]
    view = model.view(request.task, request.scheduler, adapters=chosen)
    assert list(view.controlnet.nets) == parts


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("family", "cross_attention_dim is 32"),
        ("kind", "SD3ControlNetModel does not work with StableDiffusionPipeline"),
        ("pickle", "could run code"),
        ("missing", "weights are missing"),
        ("more", "initializing ControlNetModel: ['more.weight']"),
        ("infinite", "not finite in float64"),
        ("index", "names 'evil.bin', which could run code"),
        ("file", "some weights are missing in net.safetensors"),
        ("damaged", "damaged"),
        ("nowhere", "is missing: there is no such file or folder"),
        ("no configuration", "config.json"),
    ],
)
def test_a_controlnet_that_cannot_be_used_is_named_and_harms_no_other(
    spoil: str, words: str, kits: dict[str, Kit], tmp_path: Path
) -> None:
    bad = tmp_path / "bad"
    shelf.write_controlnet(bad, 7, **(tiny.SDXL if spoil == "family" else {}))
    weights = bad / "diffusion_pytorch_model.safetensors"
    if spoil == "kind":
        tiny.sd3_controlnet().save_pretrained(bad)
    elif spoil == "pickle":
        torch.save(load_file(weights), weights.with_suffix(".bin"))
        weights.unlink()
    elif spoil == "more":
        save_file(load_file(weights) | {"more.weight": torch.ones(2)}, weights)
    elif spoil == "infinite":
        save_file({k: v / 0 for k, v in load_file(weights).items()}, weights)
    elif spoil == "index":
        index = {"metadata": {}, "weight_map": {"a": "evil.bin"}}
        weights.with_name(f"{weights.name}.index.json").write_text(json.dumps(index))
    elif spoil == "file":
        bad = tmp_path / "net.safetensors"
        save_file({"control_model.a": torch.ones(1)}, bad)
    elif spoil == "missing":
        tensors = load_file(weights)
        tensors.pop(sorted(tensors)[3])
        save_file(tensors, weights, metadata={"format": "pt"})
    elif spoil == "damaged":
        weights.write_bytes(weights.read_bytes()[:500])
    elif spoil == "nowhere":
        bad = tmp_path / "nowhere"
    elif spoil == "no configuration":
        (bad / "config.json").unlink()
    kit = kits["sd15"]
    nets = [
        {"name": "bad", "source": str(bad)},
        {"name": "edges", "source": str(kit.folder / "edges")},
    ]
    model = kit.load(controlnets=nets)
    assert model.record.controlnets == ("edges",)
    assert words in model.record.faults["controlnet:bad"]
    request = asked(model, controls=control())
    assert torch.equal(latents(model, request), latents(kit.model, request))
    with pytest.raises(UnsupportedError, match="cannot be used"):
        model.adapters.choose(asked(model, controls=control("bad")))


def test_one_for_inpainting_is_told_the_picture_and_the_mask(tmp_path: Path) -> None:
    for name, masks in (("fill", 1), ("edges", 0)):
        tiny.sd3_controlnet(extra_conditioning_channels=masks).save_pretrained(tmp_path / name)
    config = tmp_path / "fill" / "config.json"
    said = json.loads(config.read_text())
    del said["extra_conditioning_channels"]  # as it was published
    config.write_text(json.dumps(said))
    nets = [{"name": name, "source": str(tmp_path / name)} for name in ("fill", "edges")]
    model = tiny.load("sd3", tmp_path / "model", Gather(), controlnets=nets)
    assert model.record.controlnets == ("fill", "edges")
    mask = Image.new("L", (32, 16))
    mask.paste(255, (0, 0, 16, 16))
    places = {IMAGE: photo(4).resize((32, 16)), MASK: mask, place(0): photo(5)}

    def inpainted(name: str, count: int = 1) -> tasks.Outcome:
        request = Inpaint(
            task="inpaint",
            model="m",
            prompt="a cat",
            image="",
            mask_image="",
            mask_blur=0,
            width=32,
            height=16,
            num_inference_steps=3,
            guidance_scale=5.0,
            scheduler=model.schedulers.own,
            strength=0.5,
            seed=3,
            num_images=count,
            controls=control(name),
        )
        with torch.no_grad():
            return tasks.run(request, model, places)

    made = inpainted("fill")
    theirs = StableDiffusion3ControlNetInpaintingPipeline.from_pretrained(
        tmp_path / "model",
        controlnet=SD3ControlNetModel.from_pretrained(
            tmp_path / "fill", extra_conditioning_channels=1
        ),
        text_encoder_3=None,
        tokenizer_3=None,
    )
    theirs.vae = MeanVAE(theirs.vae)
    theirs.set_progress_bar_config(disable=True)
    with torch.no_grad():
        [expected] = theirs(
            "a cat",
            control_image=places[IMAGE],
            control_mask=mask,
            width=32,
            height=16,
            num_inference_steps=3,
            guidance_scale=5.0,
            generator=torch.Generator().manual_seed(3),
            output_type="np",
        ).images
    new, old = made.pictures[0].astype(int), np.asarray(places[IMAGE]).astype(int)
    assert np.abs(new - np.round(expected * 255))[:, :16].max() <= 1
    assert (new[:, 16:] == old[:, 16:]).all()
    assert any("strength does nothing" in each for each in made.warnings)
    assert np.abs(inpainted("fill", 2).pictures[0].astype(int) - new).max() <= 1
    with pytest.raises(UnsupportedError, match="'edges' of this model takes no part in inpaint"):
        inpainted("edges")
    with pytest.raises(UnsupportedError, match="'fill' of this model takes part in inpaint alone"):
        model.adapters.choose(asked(model, controls=control("fill")))
