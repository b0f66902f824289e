"""Checkpoints in a single file, named as published, against the folders that they came from."""

import json
import math
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from darkroom.catalog import Catalog
from darkroom.errors import ModelLoadError
from darkroom.model_card import ModelCard
from darkroom.model_files import PartFiles, WeightFile
from darkroom.single_files import CONFIGS, SHIPPED, known_contents
from tests import checkpoints, published, transformer_files
from worker.check import check
from worker.loading import single_parts, weights
from worker.loading.weights import modules_of


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every checkpoint, its model, and NAME-config, which has no weights."""
    folder = tmp_path_factory.mktemp("models")
    for family in checkpoints.CHECKPOINTS:
        model, _ = checkpoints.write(family, folder)
        without = shutil.ignore_patterns("*.safetensors")
        shutil.copytree(model, folder / f"{family}-config", ignore=without)
    return folder


def read(models: Path, source: str, **card: object):
    model = ModelCard(name="m", source=source, dtype="float32", **card)
    pipeline, faults = weights.read(model, Catalog([model], "m", models), torch.device("cpu"))
    assert not faults
    return pipeline


def parameters(pipeline) -> Iterator[tuple[str, torch.Tensor]]:
    for part, module in modules_of(pipeline.components):
        for name, tensor in module.state_dict().items():
            yield f"{part}.{name}", tensor


@pytest.mark.parametrize("family", checkpoints.CHECKPOINTS)
def test_every_tensor_is_that_of_the_folder(family: str, models: Path) -> None:
    whole = read(models, family)
    single = read(models, f"{family}.safetensors", config=f"{family}-config")
    assert type(single) is type(whole)
    expected, found = dict(parameters(whole)), dict(parameters(single))
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []
    assert single.scheduler.config == whole.scheduler.config
    assert single.components.keys() == whole.components.keys()
    assert all(not module.training for _, module in modules_of(single.components))


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_checkpoint_makes_the_picture_of_its_folder(
    family: str, models: Path, tmp_path: Path
) -> None:
    made = []
    for source, config in ((family, None), (f"{family}.safetensors", f"{family}-config")):
        card = ModelCard(name="m", source=source, config=config, dtype="float32")
        out = tmp_path / source
        checked = check(
            Catalog([card], "m", models), card, torch.device("cpu"), load_only=False, output=out
        )
        assert checked.record.error is None
        assert "text-to-image" in checked.record.tasks
        (picture,) = out.iterdir()
        made.append(Image.open(picture).tobytes())
    assert made[0] == made[1]


def test_numbers_are_read_in_the_dtype_of_the_card(models: Path, tmp_path: Path) -> None:
    file = tmp_path / "half.safetensors"
    whole = load_file(models / "sdxl.safetensors")
    save_file({k: v.half() for k, v in whole.items()}, file)
    config = str(models / "sdxl-config")
    single = read(models, str(file), config=config)
    expected = dict(parameters(read(models, "sdxl")))
    for name, tensor in parameters(single):
        assert torch.equal(tensor, expected[name].half().float()), name


def test_an_old_text_encoder_without_a_level_of_names_is_read(models: Path, tmp_path: Path) -> None:
    file = tmp_path / "old.safetensors"
    whole = load_file(models / "sd1.safetensors")
    save_file({k.replace(".text_model.", "."): v for k, v in whole.items()}, file)
    single = read(models, str(file), config=str(models / "sd1-config"))
    expected = dict(parameters(read(models, "sd1")))
    assert all(torch.equal(tensor, expected[name]) for name, tensor in parameters(single))


@pytest.mark.parametrize(
    ("family", "name", "part"),
    [
        ("sd1", "model.diffusion_model.middle_block.1.proj_in.weight", "half"),
        ("sd1", "first_stage_model.decoder.mid.attn_1.q.bias", "half"),
        ("sd1", "cond_stage_model.transformer.text_model.final_layer_norm.bias", "CLIPText"),
        ("sdxl", "conditioner.embedders.1.model.text_projection", "text_projection"),
        ("sdxl", "conditioner.embedders.1.model.transformer.resblocks.1.ln_2.bias", "layer_norm2"),
    ],
)
def test_weights_that_are_missing_are_named(
    family: str, name: str, part: str, models: Path, tmp_path: Path
) -> None:
    file = tmp_path / "half.safetensors"
    whole = load_file(models / f"{family}.safetensors")
    del whole[name]
    save_file(whole, file)
    with pytest.raises(ModelLoadError, match=f"some weights are missing.*{part}"):
        read(models, str(file), config=str(models / f"{family}-config"))


def test_weights_of_another_shape_are_named(models: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"unet: weights of another shape .*conv_in"):
        read(models, "sd1-inpaint.safetensors", config="sd1-config")


def test_the_network_of_another_file_is_taken(models: Path, tmp_path: Path) -> None:
    other = checkpoints.pipeline("sd1")
    with torch.no_grad():
        for tensor in other.unet.parameters():
            tensor.add_(1)
    expected = other.unet.state_dict()
    file = tmp_path / "other.safetensors"
    for start in ("", "model.diffusion_model."):
        named = {start + name: tensor for name, tensor in checkpoints.unet(other.unet).items()}
        save_file({name: tensor.contiguous() for name, tensor in named.items()}, file)
        found = read(models, "sd1", transformer=str(file)).unet.state_dict()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    save_file(expected, file)  # as diffusers names them
    found = read(models, "sd1", transformer=str(file)).unet.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    with pytest.raises(
        ModelLoadError, match="reads text that is 40 wide, the folder's network one of"
    ):
        read(models, "sd1", transformer="sdxl.safetensors")


@pytest.mark.parametrize("start", ["", "first_stage_model."])
def test_the_vae_of_a_file_is_taken(start: str, models: Path, tmp_path: Path) -> None:
    other = checkpoints.pipeline("sd1").vae
    with torch.no_grad():
        for tensor in other.parameters():
            tensor.add_(1)
    file = tmp_path / "vae.safetensors"
    named = {start + name: tensor for name, tensor in checkpoints.vae(other).items()}
    save_file({name: tensor.contiguous() for name, tensor in named.items()}, file)
    for source, config in (("sd1", None), ("sd1.safetensors", "sd1-config")):
        found = read(models, source, config=config, vae=str(file)).vae.state_dict()
        assert all(torch.equal(found[k], tensor) for k, tensor in other.state_dict().items())


def test_what_a_checkpoint_predicts_reaches_its_scheduler(models: Path, tmp_path: Path) -> None:
    card = {"config": "sdxl-config"}
    assert read(models, "sdxl.safetensors", **card).scheduler.config.prediction_type == "epsilon"
    told = read(models, "sdxl.safetensors", **card, prediction_type="v_prediction")
    assert told.scheduler.config.prediction_type == "v_prediction"
    assert (
        read(models, "sd1", prediction_type="v_prediction").scheduler.config["prediction_type"]
        == "v_prediction"
    )
    file = tmp_path / "v.safetensors"
    marks = {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}
    save_file(load_file(models / "sdxl.safetensors") | marks, file)
    found = read(models, str(file), config=str(models / "sdxl-config")).scheduler.config
    assert found.prediction_type == "v_prediction"
    assert found.rescale_betas_zero_snr
    assert found.timestep_spacing == "trailing"


def test_a_part_that_the_file_lacks_is_taken_from_the_folder(models: Path, tmp_path: Path) -> None:
    file = tmp_path / "without.safetensors"
    whole = load_file(models / "sd1.safetensors")
    save_file({k: v for k, v in whole.items() if not k.startswith("first_stage")}, file)
    with pytest.raises(ModelLoadError, match="holds no vae; name a folder that has it as `config`"):
        read(models, str(file), config="sd1-config")
    found = read(models, str(file), config="sd1").vae.state_dict()
    expected = read(models, "sd1").vae.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_model_without_a_kind_of_prediction_says_so(models: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(models / "sd1", tmp_path / "flow")
    index = json.loads((folder / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", "FlowMatchEulerDiscreteScheduler"]
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")
    with pytest.raises(ModelLoadError, match="prediction_type: FlowMatchEulerDiscreteScheduler"):
        read(models, str(folder), prediction_type="epsilon")


FULL_SIZE = {
    "sd1": published.SD1,
    "sd1-inpaint": published.SD1_INPAINT,
    "sd2": published.SD2,
    "sd2-v": published.SD2,
    "sd2-inpaint": published.SD2_INPAINT,
    "sdxl": published.SDXL,
    "sdxl-inpaint": published.SDXL_INPAINT,
    "sdxl-refiner": published.SDXL_REFINER,
}


@pytest.mark.parametrize("family", FULL_SIZE)
def test_configurations_that_ship_make_networks_of_the_published_shapes(family: str) -> None:
    assert set(FULL_SIZE) == set(SHIPPED)
    folder, made = CONFIGS / family, FULL_SIZE[family]
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(folder / "unet"))
    assert shapes(unet) == Counter(published.unet(made.unet).values())
    with torch.device("meta"):
        vae = AutoencoderKL.from_config(AutoencoderKL.load_config(folder / "vae"))
    # Of its attention the published one has convolutions, with two more sides of length one.
    expected = [
        shape[:2] if ".attn_1." in name else shape
        for name, shape in published.vae(made.vae).items()
    ]
    assert shapes(vae) == Counter(expected)
    for _, text, is_open in made.encoders:
        second = is_open and made.unet.adm_in_channels is not None
        part = folder / ("text_encoder_2" if second else "text_encoder")
        config = CLIPTextConfig.from_pretrained(part)
        with torch.device("meta"):
            encoder = (CLIPTextModelWithProjection if second else CLIPTextModel)(config)
        text = replace(text, layers=23) if family.startswith("sd2") else text
        assert sum(each.numel() for each in encoder.parameters()) == _numbers(text, second)


def shapes(module: torch.nn.Module) -> Counter[tuple[int, ...]]:
    return Counter(tuple(each.shape) for each in module.state_dict().values())


def _numbers(text: published.Text, has_projection: bool) -> int:
    named = published.open_clip(text)
    left_out = {"logit_scale"} | (set() if has_projection else {"text_projection"})
    return sum(math.prod(shape) for name, shape in named.items() if name not in left_out)


SMALL = ("sd3", "sd35-medium", "qwen-image", "z-image")


def test_every_transformer_is_tried() -> None:
    assert set(transformer_files.SPELLINGS) == {*SMALL, "flux-dev"}


@pytest.mark.parametrize("family", [*SMALL, pytest.param("flux-dev", marks=pytest.mark.long)])
def test_a_transformer_is_read_as_it_was_published(family: str, tmp_path: Path) -> None:
    make, spell = transformer_files.SPELLINGS[family]
    network = make()
    network.save_config(tmp_path)
    expected = network.state_dict()
    file = tmp_path / "net.safetensors"
    for named in (spell(dict(expected)), dict(expected)):
        for start in ("", "model.diffusion_model."):
            save_file({start + k: v.contiguous() for k, v in named.items()}, file)
            assert known_contents(file).family == family
            equal(network, PartFiles(tmp_path, WeightFile(file)))


@pytest.mark.long
def test_the_network_of_a_whole_flux_is_taken_alone(tmp_path: Path) -> None:
    network = transformer_files.SPELLINGS["flux-dev"][0]()
    network.save_config(tmp_path)
    named = transformer_files.flux(dict(network.state_dict()))
    shapes = published.flux(**transformer_files.FLUX_SIZES, depth=1, single=1)
    assert {name: tuple(tensor.shape) for name, tensor in named.items()} == shapes
    file = tmp_path / "all.safetensors"
    whole = {f"model.diffusion_model.{k}": v.contiguous() for k, v in named.items()}
    save_file(whole | {"vae.decoder.conv_in.bias": torch.ones(1)}, file)
    contents = known_contents(file)
    assert contents.kind.name == "checkpoint"
    equal(network, PartFiles(tmp_path, WeightFile(file, contents.parts["transformer"])))


def equal(network: torch.nn.Module, files: PartFiles) -> None:
    expected = network.state_dict()
    kind = ("diffusers", type(network).__name__)
    dtype = next(network.parameters()).dtype
    found = single_parts.load("transformer", kind, files, dtype).state_dict()
    assert found.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []
