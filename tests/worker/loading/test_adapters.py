import gc
import json
import re
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, StableDiffusionControlNetPipeline
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file

from darkroom.errors import UnsupportedError
from darkroom.input_images import IMAGE, MASK, reference
from darkroom.request import Request, TextToImage
from darkroom.tasks import TASKS
from tests import tiny
from tests import tiny_adapters as shelf
from tests.gathering import run_all, values
from worker.gathering.gather import Gather
from worker.loading.pipelines import LoadedModel
from worker.making import tasks

FAMILIES = ("sd15", "sdxl")
TOKEN = "<tabby>"
TWO_ENCODERS = (("", "clip_l"), ("_2", "clip_g"))


class Kit:
    """A model with adapters of every kind, and the same model without."""

    def __init__(self, family: str, folder: Path) -> None:
        for number, name in enumerate(("ink", "oil", "wash")):
            shelf.write_lora(family, folder / name, number, rank=2 + number, text=name != "wash")
        shelf.write_ip_adapter(family, folder / "reference", 4)
        shelf.write_embedding(family, folder / "tabby", 5, vectors=2)
        shelf.write_controlnet(folder / "edges", 6, **(tiny.SDXL if family == "sdxl" else {}))
        self.family, self.folder = family, folder
        self.card = {
            "loras": [lora(folder / name, name) for name in ("ink", "oil", "wash")],
            "controlnets": [{"name": "edges", "source": str(folder / "edges")}],
            "embeddings": [{"token": TOKEN, "source": str(folder / "tabby")}],
            "ip_adapter": ip_adapter(folder / "reference"),
        }
        self.gather = Gather()
        self.model = self.load(self.gather, **self.card)
        self.plain = self.load()

    def load(self, gather: Gather | None = None, **card: Any) -> LoadedModel:
        """The model with the adapters of `card`."""
        gather = gather or Gather()
        return tiny.load(self.family, self.folder / "model", gather, dtype="float64", **card)


@pytest.fixture(scope="module")
def kits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Kit]:
    return {family: Kit(family, tmp_path_factory.mktemp(family)) for family in FAMILIES}


def ip_adapter(folder: Path) -> dict[str, str]:
    return {
        "source": str(folder),
        "weight_name": shelf.IP_ADAPTER,
        "image_encoder": "image_encoder",
    }


def lora(folder: Path, name: str) -> dict[str, str]:
    return {"name": name, "source": str(folder)}


def asked(model: LoadedModel, **fields: Any) -> TextToImage:
    return TextToImage(
        **{
            "task": "text-to-image",
            "model": model.record.name,
            "prompt": "a cat",
            "width": 16,
            "height": 16,
            "num_inference_steps": 2,
            "guidance_scale": 5.0,
            "scheduler": "DDIMScheduler",
            "seed": 1,
            "num_images": 1,
            **fields,
        }
    )


def loras(**scales: float) -> list[dict[str, Any]]:
    return [{"name": name, "scale": scale} for name, scale in scales.items()]


def control(name: str = "edges", scale: float = 1.0) -> list[dict[str, Any]]:
    return [{"name": name, "image": "file_" + "0" * 64, "scale": scale}]


def photo(seed: int) -> Image.Image:
    random = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (20, 30, 3), generator=random, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


def latents(model: LoadedModel, request: TextToImage) -> torch.Tensor:
    """What a job makes, before it is decoded. Reference picture i is the photo of seed i."""
    adapters = model.adapters
    pipeline = model.view(request.task, request.scheduler, adapters=adapters.choose(request))
    inputs = {reference(i): photo(i) for i in range(len(request.reference_images))}
    arguments = adapters.arguments(request, inputs)
    if request.controls:
        arguments["image"] = photo(9).resize((16, 16))
        arguments["controlnet_conditioning_scale"] = request.controls[0].scale
    return call(pipeline, request, **arguments)


