from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    PNDMScheduler,
)

from darkroom.errors import UnsupportedError
from darkroom.request import TextToImage
from darkroom.schedulers import SchedulerOptions
from tests import tiny
from tests.tiny import BETAS
from worker.gathering.gather import Gather
from worker.loading.diffusers_table import _scheduler_classes
from worker.loading.flows import HEUN, SOLVERS
from worker.loading.pipelines import LoadedModel
from worker.loading.schedulers import UNSUITABLE, Look, Schedulers, options_of, step_counter
from worker.loading.stack import replace_step
from worker.making import tasks

FLOW = "FlowMatchEulerDiscreteScheduler"
USUAL = [
    "DDIMScheduler",
    "DDPMScheduler",
    "DPMSolverMultistepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
]


def test_a_latent_diffusion_model_works_with_the_usual_schedulers() -> None:
    schedulers = Schedulers(PNDMScheduler(**BETAS))
    assert set(USUAL) <= set(schedulers.names)
    assert not UNSUITABLE & set(schedulers.names)
    assert schedulers.own == "PNDMScheduler"


def test_what_cannot_follow_a_model_s_prediction_is_not_on_offer() -> None:
    own = DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction")
    names = Schedulers(own).names
    assert {"DPMSolverMultistepScheduler", "UniPCMultistepScheduler"} <= set(names)
    assert not {"DDIMScheduler", "EulerDiscreteScheduler", "PNDMScheduler"} & set(names)
    of_picture = Schedulers(EulerDiscreteScheduler(**BETAS, prediction_type="sample")).names
    assert "DDIMScheduler" in of_picture
    assert not {"KDPM2DiscreteScheduler", "PNDMScheduler"} & set(of_picture)


@pytest.mark.parametrize("name", USUAL)
def test_two_jobs_never_share_a_scheduler(name: str) -> None:
    schedulers = Schedulers(EulerDiscreteScheduler(**BETAS))
    one, other = schedulers.new(name), schedulers.new(name)
    other.set_timesteps(7)
    expected = other.timesteps.clone()
    one.set_timesteps(3)
    sample = torch.ones(1, 4, 2, 2)
    for timestep in one.timesteps:
        one.step(one.scale_model_input(sample, timestep), timestep, sample)
    assert torch.equal(other.timesteps, expected)
    assert getattr(other, "step_index", None) is None
    fresh = schedulers.new(name)
    assert getattr(fresh, "step_index", None) is None
    assert not any(each is not None for each in getattr(fresh, "model_outputs", []))


@pytest.mark.parametrize("name", USUAL)
def test_the_model_s_noise_schedule_is_taken_over(name: str) -> None:
    config = Schedulers(PNDMScheduler(**BETAS)).new(name).config
    assert {key: config[key] for key in BETAS} == BETAS


def test_latents_are_never_clipped_by_a_default_meant_for_pixels() -> None:
    schedulers = Schedulers(EulerDiscreteScheduler(**BETAS))
    assert schedulers.new("DDIMScheduler").config.clip_sample is False
    assert schedulers.new("PNDMScheduler").config.skip_prk_steps is True


@pytest.mark.parametrize(
    ("name", "told_after_calls"),
    [("DDIMScheduler", [1, 2, 3, 4]), ("HeunDiscreteScheduler", [2, 4, 6, 7])],
)
def test_steps_are_counted_on_the_scale_of_the_request(
    name: str, told_after_calls: list[int]
) -> None:
    scheduler = Schedulers(PNDMScheduler(**BETAS)).new(name)
    pipeline = SimpleNamespace(scheduler=scheduler)
    told, calls = [], 0

    class Listener:
        def step(self, i: int, n: int, _: Look, /) -> None:
            told.append((i, n, calls))

    with replace_step(scheduler, step_counter(pipeline, 4, Listener())):
        scheduler.set_timesteps(4)
        sample = torch.ones(1, 4, 2, 2)
        for timestep in scheduler.timesteps:
            calls += 1
            scheduler.step(sample, timestep, sample, return_dict=calls % 2 == 0)
    assert told == [(step, 4, after) for step, after in enumerate(told_after_calls, 1)]
    assert "step" not in vars(scheduler)


