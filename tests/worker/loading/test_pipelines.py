import copy
import gc
import inspect
import json
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel

from darkroom.catalog import Catalog
from darkroom.errors import ModelLoadError
from darkroom.model_card import ModelCard
from darkroom.networks import NETWORKS, Network
from darkroom.offers import offer
from tests import tiny, tiny_families
from worker.gathering.gather import Gather
from worker.loading import pipelines, tuning
from worker.loading.offload import Offload
from worker.loading.pipelines import LoadedModel
from worker.making.text_encoders import encoders_of

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny.load("sd15", tmp_path_factory.mktemp("sd15"), Gather())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.write("sd15", tmp_path)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_record_says_what_the_model_can_do(family: str, tmp_path: Path) -> None:
    record = tiny.load(family, tmp_path, Gather()).record
    assert record.name == family
    assert record.tasks[:2] == ("text-to-image", "image-to-image")
    assert ("inpaint" in record.tasks) == (family != "lcm")
    assert record.scheduler in record.schedulers
    size = 128 * 2 if family == "flux" else tiny.IMAGE_SIZE  # Flux's is written in its code
    assert (record.width, record.height) == (size, size)
    assert (record.dtype, record.device) == ("float32", "cpu")
    assert record.parameters > 1000
    assert record.error is None


@pytest.mark.parametrize("family", [*tiny.FAMILIES, "dit", "ldm", "gligen", "super-resolution"])
def test_what_the_files_tell_is_what_the_worker_finds(family: str, tmp_path: Path) -> None:
    record = tiny.load(family, tmp_path, Gather()).record
    card = ModelCard(name=family, source=str(tmp_path))
    catalog = Catalog([card], family, tmp_path)
    told, found = offer(catalog, card, None), offer(catalog, card, record)
    assert (told.fields, told.scheduler) == (found.fields, found.scheduler)
    assert (told.classes, told.schedulers) == (found.classes, found.schedulers)
    # Flux's pipeline has its size in latents, and the tiny VAE makes four times more of them.
    size = (1024, 1024) if family == "flux" else (found.width, found.height)
    assert (told.width, told.height) == size


@pytest.mark.parametrize(
    ("family", "tasks"),
    [
        ("sd15-inpaint", ("inpaint",)),
        ("sdxl-inpaint", ("inpaint",)),
        ("gligen", ("layout-to-image", "text-to-image", "image-to-image", "inpaint")),
        ("dit", ("class-to-image",)),
        ("ldm", ("unconditional",)),
        ("super-resolution", ("upscale",)),
        ("upscaler", ("upscale",)),
    ],
)
def test_models_made_for_one_task_say_so(
    family: str, tasks: tuple[str, ...], tmp_path: Path
) -> None:
    record = tiny.load(family, tmp_path, Gather(), dtype="bfloat16").record
    assert record.tasks == tasks
    assert record.dtype == ("float32" if family in ("ldm", "super-resolution") else "bfloat16")
    assert ("EulerDiscreteScheduler" in record.schedulers) == (
        family not in ("dit", "super-resolution")
    )
    if family in ("dit", "ldm"):
        assert (record.width, record.height) == (tiny.IMAGE_SIZE, tiny.IMAGE_SIZE)


def test_views_share_modules_and_nothing_else(model: LoadedModel) -> None:
    one, other = (model.view("text-to-image", "DDIMScheduler") for _ in range(2))
    assert one.unet is other.unet is model.components["unet"]
    assert one.scheduler is not other.scheduler
    with torch.no_grad():
        one("a cat", num_inference_steps=1, guidance_scale=3.0, output_type="latent")
    assert not hasattr(other, "_guidance_scale")
    assert not hasattr(model.view("text-to-image", "DDIMScheduler"), "_guidance_scale")


def test_views_of_other_tasks_keep_the_constructor_s_options(tmp_path: Path) -> None:
    index = tiny.write("sdxl", tmp_path) / "model_index.json"
    index.write_text(
        json.dumps(json.loads(index.read_text()) | {"force_zeros_for_empty_prompt": False})
    )
    sdxl = tiny.load("sdxl", tmp_path, Gather())
    view = sdxl.view("image-to-image", "EulerDiscreteScheduler")
    assert type(view).__name__ == "StableDiffusionXLImg2ImgPipeline"
    assert view.config.force_zeros_for_empty_prompt is False
    assert view.watermark is None


def test_a_view_is_gone_when_its_job_is(model: LoadedModel) -> None:
    gc.collect()
    gc.disable()
    try:
        view = model.view("text-to-image", "DDIMScheduler")
        gone = weakref.ref(view)
        del view
        assert gone() is None
    finally:
        gc.enable()