def call(pipeline: DiffusionPipeline, request: TextToImage, **arguments: Any) -> torch.Tensor:
    with torch.no_grad():
        return pipeline(
            prompt=request.prompt,
            num_inference_steps=request.num_inference_steps,
            guidance_scale=request.guidance_scale,
            width=request.width,
            height=request.height,
            num_images_per_prompt=request.num_images,
            generator=[
                torch.Generator().manual_seed(request.seed + i) for i in range(request.num_images)
            ],
            output_type="latent",
            **arguments,
        ).images


def making(model: LoadedModel, request: TextToImage) -> Callable[[], torch.Tensor]:
    return lambda: latents(model, request)


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return float((one - other).abs().max() / other.abs().max())


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    scales = st.sampled_from((0.0, 0.5, 1.0, -0.7))
    fields = {
        "seed": draw(st.integers(1, 99)),
        "prompt": draw(st.sampled_from(("a cat", "an owl", f"a {TOKEN} cat"))),
        "num_inference_steps": draw(st.integers(1, 2)),
        "guidance_scale": draw(st.sampled_from((1.0, 5.0))),
        "num_images": draw(st.sampled_from((1, 1, 2))),
        "loras": loras(**draw(st.dictionaries(st.sampled_from(("ink", "oil", "wash")), scales))),
    }
    if draw(st.booleans()):
        fields["reference_images"] = ["file_" + "0" * 64] * draw(st.integers(1, 2))
        fields["reference_scale"] = draw(st.sampled_from((0.4, 0.9)))
    if draw(st.integers(0, 3)) == 0:
        fields["controls"] = control(scale=draw(st.sampled_from((0.5, 1.0))))
    return fields


@pytest.mark.parametrize("family", FAMILIES)
@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(asked_for=st.lists(requests(), min_size=2, max_size=5), twice=st.booleans())
def test_jobs_in_any_company_make_what_they_make_alone(
    family: str, asked_for: list[dict[str, Any]], twice: bool, kits: dict[str, Kit]
) -> None:
    kit = kits[family]
    if twice:  # another picture by the same adapters
        asked_for = [*asked_for, {**asked_for[0], "seed": 100}]
    wanted = [asked(kit.model, **fields) for fields in asked_for]
    alone = [latents(kit.model, request) for request in wanted]
    joined = kit.gather.joined_calls
    jobs = {index: making(kit.model, request) for index, request in enumerate(wanted)}
    together = values(run_all(kit.gather, jobs))
    assert max(apart(together[index], alone[index]) for index in jobs) < 1e-9
    assert kit.gather.joined_calls > joined or not twice


@pytest.mark.parametrize("family", FAMILIES)
def test_calls_of_one_setting_share_a_pass_and_no_others(family: str, kits: dict[str, Kit]) -> None:
    kit = kits[family]
    reference = {"reference_images": ["file_" + "0" * 64]}
    settings = [
        {"loras": loras(ink=0.5, oil=1.0)},
        {"loras": loras(oil=1.0, ink=0.5)},
        {"loras": loras(ink=0.5)},
        {"loras": loras(ink=0.5, wash=0.0)},
        {**reference, "reference_scale": 0.4},
        {**reference, "reference_scale": 0.4},
        {**reference, "reference_scale": 0.4, "loras": loras(ink=0.5)},
        {**reference, "reference_scale": 0.9},
        {},
        {"loras": loras(ink=0.0)},
    ]
    width = kit.model.components["unet"].config.cross_attention_dim

    def one_call(seed: int) -> Callable[[], torch.Tensor]:
        request = asked(kit.model, **settings[seed])
        random = torch.Generator().manual_seed(seed)

        def noise(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=random, dtype=torch.float64)

        more = {}
        if family == "sdxl":
            more |= {"text_embeds": noise(2, 16), "time_ids": noise(2, 6)}
        if request.reference_images:
            more["image_embeds"] = [noise(2, 1, shelf.IMAGE_DIM)]
        inputs = noise(2, 4, 8, 8), 5 + seed, noise(2, 7, width)

        def job() -> torch.Tensor:
            unet = (kit.model.components | kit.model.adapters.choose(request).components)["unet"]
            with torch.no_grad():
                return unet(*inputs, added_cond_kwargs=more or None).sample

        return job

    jobs = {seed: one_call(seed) for seed in range(len(settings))}
    alone = {seed: job() for seed, job in jobs.items()}
    forwards, joined = kit.gather.forwards, kit.gather.joined_calls
    together = values(run_all(kit.gather, jobs))
    assert max(apart(together[seed], alone[seed]) for seed in jobs) < 1e-12
    assert (kit.gather.forwards - forwards, kit.gather.joined_calls - joined) == (6, 4)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("prompt", ["a cat", f"a {TOKEN} cat"])