CLEAN = torch.tensor([[[[0.5, -0.2], [0.1, 0.9]]]])
NOISE = torch.tensor([[[[1.5, -0.3], [-0.7, 0.4]]]])


@pytest.mark.parametrize("as_tuple", [True, False])
@pytest.mark.parametrize(
    "name",
    [
        "DDIMScheduler",
        "DPMSolverMultistepScheduler",
        "DPMSolverSinglestepScheduler",
        "EulerDiscreteScheduler",
        "EulerAncestralDiscreteScheduler",
        "UniPCMultistepScheduler",
        "LCMScheduler",
        FLOW,
    ],
)
def test_who_looks_at_a_step_sees_no_noise(name: str, as_tuple: bool) -> None:
    """The first step of a network that knows which noise was added."""
    if name == FLOW:
        own: Any = FlowMatchEulerDiscreteScheduler()
    else:
        own = EulerDiscreteScheduler(**BETAS)
    scheduler: Any = Schedulers(own).new(name)
    seen = []

    class Listener:
        def step(self, i: int, n: int, look: Look, /) -> None:
            seen.append((i, n, look()))

    pipeline = SimpleNamespace(scheduler=scheduler)
    with replace_step(scheduler, step_counter(pipeline, 8, Listener())):
        scheduler.set_timesteps(8)
        timestep = scheduler.timesteps[2]
        scheduler.set_begin_index(2) if hasattr(scheduler, "set_begin_index") else None
        if name == FLOW:
            level = scheduler.sigmas[2]
            sample, answer = (1 - level) * CLEAN + level * NOISE, NOISE - CLEAN
        else:
            sample, answer = scheduler.add_noise(CLEAN, NOISE, timestep[None]), NOISE
        after = scheduler.step(answer, timestep, sample, return_dict=not as_tuple)[0]
    [(step, steps, look)] = seen
    assert (step, steps) == (1, 8)
    assert not torch.allclose(after, CLEAN, atol=0.1), "there is still noise in the sample"
    if name != "LCMScheduler":  # whose answer is a mix of both
        assert torch.allclose(look, CLEAN, atol=1e-3)


def test_what_a_scheduler_does_not_tell_is_the_sample_as_it_is() -> None:
    scheduler: Any = Schedulers(PNDMScheduler(**BETAS)).new("PNDMScheduler")
    seen = []

    class Listener:
        def step(self, _i: int, _n: int, look: Look, /) -> None:
            seen.append(look())

    pipeline = SimpleNamespace(scheduler=scheduler)
    with replace_step(scheduler, step_counter(pipeline, 4, Listener())):
        scheduler.set_timesteps(4)
        for timestep in scheduler.timesteps:
            after = scheduler.step(NOISE, timestep, CLEAN, return_dict=False)[0]
    assert seen[-1] is after


def test_the_sde_solver_is_not_on_offer_since_its_noise_cannot_be_repeated(tmp_path: Path) -> None:
    own = EulerDiscreteScheduler(**BETAS)
    own.save_pretrained(tmp_path)
    names = Schedulers(EulerDiscreteScheduler.from_pretrained(tmp_path)).names
    assert "DPMSolverSDEScheduler" not in names
    assert "EDMEulerScheduler" not in names


# --- Whole jobs


def made(model: LoadedModel, **fields: Any) -> bytes:
    request = TextToImage(
        task="text-to-image",
        model=model.record.name,
        prompt="a cat",
        width=16,
        height=16,
        num_inference_steps=3,
        guidance_scale=5.0,
        seed=1,
        num_images=2,
        **{"scheduler": model.schedulers.own, **fields},
    )
    with torch.no_grad():
        pictures = tasks.run(request, model, {}).pictures
    return b"".join(each.tobytes() for each in pictures)


def test_a_job_is_given_the_options_of_its_request(model: LoadedModel) -> None:
    fields = {"scheduler": "EulerDiscreteScheduler"}
    karras = SchedulerOptions(sigmas="karras")
    assert made(model, **fields, scheduler_options=karras) != made(model, **fields)