def test_heavy_modules_park(tmp_path: Path) -> None:
    gather = Gather()
    model = tiny.load("sd15", tmp_path, gather)
    view = model.view("text-to-image", "DDIMScheduler")
    gather.start(1, lambda: view("a cat", num_inference_steps=1, output_type="pt").images.shape)
    names = []
    while gather.parked:
        names.append(gather.parked[1].module_name)
        gather.run([gather.parked[1]])
    assert names == ["text_encoder", "text_encoder", "unet", "vae.decode"]


def test_in_float16_the_vae_stays_in_float32(tmp_path: Path) -> None:
    model = tiny.load("sdxl", tmp_path, Gather(), dtype="float16")
    view = model.view("image-to-image", "DDIMScheduler")
    start = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        images = view("a cat", image=start, num_inference_steps=4, output_type="pt").images
    assert images.isfinite().all()
    assert (view.unet.dtype, view.vae.dtype) == (torch.float16, torch.float32)


def test_a_card_s_scheduler_has_to_suit_the_model(folder: Path) -> None:
    with pytest.raises(ModelLoadError, match="FlowMatchEulerDiscreteScheduler, but with DDIM"):
        tiny.load("sd15", folder, Gather(), scheduler="FlowMatchEulerDiscreteScheduler")


def test_a_safety_checker_is_not_loaded_unasked(folder: Path) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    (folder / "model_index.json").write_text(json.dumps(index))
    assert tiny.load("sd15", folder, Gather()).components["safety_checker"] is None


def test_a_folder_that_is_none_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").mkdir()
    with pytest.raises(ModelLoadError, match="model_index"):
        tiny.load("sd15", tmp_path, Gather())


@pytest.mark.parametrize(
    "missing",
    [
        f"unet/{WEIGHTS}",
        f"vae/{WEIGHTS}",
        "text_encoder/model.safetensors",
        "vae/config.json",
        "scheduler/scheduler_config.json",
        "tokenizer/tokenizer.json",
    ],
)
def test_a_missing_file_is_a_clear_error(missing: str, folder: Path) -> None:
    (folder / missing).unlink()
    with pytest.raises(ModelLoadError, match=missing.partition("/")[0]):
        tiny.load("sd15", folder, Gather())


@pytest.mark.parametrize(
    "damaged",
    [
        f"unet/{WEIGHTS}",
        "text_encoder/model.safetensors",
        "model_index.json",
        "unet/config.json",
        "scheduler/scheduler_config.json",
    ],
)
def test_a_damaged_file_is_a_clear_error(damaged: str, folder: Path) -> None:
    path = folder / damaged
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ModelLoadError):
        tiny.load("sd15", folder, Gather())


@pytest.mark.parametrize(
    ("part", "file"), [("unet", WEIGHTS), ("text_encoder", "model.safetensors")]
)
def test_missing_weights_are_not_made_up(part: str, file: str, folder: Path) -> None:
    path = folder / part / file
    tensors = load_file(path)
    tensors.pop(sorted(tensors)[3])
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ModelLoadError, match="some weights are missing"):
        tiny.load("sd15", folder, Gather())


def test_weights_of_another_shape_are_a_clear_error(folder: Path) -> None:
    config = folder / "unet" / "config.json"
    config.write_text(
        config.read_text().replace('"cross_attention_dim": 16', '"cross_attention_dim": 24')
    )
    with pytest.raises(ModelLoadError, match="shape"):
        tiny.load("sd15", folder, Gather())


@pytest.mark.parametrize("ending", [".bin", ".ckpt", ".pt"])
def test_pickles_are_refused(ending: str, folder: Path) -> None:
    weights = folder / "unet" / WEIGHTS
    weights.rename(weights.with_suffix(ending))
    with pytest.raises(ModelLoadError, match="could run code"):
        tiny.load("sd15", folder, Gather())


@pytest.mark.parametrize(
    ("name", "entry", "words"),
    [
        ("unet", ["my_unet", "MyUNet"], "code of its own"),
        ("_class_name", ["pipeline", "MyPipeline"], "code of its own"),
        ("_class_name", "MyPipeline", "'MyPipeline' is not one of those that Darkroom can run"),
    ],
)
def test_code_of_a_model_s_own_is_not_run(
    name: str, entry: object, words: str, folder: Path
) -> None:
    marker = folder / "ran"
    for module in ("unet/my_unet.py", "pipeline.py"):
        (folder / module).write_text(f"open({str(marker)!r}, 'w')\n")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {name: entry}))
    with pytest.raises(ModelLoadError, match=words):
        tiny.load("sd15", folder, Gather())
    assert not marker.exists()


