"""Files in the layouts that people have, added by command to a running Darkroom and used over HTTP,
against plain diffusers with the same files."""

import base64
import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, EulerDiscreteScheduler
from PIL import Image
from safetensors.torch import save_file

from tests import checkpoints, lora_spellings, tiny, tiny_adapters, transformer_files
from tests.deployment import Deployment
from tests.lora_spellings import Change
from tests.running import darkroom

SIZE, STEPS, GUIDANCE, SEED = 64, 3, 5.0, 3
ASKED = {"prompt": "a cat", "num_inference_steps": STEPS, "guidance_scale": GUIDANCE}
CHECKPOINTS = ("sd1", "sd1-inpaint", "sdxl", "sdxl-refiner")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files and folders, and a models.toml that lists none of them but one."""
    folder = tmp_path_factory.mktemp("own")
    for family in CHECKPOINTS:
        model, _ = checkpoints.write(family, folder)
        without = shutil.ignore_patterns("*.safetensors")
        shutil.copytree(model, folder / f"{family}-config", ignore=without)
    for family in ("flux", "sd15"):
        tiny.write(family, folder / family)
    pipeline = tiny.sd3()
    pipeline.save_pretrained(folder / "sd3", safe_serialization=True)
    save_file(transformer_files.sd3(pipeline.transformer.state_dict()), folder / "net.safetensors")
    torch.manual_seed(7)
    for parameter in pipeline.transformer.parameters():
        torch.nn.init.normal_(parameter)
    pipeline.save_pretrained(folder / "sd3-other", safe_serialization=True)
    (folder / "models.toml").write_text('[[models]]\nname = "sd1-folder"\nsource = "sd1"\n')
    return folder


@pytest.fixture(scope="module")
def house(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with Deployment(tmp_path_factory.mktemp("house"), folder / "models.toml") as house:
        house.start_api()
        house.start_worker()
        yield house


def add(house: Deployment, folder: Path, file: str, *options: str) -> None:
    """As people type it; then the card's limits are lowered to what tiny models can make, and all
    processes have read the file once they know a model that was listed last."""
    models = folder / "models.toml"
    done = darkroom("models", "add", folder / file, "--models", models, *options)
    assert done.returncode == 0, done.stderr
    text = re.sub(r"min_size = \d+", "min_size = 8", models.read_text())
    mark = f"mark-{len(text)}"
    models.write_text(f'{text}\n[[models]]\nname = "{mark}"\nsource = "{mark}"\n')
    house.until(lambda: mark in house.worker("worker")["serves"], "the worker has read it")
    known = f"/api/v1/models/{mark}"
    house.until(lambda: house.http.get(known).status_code == 200, "the API has read it")


def picture(house: Deployment, model: str, **more: Any) -> np.ndarray:
    body = {"model": model, "seed": SEED, "width": SIZE, "height": SIZE, **ASKED, **more}
    job = house.finished(house.submit(**body)["id"])
    assert job["status"] == "succeeded", job["error"]
    data = house.http.get(job["images"][0]["url"]).raise_for_status().content
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def by_hand(pipeline: DiffusionPipeline, **more: Any) -> np.ndarray:
    """What plain diffusers makes of the same request."""
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(SEED)
    asked = {"width": SIZE, "height": SIZE, "output_type": "np", **ASKED, **more}
    with torch.no_grad():
        made = pipeline(**asked, generator=generator).images[0]
    return np.round(made * 255).astype(int)


def same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and np.abs(one - other).max() <= 1


def encoded(mode: str, pattern: Image.Image) -> str:
    file = io.BytesIO()
    pattern.resize((SIZE, SIZE)).convert(mode).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.long
def test_checkpoints_make_what_their_folders_make(house: Deployment, folder: Path) -> None:
    begun = encoded("RGB", Image.radial_gradient("L"))
    painted = {"image": begun, "mask_image": encoded("L", Image.linear_gradient("L"))}
    asked = {"sd1-inpaint": painted, "sdxl-refiner": {"image": begun, "strength": 0.8}}
    for family in CHECKPOINTS:
        base = ("--base", str(folder / f"{family}-config"))
        add(house, folder, f"{family}.safetensors", "--name", f"{family}-file", *base)
        more = asked.get(family, {})
        made = picture(house, f"{family}-file", **more)
        if family != "sd1":
            add(house, folder, family, "--name", f"{family}-folder")
        assert (made == picture(house, f"{family}-folder", **more)).all(), family
        if not more:
            assert same(made, by_hand(DiffusionPipeline.from_pretrained(folder / family))), family


@pytest.mark.long
def test_a_transformer_works_over_a_folder(house: Deployment, folder: Path) -> None:
    add(house, folder, "net.safetensors", "--base", str(folder / "sd3-other"))
    own = DiffusionPipeline.from_pretrained(folder / "sd3", text_encoder_3=None, tokenizer_3=None)
    assert same(picture(house, "net"), by_hand(own))


@pytest.mark.long
def test_a_vae_and_an_embedding_join_a_model(house: Deployment, folder: Path) -> None:
    shutil.copytree(folder / "sd1", folder / "dressed")
    add(house, folder, "dressed")
    before = picture(house, "dressed")
    torch.manual_seed(11)
    own = DiffusionPipeline.from_pretrained(folder / "sd1")
    for parameter in own.vae.decoder.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    save_file(
        {k: v.contiguous() for k, v in checkpoints.vae(own.vae).items()}, folder / "vae.safetensors"
    )
    add(house, folder, "vae.safetensors", "--to", "dressed")
    made = picture(house, "dressed")
    assert same(made, by_hand(own))
    assert not same(made, before)
    word = tiny_adapters.write_embedding("sd15", folder / "word", 5) / tiny_adapters.EMBEDDING
    add(house, folder, str(word.relative_to(folder)), "--to", "dressed", "--name", "wordy")
    own.load_textual_inversion(str(word), token="wordy")
    asked = {"prompt": "a wordy cat"}
    assert same(picture(house, "dressed", **asked), by_hand(own, **asked))
    assert not same(by_hand(own, **asked), by_hand(own))


@pytest.mark.long
@pytest.mark.parametrize("spelling", ["kohya", "peft"])
def test_a_lora_makes_what_it_makes_in_diffusers(
    spelling: str, house: Deployment, folder: Path
) -> None:
    drawn = lora_spellings.changes("sd15", "unet", only=lora_spellings.is_attention)
    # Where layers differ in rank or alpha, diffusers loses some of it.
    alpha = 0.5 if spelling == "kohya" else None
    drawn = {
        where: Change(each.down[:1].contiguous(), each.up[:, :1].contiguous(), alpha)
        for where, each in drawn.items()
    }
    file = folder / f"{spelling}.safetensors"
    save_file(getattr(lora_spellings, spelling)(drawn), file)
    add(house, folder, "sd15")
    add(house, folder, file.name, "--to", "sd15")
    own = DiffusionPipeline.from_pretrained(folder / "sd15")
    own.scheduler = EulerDiscreteScheduler.from_config(own.scheduler.config)
    plain = by_hand(own)
    own.load_lora_weights(file)
    euler = {"scheduler": "EulerDiscreteScheduler"}
    made = picture(house, "sd15", loras=[{"name": spelling}], **euler)
    assert same(made, by_hand(own))
    assert not same(made, plain)


@pytest.mark.long
def test_a_lora_with_the_keys_of_comfyui_does_what_its_numbers_say(
    house: Deployment, folder: Path
) -> None:
    add(house, folder, "flux")
    own = DiffusionPipeline.from_pretrained(folder / "flux")
    plain = by_hand(own)
    layer = own.transformer.transformer_blocks[0].attn.to_out[0]
    down, up = torch.randn(2, layer.in_features), torch.randn(layer.out_features, 2)
    key = "diffusion_model.double_blocks.0.img_attn.proj"
    save_file(
        {f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up}, folder / "comfy.safetensors"
    )
    add(house, folder, "comfy.safetensors")
    layer.weight.data += up @ down
    made = picture(house, "flux", loras=[{"name": "comfy"}])
    assert same(made, by_hand(own))
    assert not same(made, plain)
