import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from darkroom.errors import UnsupportedError
from darkroom.input_images import IMAGE, MASK, reference
from darkroom.request import Request
from darkroom.tasks import TASKS
from tests import tiny
from tests import tiny_adapters as shelf
from tests.adapter_kit import (
    FAMILIES,
    TOKEN,
    Kit,
    apart,
    asked,
    call,
    control,
    latents,
    loras,
    making,
    photo,
)
from tests.gathering import run_all, values
from worker.gathering.gather import Gather
from worker.making import tasks

TWO_ENCODERS = (("", "clip_l"), ("_2", "clip_g"))


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
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
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


def test_what_the_model_has_not_is_unsupported(kits: dict[str, Kit]) -> None:
    plain = kits["sd15"].plain
    for fields, words in (
        ({"loras": loras(ink=1.0)}, "no LoRA 'ink'"),
        ({"controls": control()}, "no ControlNet 'edges'"),
        ({"reference_images": ["file_" + "0" * 64]}, "no reference images"),
    ):
        with pytest.raises(UnsupportedError, match=words):
            latents(plain, asked(plain, **fields))


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
        TASKS[task].request(
            **asked(kit.model).model_dump(exclude={"hires"}) | {"task": task} | own | more
        )
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


@pytest.mark.parametrize("family", FAMILIES)
def test_adapted_modules_share_the_weights_of_the_plain_ones(
    family: str, kits: dict[str, Kit]
) -> None:
    model = kits[family].model
    own = {id(each) for each in model.components["unet"].parameters()}
    for unet in (model.adapters.adapted["unet"], model.adapters.reference["unet"]):
        assert unet is not model.components["unet"]
        assert own <= {id(each) for each in unet.parameters()}
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