def test_an_error_that_is_kept_keeps_no_weights(folder: Path) -> None:
    gc.collect()
    before = sum(isinstance(each, UNet2DConditionModel) for each in gc.get_objects())
    (folder / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(ModelLoadError) as caught:
        tiny.load("sd15", folder, Gather())
    gc.collect()
    after = sum(isinstance(each, UNet2DConditionModel) for each in gc.get_objects())
    assert caught.value.__context__ is None
    assert after == before


def test_a_part_that_is_on_the_device_does_not_draw_an_offloaded_pipeline_there(
    model: LoadedModel,
) -> None:
    class Elsewhere(CLIPTextModel):
        device = torch.device("cuda:0")

    encoder = copy.copy(model.components["text_encoder"])
    encoder.__class__ = Elsewhere
    parts = {**model.components, "text_encoder": encoder}
    record = model.record.model_copy(update={"device": "cuda:0"})
    there = replace(model, components=parts, record=record)
    waiting = replace(there, offload=Offload(torch.device("cuda:0")))
    task, scheduler = "text-to-image", model.schedulers.own
    assert there.view(task, scheduler)._execution_device == encoder.device
    view = waiting.view(task, scheduler)
    assert view._execution_device == view.device == torch.device("cpu")
    assert type(view).__name__ == "StableDiffusionPipeline"


class OfAnotherName(StableDiffusionPipeline):
    """Stable Diffusion's, with its network called `prior`."""

    def __init__(self, vae, text_encoder, tokenizer, prior, scheduler) -> None:
        DiffusionPipeline.__init__(self)
        parts = {"vae": vae, "text_encoder": text_encoder, "tokenizer": tokenizer}
        self.register_modules(**parts, prior=prior, scheduler=scheduler)


def test_a_network_of_another_name_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = tiny.sd15().components
    names = ("vae", "text_encoder", "tokenizer", "scheduler")
    pipeline = OfAnotherName(**{name: parts[name] for name in names}, prior=parts["unet"])
    accepted = inspect.signature(pipeline.__call__).parameters
    card = ModelCard(name="m", source=".", compile=True)
    with pytest.raises(ModelLoadError, match="no network"):
        tuning.tune(pipeline, card)
    assert encoders_of(pipeline, accepted) == []
    monkeypatch.setitem(NETWORKS, "prior", Network(reads_joined_clip=True))
    tuning.tune(pipeline, card)
    assert pipelines._native_size(pipeline) == (tiny.IMAGE_SIZE, tiny.IMAGE_SIZE)
    assert len(encoders_of(pipeline, accepted)) == 1


def test_a_pipeline_that_cannot_be_run_is_refused_before_its_weights_are_read(folder: Path) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    other = index | {"_class_name": "StableDiffusionLDM3DPipeline"}
    (folder / "model_index.json").write_text(json.dumps(other))
    for weights in folder.rglob("*.safetensors"):
        weights.write_bytes(b"nothing that could be read")
    words = "'StableDiffusionLDM3DPipeline' is not one of those .*: .*StableDiffusionPipeline, "
    with pytest.raises(ModelLoadError, match=words):
        tiny.load("sd15", folder, Gather())


def test_a_list_of_options_is_no_part_and_is_kept(tmp_path: Path) -> None:
    model = loaded(tiny_families.krea2(), tmp_path)
    assert model.options["text_encoder_select_layers"] == (0, 1, 2)
    view = model.view("text-to-image", model.schedulers.own)
    assert view.text_encoder_select_layers == (0, 1, 2)


def test_a_refiner_begins_with_a_picture_and_knows_its_score(tmp_path: Path) -> None:
    model = loaded(tiny_families.refiner(), tmp_path)
    assert model.record.tasks == ("image-to-image",)
    assert model.options["requires_aesthetics_score"] is True
    card = ModelCard(name="m", source=str(tmp_path))
    told = offer(Catalog([card], "m", tmp_path), card, None)
    assert told.tasks == ("image-to-image",)


def test_kolors_reads_its_words_by_sentencepiece(tmp_path: Path) -> None:
    (tmp_path / "words").mkdir()
    model = loaded(tiny_families.kolors(tmp_path / "words"), tmp_path / "model")
    assert model.record.tasks == ("text-to-image", "image-to-image")
    view = model.view("text-to-image", model.schedulers.own)
    with torch.no_grad():
        made = view("a cat", num_inference_steps=1, width=32, height=16, output_type="pt").images
    assert made.shape == (1, 3, 16, 32)


def loaded(pipeline: DiffusionPipeline, folder: Path) -> LoadedModel:
    pipeline.save_pretrained(folder, safe_serialization=True)
    card = ModelCard(name="m", source=str(folder))
    return pipelines.load(card, Catalog([card], "m", folder), Gather(), torch.device("cpu"))