def test_a_flow_that_adds_noise_adds_that_of_the_seed(tmp_path: Path) -> None:
    pipeline = tiny.sd3()
    calm = tiny.load("sd3", tmp_path / "calm", Gather())
    pipeline.scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, stochastic_sampling=True)
    pipeline.save_pretrained(tmp_path / "noisy")
    noisy = tiny.load("sd3", tmp_path / "noisy", Gather())
    torch.manual_seed(1)
    first = made(noisy)
    torch.manual_seed(2)
    assert made(noisy) == first != made(calm)


# --- Options

SIGMAS = ("karras", "exponential", "beta")
SPACING = "timestep_spacing"
SPACINGS = ("linspace", "leading", "trailing")
NAMES = Schedulers(tiny.sd15().scheduler).names


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny.load("sd15", tmp_path_factory.mktemp("sd15"), Gather())


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny.load("sd3", tmp_path_factory.mktemp("sd3"), Gather())


def taken(name: str) -> list[SchedulerOptions]:
    """All options that the class says it takes, each alone, and two together."""
    possible = options_of(getattr(diffusers, name))
    pairs = [(None, None), *((each, None) for each in SIGMAS if each in possible)]
    if "timestep_spacing" in possible:
        pairs += [(None, spacing) for spacing in SPACINGS]
        pairs += [("karras", "trailing")] if "karras" in possible else []
    return [SchedulerOptions(sigmas=sigmas, timestep_spacing=each) for sigmas, each in pairs]


def picture(
    model: LoadedModel, name: str, options: SchedulerOptions | None = None, **more: Any
) -> torch.Tensor:
    task = "image-to-image" if "strength" in more else "text-to-image"
    pipeline = model.view(task, name, options)
    with torch.no_grad():
        return pipeline(
            "a cat",
            num_inference_steps=4,
            generator=torch.Generator().manual_seed(1),
            output_type="pt",
            **({"width": 16, "height": 16} if task == "text-to-image" else {}),
            **more,
        ).images


@pytest.mark.parametrize("name", NAMES)
def test_every_option_that_a_scheduler_takes_makes_a_picture_of_its_own(
    name: str, model: LoadedModel
) -> None:
    made = {options: picture(model, name, options) for options in taken(name)}
    assert all(each.isfinite().all() for each in made.values())
    assert torch.equal(picture(model, name), made[SchedulerOptions()])
    own = SchedulerOptions(timestep_spacing=model.schedulers.new(name).config.get(SPACING))
    different = {each.numpy().tobytes() for options, each in made.items() if options != own}
    # Sigmas by a formula keep their ends, which is all that a spacing can move, and not always.
    together = [options for options in made if options.sigmas and options.timestep_spacing]
    assert len(different) >= len(set(made) - {own, *together})


@pytest.mark.parametrize("name", NAMES)
def test_every_option_works_from_a_picture_on(name: str, model: LoadedModel) -> None:
    start = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    for options in taken(name):
        assert picture(model, name, options, image=start, strength=0.6).isfinite().all()


@pytest.mark.parametrize("sigmas", SIGMAS)
def test_rectified_flow_takes_sigmas(sigmas: str, flow: LoadedModel) -> None:
    made = [
        picture(flow, flow.schedulers.own, options, max_sequence_length=16)
        for options in (None, SchedulerOptions(sigmas=sigmas))
    ]
    assert all(each.isfinite().all() for each in made)
    assert not torch.equal(*made)


@pytest.mark.parametrize("family", ["sd3", "flux"])
def test_every_solver_of_rectified_flows_makes_pictures(
    family: str, tmp_path: Path, flow: LoadedModel
) -> None:
    model = flow if family == "sd3" else tiny.load(family, tmp_path, Gather())
    start = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    assert set(model.schedulers.names) == SOLVERS
    drawn, redrawn = [], []
    for name in sorted(SOLVERS):
        drawn.append(picture(model, name, max_sequence_length=16))
        if name != HEUN:
            more = {"image": start, "strength": 0.6, "max_sequence_length": 16}
            redrawn.append(picture(model, name, **more))
    assert all(each.isfinite().all() for each in (*drawn, *redrawn))
    for made in (drawn, redrawn):
        assert len({each.numpy().tobytes() for each in made}) == len(made)