def test_adapters_do_what_they_do_in_diffusers(
    family: str, prompt: str, kits: dict[str, Kit]
) -> None:
    kit = kits[family]
    request = asked(
        kit.model,
        prompt=prompt,
        loras=loras(ink=0.5, oil=-1.0),
        reference_images=["file_" + "0" * 64] * 2,
        reference_scale=0.4,
        num_images=2,
    )
    theirs = DiffusionPipeline.from_pretrained(kit.folder / "model", dtype=torch.float64)
    vectors = load_file(kit.folder / "tabby" / shelf.EMBEDDING)
    for suffix, key in (("", "emb_params"),) if len(vectors) == 1 else TWO_ENCODERS:
        theirs.load_textual_inversion(
            vectors[key],
            token=TOKEN,
            tokenizer=getattr(theirs, f"tokenizer{suffix}"),
            text_encoder=getattr(theirs, f"text_encoder{suffix}"),
        )
    theirs.load_lora_weights(kit.folder / "ink", adapter_name="ink")
    with pytest.warns(UserWarning, match="peft_config"):
        theirs.load_lora_weights(kit.folder / "oil", adapter_name="oil")
    theirs.set_adapters(["ink", "oil"], [0.5, -1.0])
    theirs.load_ip_adapter(
        str(kit.folder / "reference"), subfolder="", weight_name=shelf.IP_ADAPTER
    )
    theirs.set_ip_adapter_scale(0.4)
    theirs.to(torch.float64)
    theirs.scheduler = kit.model.schedulers.new(request.scheduler)
    theirs.set_progress_bar_config(disable=True)
    expected = call(theirs, request, ip_adapter_image=[[photo(0), photo(1)]])
    assert apart(latents(kit.model, request), expected) < 1e-12


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


