import json
import struct
from pathlib import Path

import pytest

from darkroom.catalog import Catalog
from darkroom.errors import ModelLoadError
from darkroom.model_card import ModelCard
from darkroom.model_files import ModelFiles
from darkroom.offers import offer
from darkroom.single_files import CONFIGS, SHIPPED, checkpoint, known_contents
from tests import published
from tests.published import Shapes

V_BIAS = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"
FAMILIES = {
    "sd1": published.SD1,
    "sd1-inpaint": published.SD1_INPAINT,
    "sd2": published.SD2,
    "sd2-inpaint": published.SD2_INPAINT,
    "sdxl": published.SDXL,
    "sdxl-inpaint": published.SDXL_INPAINT,
    "sdxl-refiner": published.SDXL_REFINER,
}


def write(
    file: Path, shapes: Shapes, dtype: str = "F16", numbers: dict[str, bytes] | None = None
) -> Path:
    """A file of full size, which takes no room on the disk: all its numbers are a hole."""
    header, at, places = {}, 0, {}
    for name, shape in shapes.items():
        size = {"F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1}[dtype]
        for side in shape:
            size *= side
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        places[name] = at
        at += size
    content = json.dumps(header).encode()
    with file.open("wb") as opened:
        opened.write(struct.pack("<Q", len(content)) + content)
        opened.truncate(8 + len(content) + at)
        for name, written in (numbers or {}).items():
            opened.seek(8 + len(content) + places[name])
            opened.write(written)
    return file


def catalog(folder: Path, **card: object) -> tuple[Catalog, ModelCard]:
    model = ModelCard(name="m", **{"source": "m.safetensors", **card})
    return Catalog([model], "m", folder), model


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_is_shaped_like_the_folder_of_its_family(family: str, tmp_path: Path) -> None:
    file = write(tmp_path / "m.safetensors", published.checkpoint(FAMILIES[family]))
    files = checkpoint(file, None, None)
    assert files.folder == CONFIGS / family
    assert set(files.places) == set(files.weighty)
    assert files.overrides in ({}, {"prediction_type": "epsilon"})


@pytest.mark.parametrize(
    ("family", "tasks", "side", "scheduler", "unet"),
    [
        ("sd1", {"text-to-image", "image-to-image", "inpaint"}, 512, "PNDMScheduler", 859_520_964),
        ("sd1-inpaint", {"inpaint"}, 512, "PNDMScheduler", 859_535_364),
        ("sd2", {"text-to-image", "image-to-image", "inpaint"}, 512, "DDIMScheduler", 865_910_724),
        (
            "sdxl",
            {"text-to-image", "image-to-image", "inpaint"},
            1024,
            "EulerDiscreteScheduler",
            2_567_463_684,
        ),
        ("sdxl-inpaint", {"inpaint"}, 1024, "EulerDiscreteScheduler", 2_567_478_084),
    ],
)
def test_the_service_knows_a_checkpoint_before_a_worker_loads_it(
    family: str, tasks: set[str], side: int, scheduler: str, unet: int, tmp_path: Path
) -> None:
    write(tmp_path / "m.safetensors", published.checkpoint(FAMILIES[family]))
    found = offer(*catalog(tmp_path), None)
    assert found.is_known
    assert {name for name, _ in found.fields} == tasks
    assert (found.width, found.height, found.scheduler) == (side, side, scheduler)
    files = catalog(tmp_path)[0].files(catalog(tmp_path)[1])
    assert files is not None
    # The numbers of parameters that the models were published with.
    assert files.part("unet").size(2) == 2 * unet
    assert files.part("vae").size(4) == 4 * 83_653_863


def test_what_is_not_loaded_takes_no_memory(tmp_path: Path) -> None:
    shapes = published.checkpoint(published.SD1)
    averages = {f"model_ema.{name.replace('.', '')}": shape for name, shape in shapes.items()}
    file = write(tmp_path / "m.safetensors", shapes | averages)
    assert checkpoint(file, None, None).part("unet").size(4) == 4 * 859_520_964


def test_folders_that_ship_hold_no_weights_and_one_vocabulary() -> None:
    assert set(SHIPPED) == {*FAMILIES, "sd2-v"}
    assert {each.suffix for each in CONFIGS.rglob("*") if each.is_file()} == {"", ".json", ".txt"}
    assert len(list(CONFIGS.rglob("*.txt"))) == 1
    for family in SHIPPED:
        files = ModelFiles(CONFIGS / family)
        for name, (_, cls) in files.parts.items():
            assert (cls is None) != (files.folder / name).is_dir(), (family, name)


def spread(by: float, form: str) -> bytes:
    numbers = [by, -by] * 160
    if form == "BF16":
        return b"".join(struct.pack("<f", each)[2:] for each in numbers)
    return struct.pack("<320" + {"F32": "f", "F16": "e"}[form], *numbers)


@pytest.mark.parametrize("form", ["F32", "F16", "BF16"])
@pytest.mark.parametrize(("by", "family"), [(0.05, "sd2"), (0.15, "sd2-v")])
def test_what_stable_diffusion_2_predicts_is_measured(
    by: float, family: str, form: str, tmp_path: Path
) -> None:
    shapes = published.checkpoint(published.SD2)
    file = write(tmp_path / "m.safetensors", shapes, form, {V_BIAS: spread(by, form)})
    files = checkpoint(file, None, None)
    assert files.folder == CONFIGS / family
    side = {"sd2": 512, "sd2-v": 768}[family]
    assert files.native_size() == (side, side)
    other = "epsilon" if family == "sd2-v" else "v_prediction"
    told = checkpoint(file, None, other)
    assert told.folder == CONFIGS / {"sd2": "sd2-v", "sd2-v": "sd2"}[family]
    assert told.overrides["prediction_type"] == other


def test_a_checkpoint_that_says_it_ends_in_pure_noise_has_a_scheduler_that_begins_there(
    tmp_path: Path,
) -> None:
    shapes = published.checkpoint(published.SDXL) | {"v_pred": (0,), "ztsnr": (0,)}
    files = checkpoint(write(tmp_path / "m.safetensors", shapes), None, None)
    assert files.timestep_spacing == "trailing"
    assert files.overrides["prediction_type"] == "v_prediction"


FLUX = published.flux(hidden=8, heads=2, depth=1, single=1, into=64, text=8, pooled=8)
WHOLE_FLUX = published.prefixed("model.diffusion_model.", FLUX) | {"vae.decoder.conv_in.bias": (1,)}


@pytest.mark.parametrize(
    ("shapes", "dtype", "words"),
    [
        (
            {"lora_unet_x.lora_down.weight": (1, 1)},
            "F16",
            "is a LoRA, where a whole model is needed",
        ),
        (published.vae(published.Vae()), "F16", "is a VAE, where a whole model"),
        (
            FLUX,
            "F16",
            "a transformer in a single file of flux-dev and no whole model: name a folder",
        ),
        (WHOLE_FLUX, "F16", "a checkpoint of flux-dev, of which only the network is read"),
        (WHOLE_FLUX, "F8_E4M3", r"numbers of eight bits or fewer \(F8_E4M3\), which are not read"),
        (
            {"model.diffusion_model.x": (1,), "first_stage_model.x": (1,)},
            "F16",
            "of a family that its header does not tell; name a folder",
        ),
        (
            published.prefixed("model.diffusion_model.", published.unet(published.SD1.unet))
            | {"cond_stage_model.transformer.text_model.x": (1,)},
            "F16",
            "holds no vae; name a folder that has it as `config`",
        ),
    ],
)
def test_what_is_no_checkpoint_that_can_be_read_says_what_to_do(
    shapes: Shapes, dtype: str, words: str, tmp_path: Path
) -> None:
    file = write(tmp_path / "m.safetensors", shapes, dtype)
    with pytest.raises(ModelLoadError, match=rf"^m\.safetensors .*{words}"):
        checkpoint(file, None, None)
    models, card = catalog(tmp_path)
    assert models.files(card) is None
    assert not offer(models, card, None).is_known


def test_what_is_damaged_says_so(tmp_path: Path) -> None:
    file = write(tmp_path / "m.safetensors", published.checkpoint(published.SD1))
    size = file.stat().st_size
    with file.open("r+b") as opened:
        opened.truncate(size // 2)
    with pytest.raises(ModelLoadError, match="bytes are missing at its end; download it again"):
        checkpoint(file, None, None)
    with file.open("r+b") as opened:
        opened.truncate(size + 5)
    with pytest.raises(ModelLoadError, match="5 bytes are there after its end"):
        checkpoint(file, None, None)
    file.write_bytes(struct.pack("<Q", 100 * 2**20) + b"{" + bytes(1000))
    with pytest.raises(ModelLoadError, match="ends before its header does"):
        checkpoint(file, None, None)
    with file.open("r+b") as opened:
        opened.truncate(2**30)
    with pytest.raises(ModelLoadError, match="has a header of 104,857,600 bytes"):
        checkpoint(file, None, None)
    file.write_text("<html>sign in")
    with pytest.raises(ModelLoadError, match=r"m\.safetensors is a web page"):
        checkpoint(file, None, None)
    with pytest.raises(ModelLoadError, match=r"none\.safetensors is missing"):
        checkpoint(tmp_path / "none.safetensors", None, None)


def test_a_file_that_was_replaced_is_read_again(tmp_path: Path) -> None:
    file = write(tmp_path / "m.safetensors", published.checkpoint(published.SD1))
    assert known_contents(file).family == "sd1"
    assert known_contents(file) is known_contents(file)
    write(file, published.checkpoint(published.SDXL))
    assert known_contents(file).family == "sdxl"


def folder(place: Path, network: str, cls: str) -> Path:
    index = {"_class_name": "X", network: ["diffusers", cls], "vae": ["diffusers", "AutoencoderKL"]}
    (place / "model").mkdir()
    (place / "model" / "model_index.json").write_text(json.dumps(index))
    return place


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (published.unet(published.SD1.unet), "is for sd1, and does not fit the folder, whose netw"),
        (published.vae(published.Vae()), "is a VAE, and no network"),
    ],
)
def test_a_network_of_another_family_is_refused(shapes: Shapes, words: str, tmp_path: Path) -> None:
    folder(tmp_path, "transformer", "FluxTransformer2DModel")
    write(tmp_path / "net.safetensors", shapes)
    models, card = catalog(tmp_path, source="model", transformer="net.safetensors")
    assert models.files(card) is None
    from darkroom.single_files import files_of

    with pytest.raises(ModelLoadError, match=rf"^transformer: net\.safetensors {words}"):
        files_of(card, models.locate, lambda source, _: tmp_path / source)


def test_a_network_of_a_file_takes_the_place_of_the_folders(tmp_path: Path) -> None:
    folder(tmp_path, "transformer", "FluxTransformer2DModel")
    for shapes in (FLUX, WHOLE_FLUX):
        file = write(tmp_path / "net.safetensors", shapes)
        models, card = catalog(tmp_path, source="model", transformer="net.safetensors")
        files = models.files(card)
        assert files is not None
        assert files.part("transformer").weights() == [file]
        expected = sum(2 * _count(shape) for shape in FLUX.values())
        assert files.part("transformer").size(2) == expected


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for side in shape:
        count *= side
    return count


def test_a_vae_of_a_file_takes_the_place_of_the_models(tmp_path: Path) -> None:
    write(tmp_path / "m.safetensors", published.checkpoint(published.SD1))
    file = write(tmp_path / "vae.safetensors", published.vae(published.Vae()), "F32")
    models, card = catalog(tmp_path, vae="vae.safetensors")
    found = models.vae_files(card)
    assert found is not None
    assert found.weights() == [file]
    assert found.config == models.files(card).part("vae").config
    models, card = catalog(tmp_path, vae="m.safetensors")
    assert models.vae_files(card) is None