@pytest.mark.long
def test_options_differ_where_they_should_for_every_class() -> None:
    """Even those that few models come with; nothing is claimed that a class then ignores."""
    classes = _scheduler_classes()
    claimed = {name: options_of(cls) for name, cls in classes.items()}
    assert claimed["LCMScheduler"] == ("original_inference_steps",)
    assert claimed["TCDScheduler"] == ("original_inference_steps", "eta")
    assert claimed["DDIMScheduler"] == ("timestep_spacing", "eta")
    assert claimed["FlowMatchEulerDiscreteScheduler"] == SIGMAS
    assert claimed["EulerDiscreteScheduler"] == (*SIGMAS, "timestep_spacing")
    for name, cls in classes.items():
        given = [{}] + [{f"use_{each}_sigmas": True} for each in SIGMAS if each in claimed[name]]
        laid_out = [steps(cls, **each) for each in given]
        assert len(set(laid_out)) == len(given), name
        if "timestep_spacing" in claimed[name]:
            laid_out = [steps(cls, timestep_spacing=each) for each in SPACINGS]
            assert len(set(laid_out)) == len(SPACINGS), name


def steps(cls: Any, **config: Any) -> tuple[float, ...]:
    if not options_of(cls):
        return ()
    scheduler = cls(**config)
    scheduler.set_timesteps(6)
    sigmas = getattr(scheduler, "sigmas", torch.zeros(0))
    return (*scheduler.timesteps.tolist(), *sigmas.tolist())


def test_one_kind_of_sigmas_replaces_the_model_s_own() -> None:
    schedulers = Schedulers(EulerDiscreteScheduler(**BETAS, use_karras_sigmas=True))
    for sigmas, name in product(SIGMAS, ("EulerDiscreteScheduler", "UniPCMultistepScheduler")):
        config = schedulers.new(name, SchedulerOptions(sigmas=sigmas)).config
        assert [config[f"use_{each}_sigmas"] for each in SIGMAS] == [
            each == sigmas for each in SIGMAS
        ]
    assert schedulers.new("EulerDiscreteScheduler", SchedulerOptions()).config.use_karras_sigmas


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("DDIMScheduler", {"sigmas": "karras"}),
        ("EulerAncestralDiscreteScheduler", {"sigmas": "beta"}),
        ("DPMSolverSinglestepScheduler", {"timestep_spacing": "leading"}),
    ],
)
def test_an_option_that_a_scheduler_does_not_take_is_unsupported(
    name: str, options: dict[str, Any]
) -> None:
    schedulers = Schedulers(PNDMScheduler(**BETAS))
    with pytest.raises(UnsupportedError, match=f"{name} does not take"):
        schedulers.new(name, SchedulerOptions(**options))


def test_a_solver_on_a_rectified_flow_keeps_the_flow_s_sigmas() -> None:
    own = DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction")
    schedulers = Schedulers(own)
    with pytest.raises(UnsupportedError, match="with this model"):
        schedulers.new(schedulers.own, SchedulerOptions(sigmas="karras"))


@pytest.mark.parametrize("name", ["DPMSolverMultistepScheduler", "UniPCMultistepScheduler"])
def test_a_flow_s_timesteps_follow_from_its_sigmas(name: str) -> None:
    schedulers = Schedulers(FlowMatchEulerDiscreteScheduler())
    with pytest.raises(UnsupportedError, match="does not take timestep_spacing"):
        schedulers.new(name, SchedulerOptions(timestep_spacing="trailing"))
    assert schedulers.new(name, SchedulerOptions(sigmas="karras")).own.config.use_karras_sigmas


def test_jobs_with_options_do_not_share_a_scheduler_either() -> None:
    schedulers = Schedulers(PNDMScheduler(**BETAS))
    options = SchedulerOptions(sigmas="karras")
    one, other = (schedulers.new("EulerDiscreteScheduler", options) for _ in range(2))
    one.set_timesteps(3)
    assert len(other.timesteps) == 1000
    assert one.config.use_karras_sigmas
    assert not schedulers.new("EulerDiscreteScheduler").config.use_karras_sigmas