@pytest.mark.parametrize("family", FAMILIES)
def test_a_plain_job_beside_others_has_the_bits_of_a_model_without_adapters(
    family: str, kits: dict[str, Kit]
) -> None:
    kit = kits[family]
    expected = latents(kit.plain, asked(kit.plain))
    company = {
        "plain": asked(kit.model),
        "ink": asked(kit.model, loras=loras(ink=1.0)),
        "oil": asked(kit.model, loras=loras(oil=0.5), num_inference_steps=3),
        "reference": asked(kit.model, reference_images=["file_" + "0" * 64]),
        "control": asked(kit.model, controls=control()),
    }
    made = values(run_all(kit.gather, {k: making(kit.model, v) for k, v in company.items()}))
    assert torch.equal(made["plain"], expected)
    bits = {tuple(tensor.flatten().tolist()) for tensor in made.values()}
    assert len(bits) == len(company)
    assert torch.equal(latents(kit.model, asked(kit.model, loras=loras(ink=0.0))), expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_part_of_a_setting_matters(family: str, kits: dict[str, Kit]) -> None:
    model = kits[family].model
    one, two = (["file_" + "0" * 64] * count for count in (1, 2))
    requests = [
        asked(model),
        asked(model, prompt=f"a {TOKEN}"),
        asked(model, loras=loras(ink=1.0)),
        asked(model, loras=loras(ink=0.5)),
        asked(model, loras=loras(ink=1.0, oil=1.0)),
        asked(model, loras=loras(wash=1.0)),
        asked(model, reference_images=one, reference_scale=0.4),
        asked(model, reference_images=one, reference_scale=0.9),
        asked(model, reference_images=two, reference_scale=0.4),
        asked(model, reference_images=one, reference_scale=0.4, loras=loras(ink=1.0)),
        asked(model, controls=control()),
        asked(model, controls=control(scale=0.5)),
    ]
    made = {tuple(latents(model, request).flatten().tolist()) for request in requests}
    assert len(made) == len(requests)


def test_a_lora_named_twice_counts_twice(kits: dict[str, Kit]) -> None:
    model = kits["sd15"].model
    twice = asked(model, loras=loras(ink=0.25) * 2)
    assert torch.equal(latents(model, twice), latents(model, asked(model, loras=loras(ink=0.5))))


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


def test_the_record_names_what_can_be_used(kits: dict[str, Kit]) -> None:
    record = kits["sd15"].model.record
    assert record.loras == ("ink", "oil", "wash")
    assert (record.controlnets, record.embeddings, record.reference) == (("edges",), (TOKEN,), True)
    assert record.faults == {}
    plain = kits["sd15"].plain.record
    assert (plain.loras, plain.reference, plain.faults) == ((), False, {})


def test_what_the_model_has_not_is_unsupported(kits: dict[str, Kit]) -> None:
    plain = kits["sd15"].plain
    for fields, words in (
        ({"loras": loras(ink=1.0)}, "no LoRA 'ink'"),
        ({"controls": control()}, "no ControlNet 'edges'"),
        ({"reference_images": ["file_" + "0" * 64]}, "no reference images"),
    ):
        with pytest.raises(UnsupportedError, match=words):
            latents(plain, asked(plain, **fields))


# Faults: each beside good ones, which work on.


def save(folder: Path, tensors: dict[str, torch.Tensor], name: str = shelf.LORA) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / name, metadata={"format": "pt"})
    return folder


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
    save(bad, tensors | {f"{name}.dora_scale": torch.ones(16, 1)})


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
    (of_sdxl, "does not fit: weights of another shape"),
    (of_another_shape_in_the_text_encoder, "does not fit: weights of another shape"),
    (for_layers_that_are_not_there, "belong to no layer"),
    (for_text_layers_that_are_not_there, "belong to no layer"),
    (of_another_kind, "DoRA"),
    (for_nothing, "none of its weights belongs to a layer"),
    (with_half_missing, "some of its weights are missing"),
    (with_half_missing_in_the_text_encoder, "some of its weights are missing"),
    (without_loras, "lora"),
    (cut_off, "damaged"),
    (pickled, "pytorch_lora_weights.bin could run code"),
    (pickled_in_disguise, "damaged"),
    (empty, "holds no safetensors file"),
    (of_two_files, "name one: weight_name"),
    (nowhere, "is no folder"),
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


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"weight_name": "adapter.safetensors"}, "adapter.safetensors is missing"),
        ({"weight_name": "adapter.bin"}, "adapter.bin could run code"),
        ({"weight_name": "disguise.lora"}, "disguise.lora could run code"),
        ({"source": "somebody/ink", "weight_name": "adapter.pt"}, "adapter.pt could run code"),
        ({"source": "somebody/ink"}, "not in the Hugging Face cache"),
    ],
)
def test_a_lora_s_file_can_be_named(more: dict[str, str], words: str, kits: dict[str, Kit]) -> None:
    kit = kits["sd15"]
    card = {
        "loras": [
            lora(kit.folder / "ink" / shelf.LORA, "file"),
            lora(kit.folder / "ink", "named") | {"weight_name": shelf.LORA},
            lora(kit.folder / "ink", "wrong") | more,
        ]
    }
    model = tiny.load("sd15", kit.folder / "model", Gather(), **card)
    assert model.record.loras == ("file", "named")
    assert words in model.record.faults["lora:wrong"]


def test_a_model_of_which_no_lora_can_be_used_is_a_plain_one(
    kits: dict[str, Kit], tmp_path: Path
) -> None:
    folder = kits["sd15"].folder
    shelf.write_lora("sdxl", tmp_path, 7)
    model = tiny.load("sd15", folder / "model", Gather(), loras=[lora(tmp_path, "bad")])
    assert (model.adapters.modules, model.record.loras) == ([], ())


def test_models_of_other_kinds_say_what_they_do_not_take(tmp_path: Path) -> None:
    shelf.write_controlnet(tmp_path / "edges", 1)
    model = tiny.load(
        "dit",
        tmp_path / "model",
        Gather(),
        loras=[lora(shelf.write_lora("sd15", tmp_path / "ink", 1), "ink")],
        controlnets=[{"name": "edges", "source": str(tmp_path / "edges")}],
        embeddings=[
            {"token": TOKEN, "source": str(shelf.write_embedding("sd15", tmp_path / "tabby", 1))}
        ],
        ip_adapter=ip_adapter(tmp_path),
    )
    assert set(model.record.faults) == {
        "lora:ink",
        "controlnet:edges",
        f"embedding:{TOKEN}",
        "ip_adapter",
    }
    assert all("DiTPipeline takes no" in fault for fault in model.record.faults.values())


def test_adapters_work_in_every_task_that_follows_a_prompt(kits: dict[str, Kit]) -> None:
    kit = kits["sdxl"]
    photos = {
        IMAGE: photo(1),
        MASK: photo(2).convert("L"),
        reference(0): photo(3),
    }
    image = "file_" + "0" * 64
    tasks_of = {
        "text-to-image": {},
        "image-to-image": {"image": image, "strength": 1.0},
        "inpaint": {"image": image, "mask_image": image, "strength": 1.0},
    }
    adapters_of = ({}, {"loras": loras(ink=0.3)}, {"reference_images": [image]})
    wanted = [
        TASKS[task].request(**asked(kit.model).model_dump() | {"task": task} | own | more)
        for task, own in tasks_of.items()
        for more in adapters_of
    ]

    def job(request: Request) -> np.ndarray:
        with torch.no_grad():
            made = tasks.run(request, kit.model, photos)
        return made.pictures[0].astype(int)

    alone = [job(request) for request in wanted]
    joined = kit.gather.joined_calls
    jobs = {index: lambda r=request: job(r) for index, request in enumerate(wanted)}
    together = values(run_all(kit.gather, jobs))
    assert max(np.abs(together[i] - alone[i]).max() for i in together) <= 1
    assert kit.gather.joined_calls - joined >= 3 * 2  # settings, steps
    assert len({picture.tobytes() for picture in alone}) == len(wanted)


def test_loras_and_boxes_work_together(tmp_path: Path) -> None:
    source = shelf.write_lora("sd15", tmp_path / "ink", 1)
    gather = Gather()
    model = tiny.load(
        "gligen", tmp_path / "model", gather, dtype="float64", loras=[lora(source, "ink")]
    )
    assert model.record.faults == {}
    ink, box = loras(ink=0.5), {"phrase": "a hat", "box": (0.0, 0.0, 0.5, 0.5)}
    values_of = asked(model, num_inference_steps=4).model_dump(exclude={"controls"})
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
    assert "changes the model's own layers" in model.record.faults["lora:control"]
    assert model.record.loras == ("ink",)
    assert model.adapters.adapted["transformer"].x_embedder.in_features == width


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("family", "cross_attention_dim is 32"),
        ("kind", "SD3ControlNetModel does not work with StableDiffusionPipeline"),
        ("pickle", "could run code"),
        ("missing", "weights are missing"),
        ("damaged", "damaged"),
        ("nowhere", "is no folder"),
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


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("family", "does not fit"),
        ("layers", "made for 3 layers, the model has 4"),
        ("faces", "FaceID"),
        ("pickle", "could run code"),
        ("damaged", "damaged"),
        ("encoder", "no image encoder; name one"),
        ("encoder pickle", "could run code"),
        ("encoder missing", "weights are missing"),
        ("nowhere", "is no folder"),
    ],
)
def test_an_ip_adapter_that_cannot_be_used_is_named_and_harms_nothing_else(
    spoil: str, words: str, kits: dict[str, Kit], tmp_path: Path
) -> None:
    kit, bad = kits["sd15"], tmp_path / "bad"
    shelf.write_ip_adapter("sdxl" if spoil == "family" else "sd15", bad, 4)
    card, weights = ip_adapter(bad), bad / shelf.IP_ADAPTER
    tensors, encoder = load_file(weights), bad / "image_encoder" / "model.safetensors"
    if spoil == "layers":
        save(bad, {k: v for k, v in tensors.items() if ".7." not in k}, shelf.IP_ADAPTER)
    elif spoil == "faces":
        more = {"ip_adapter.0.to_q_lora.down.weight": torch.zeros(2, 2)}
        save(bad, tensors | more, shelf.IP_ADAPTER)
    elif spoil == "pickle":
        card["weight_name"] = "ip-adapter.bin"
    elif spoil == "damaged":
        weights.write_bytes(weights.read_bytes()[:500])
    elif spoil == "encoder":
        del card["image_encoder"]
    elif spoil == "encoder pickle":
        encoder.rename(encoder.with_suffix(".bin"))
    elif spoil == "encoder missing":
        read = load_file(encoder)
        read.pop(sorted(read)[3])
        save_file(read, encoder, metadata={"format": "pt"})
    elif spoil == "nowhere":
        card["source"] = str(tmp_path / "nowhere")
    inks = [lora(kit.folder / "ink", "ink")]
    model = kit.load(ip_adapter=card, loras=inks)
    assert not model.record.reference
    assert list(model.record.faults) == ["ip_adapter"]
    assert words in model.record.faults["ip_adapter"]
    request = asked(model, loras=loras(ink=1.0))
    assert torch.equal(latents(model, request), latents(kit.model, request))
    with pytest.raises(UnsupportedError, match="cannot be used"):
        model.adapters.choose(asked(model, reference_images=["file_" + "0" * 64]))


@pytest.mark.parametrize(
    ("token", "spoil", "words"),
    [
        ("a", "", "a word of the tokenizer already"),
        ("<new>", "width", "vectors of 1 x 20, the text encoder's have 16"),
        ("<new>", "encoders", "no vectors"),
        ("<new>", "pickle", "could run code"),
        ("<new>", "damaged", "damaged"),
        ("<new>", "nowhere", "is no folder"),
    ],
)
def test_a_textual_inversion_that_cannot_be_used_is_named_and_harms_no_other(
    token: str, spoil: str, words: str, kits: dict[str, Kit], tmp_path: Path
) -> None:
    kit, bad = kits["sdxl"], tmp_path / "bad"
    shelf.write_embedding("sdxl", bad, 1)
    file = bad / shelf.EMBEDDING
    if spoil == "width":
        save(bad, load_file(file) | {"clip_g": torch.zeros(1, 20)}, shelf.EMBEDDING)
    elif spoil == "encoders":
        shelf.write_embedding("sd15", bad, 1)
    elif spoil == "pickle":
        file.rename(file.with_suffix(".pt"))
    elif spoil == "damaged":
        file.write_bytes(file.read_bytes()[:20])
    elif spoil == "nowhere":
        bad = tmp_path / "nowhere"
    words_of = [{"token": token, "source": str(bad)}, *kit.card["embeddings"]]
    model = kit.load(embeddings=words_of)
    assert model.record.embeddings == (TOKEN,)
    assert words in model.record.faults[f"embedding:{token}"]
    for request in (asked(model), asked(model, prompt=f"a {TOKEN}")):
        assert torch.equal(latents(model, request), latents(kit.model, request))


TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)


@pytest.mark.parametrize("family", FAMILIES)
@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    prompt=st.lists(
        TEXTS | st.sampled_from(["<tabby", "tabby>", "<TABBY>", "x<tabby>y", "<tabby>_1", "_1"])
    ).map(" ".join)
)
def test_prompts_without_the_token_are_read_as_before(
    family: str, prompt: str, kits: dict[str, Kit]
) -> None:
    kit = kits[family]
    assume(not re.search(r"(?<!\w)<tabby>(_1)?(?!\w)", prompt))
    for name in ("tokenizer", "tokenizer_2"):
        if (tokenizer := kit.model.components.get(name)) is not None:
            ids = kit.plain.components[name](prompt).input_ids
            assert tokenizer(prompt).input_ids == ids


def test_a_token_stands_for_all_its_vectors(kits: dict[str, Kit]) -> None:
    kit = kits["sd15"]
    view = kit.model.view("text-to-image", "DDIMScheduler")
    prompt = view.maybe_convert_prompt(f"a {TOKEN}, asleep", view.tokenizer)
    ids = view.tokenizer(prompt).input_ids
    table = view.text_encoder.get_input_embeddings().weight
    vectors = load_file(kit.folder / "tabby" / shelf.EMBEDDING)["emb_params"]
    assert torch.equal(table[ids[2:4]], vectors.double())
    assert len(table) == len(kit.plain.components["tokenizer"]) + 2


def test_a_new_word_does_not_move_the_end_of_old_encoders(tmp_path: Path) -> None:
    tiny.write("sdxl", tmp_path / "model")
    config = tmp_path / "model" / "text_encoder_2" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"eos_token_id": 2}))
    source = shelf.write_embedding("sdxl", tmp_path / "tabby", 5)
    words = [{"token": TOKEN, "source": str(source)}]
    old = tiny.load("sdxl", tmp_path / "model", Gather())
    new = tiny.load("sdxl", tmp_path / "model", Gather(), embeddings=words)
    ids = old.components["tokenizer_2"]("a cat").input_ids
    other = new.components["tokenizer_2"](f"a {TOKEN} cat").input_ids
    with torch.no_grad():
        before = old.components["text_encoder_2"](torch.tensor([ids]))
        after = new.components["text_encoder_2"](torch.tensor([ids]))
        encoder = new.components["text_encoder_2"]
        moved = encoder(torch.tensor([other]))
        end = encoder.text_projection(moved.last_hidden_state[:, -1])
    assert torch.equal(before.text_embeds, after.text_embeds)
    assert torch.allclose(moved.text_embeds, end)


@pytest.mark.parametrize("family", FAMILIES)
def test_adapted_modules_share_the_weights_of_the_plain_ones(
    family: str, kits: dict[str, Kit]
) -> None:
    model = kits[family].model
    own = {id(each) for each in model.components["unet"].parameters()}
    for unet in (model.adapters.adapted["unet"], model.adapters.reference["unet"]):
        assert unet is not model.components["unet"]
        assert own < {id(each) for each in unet.parameters()}
        assert not any("lora" in name for name, _ in model.components["unet"].named_modules())


def test_jobs_of_other_settings_that_take_turns_keep_their_own(kits: dict[str, Kit]) -> None:
    """Nobody else sets what a job works with, whoever makes views or runs in between."""
    kit = kits["sd15"]
    requests = [asked(kit.model, loras=loras(ink=scale)) for scale in (1.0, 0.5)]
    expected = [latents(kit.model, request) for request in requests]
    views = [
        kit.model.view(each.task, each.scheduler, adapters=kit.model.adapters.choose(each))
        for each in requests
    ]
    made = [call(view, each) for view, each in zip(views, requests, strict=True)]
    assert all(map(torch.equal, made, expected))
    assert not torch.equal(*made)


def test_a_view_holds_the_very_parts_of_the_adapted_module(kits: dict[str, Kit]) -> None:
    model = kits["sd15"].model
    chosen = model.adapters.choose(asked(model, loras=loras(ink=1.0)))
    adapted, bound = model.adapters.adapted["unet"], chosen.components["unet"]
    assert bound is not adapted
    assert list(map(id, bound.parameters())) == list(map(id, adapted.parameters()))
    gone = weakref.ref(bound)
    del bound, chosen
    assert gone() is None


def test_nothing_keeps_a_model_that_left(kits: dict[str, Kit]) -> None:
    kit, gather = kits["sd15"], Gather()
    model = tiny.load("sd15", kit.folder / "model", gather, **kit.card)
    gather.start(1, making(model, asked(model, loras=loras(ink=1.0), num_inference_steps=1)))
    while gather.parked:
        gather.run(list(gather.parked.values()))
    gather.take_ended()
    gone = [weakref.ref(module) for _, module in model.adapters.modules]
    del model
    gc.collect()
    assert [ref() for ref in gone] == [None] * len(gone)
