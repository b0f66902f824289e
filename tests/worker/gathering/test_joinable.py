"""Gathered equals alone: what earns a class its place in the table."""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests import tiny, tiny_transformers
from tests.gathering import difference, run_all, values, witnessed
from worker.gathering.gather import Gather
from worker.gathering.joinable import JOINABLE
from worker.loading.adapters import Choice
from worker.loading.pipelines import LoadedModel
from worker.making.pipeline_call import generators

CALL_TOLERANCE = 1e-12
JOB_TOLERANCE = 1e-9

SIZE = (tiny.IMAGE_SIZE, tiny.IMAGE_SIZE)
MASK = Image.new("L", SIZE)
MASK.paste(255, (4, 4, 12, 12))

Job = dict[str, Any]


class Company:
    """A model in float64 whose joined calls are each made again alone, at once, and compared."""

    def __init__(self, family: str, folder: Path) -> None:
        self.gather = Gather()
        self.model: LoadedModel = tiny.load(family, folder, self.gather, dtype="float64")
        self.differences: list[float] = []
        parts = self.model.components
        for name in ("unet", "vqvae"):  # some classes are never loaded that wide
            if isinstance(parts.get(name), torch.nn.Module):
                parts[name].double()
        self.network = parts["transformer"] if "transformer" in parts else parts["unet"]
        self.network.forward = witnessed(self.network.forward, self.differences)
        self.controlnets: list[torch.nn.Module] = []

    def add_controlnets(self, *nets: torch.nn.Module) -> None:
        for net in nets:
            self.gather.wrap(net.double(), "controlnet")
            net.forward = witnessed(net.forward, self.differences)
            self.controlnets.append(net)

    def picture(self, job: Job) -> torch.Tensor:
        """What the job makes, as floats."""
        nets = [self.controlnets[index] for index in job.get("controls", ())]
        components = {"controlnet": nets if len(nets) > 1 else nets[0]} if nets else {}
        chosen = Choice(components, is_controlled=bool(nets))
        view = self.model.view(job["task"], job["scheduler"], adapters=chosen)
        accepted = inspect.signature(view.__call__).parameters
        arguments = {k: v for k, v in asked_of(job).items() if k in accepted}
        if nets:
            maps = [noise(seed=index) for index in job["controls"]]
            name = "control_image" if "control_image" in accepted else "image"
            arguments[name] = maps if len(nets) > 1 else maps[0]
            arguments["controlnet_conditioning_scale"] = [0.8] * len(nets) if len(nets) > 1 else 0.8
        return view(**arguments).images

    def together(self, jobs: list[Job], max_jobs: int) -> list[torch.Tensor]:
        self.differences.clear()
        self.gather.forwards = self.gather.joined_calls = self.gather.rows = 0
        runs = {index: lambda job=job: self.picture(job) for index, job in enumerate(jobs)}
        made = values(run_all(self.gather, runs, max_jobs=max_jobs))
        return [made[index] for index in range(len(jobs))]

    def check(self, jobs: list[Job], max_jobs: int = 8) -> None:
        """Together they make what they make alone, in fewer forwards."""
        alone = [self.picture(job) for job in jobs]
        gathered = self.together(jobs, max_jobs)
        calls = len(self.differences)
        assert max(self.differences) <= CALL_TOLERANCE
        assert max(map(difference, gathered, alone)) <= JOB_TOLERANCE
        assert self.gather.forwards < calls
        assert self.gather.joined_calls >= min(calls - self.gather.forwards, 2)


def asked_of(job: Job) -> dict[str, Any]:
    """The arguments of any pipeline's call."""
    images = job["images"]
    asked = {
        "prompt": job["prompt"],
        "num_inference_steps": job["steps"],
        "guidance_scale": job["guidance"],
        "num_images_per_prompt": images,
        "class_labels": [job["seed"]] * images,
        "generator": generators(job["seed"], images),
        "output_type": "pt",
        "width": tiny.IMAGE_SIZE,
        "height": tiny.IMAGE_SIZE,
        "max_sequence_length": tiny.MAX_TOKENS,
        "gligen_phrases": job["phrases"],
        "gligen_boxes": [[0.0, 0.0, 0.5, 1.0]] * len(job["phrases"]),
        "gligen_scheduled_sampling_beta": job["grounded"],
        "noise_level": job["seed"],
        "strength": job["strength"],
        "mask_image": MASK,
    }
    if job["task"] in ("image-to-image", "inpaint"):
        asked["image"] = [noise(job["seed"])] * images
    if job["task"] == "upscale":
        small = torch.full((images, 3, 8, 8), job["seed"] / 255, dtype=torch.float64)
        asked |= {"prompt": [job["prompt"]] * images, "num_images_per_prompt": 1, "image": small}
    return asked


def noise(seed: int) -> Image.Image:
    pixels = torch.randint(
        0, 256, (*SIZE, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8
    )
    return Image.fromarray(pixels.numpy())


class Companies(dict[str, Company]):
    """By family, each loaded when it is first asked for."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root

    def __missing__(self, family: str) -> Company:
        self[family] = Company(family, self.root / family)
        return self[family]


@pytest.fixture(scope="module")
def companies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Companies]:
    with torch.no_grad():
        yield Companies(tmp_path_factory.mktemp("models"))


STRAIGHT = ["FlowMatchEulerDiscreteScheduler"]
FEW = ["DDIMScheduler", "EulerAncestralDiscreteScheduler", "PNDMScheduler"]
UNSCALED = ["DDIMScheduler", "DPMSolverMultistepScheduler"]
SCHEDULERS = {
    "sd15": [
        "DDIMScheduler",
        "DPMSolverMultistepScheduler",
        "EulerAncestralDiscreteScheduler",
        "EulerDiscreteScheduler",
        "HeunDiscreteScheduler",
        "PNDMScheduler",
        "UniPCMultistepScheduler",
    ],
    "sdxl": FEW,
    "sdxl-turbo": FEW,
    "sd3": STRAIGHT,
    "sd35": STRAIGHT,
    "flux": STRAIGHT,
    "lcm": ["LCMScheduler"],
    "sd15-inpaint": FEW,
    "sdxl-inpaint": FEW,
    "gligen": FEW,
    "dit": UNSCALED,
    "super-resolution": UNSCALED,
    "upscaler": FEW,
}


def jobs_of(family: str, tasks: list[str]) -> st.SearchStrategy[list[Job]]:
    return st.lists(
        st.fixed_dictionaries(
            {
                "task": st.sampled_from(tasks),
                "prompt": st.sampled_from(["", "a cat", "an unusually long prompt, cut"]),
                "steps": st.integers(4, 8),
                "scheduler": st.sampled_from(SCHEDULERS[family]),
                "guidance": st.sampled_from([0.0, 3.0, 7.5]),
                "seed": st.integers(0, 200),
                "images": st.integers(1, 2),
                "strength": st.sampled_from([0.5, 0.8, 1.0]),
                "phrases": st.sampled_from([["a hat"], ["a cat", "a hat"]]),
                "grounded": st.sampled_from([0.0, 0.4, 1.0]),
            }
        ),
        min_size=2,
        max_size=4,
    )


@pytest.mark.parametrize("family", SCHEDULERS)
def test_jobs_in_company_make_what_they_make_alone(family: str, companies: Companies) -> None:
    company = companies[family]
    tasks = list(company.model.pipelines)

    @settings(
        max_examples=4 if family == "sd15" else 2,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
    )
    @given(jobs=jobs_of(family, tasks), max_jobs=st.sampled_from([3, 8]))
    def check(jobs: list[Job], max_jobs: int) -> None:
        # The first stands for all: jobs drawn at random may have no call in common.
        company.check([*jobs, {**jobs[0], "seed": 201}], max_jobs)

    check()


def job(task: str, **more: Any) -> Job:
    usual = {
        "task": task,
        "prompt": "a cat",
        "steps": 4,
        "scheduler": "DDIMScheduler",
        "guidance": 5.0,
        "seed": 1,
        "images": 1,
        "strength": 1.0,
        "phrases": ["a hat"],
        "grounded": 0.5,
    }
    return usual | more


def test_all_tasks_of_a_model_share_forwards_with_and_without_controls(
    companies: Companies,
) -> None:
    company = companies["sd15"]
    company.add_controlnets(tiny.controlnet(), tiny.controlnet())
    jobs = [
        job(task, seed=10 * index + len(controls), controls=controls)
        for index, task in enumerate(("text-to-image", "image-to-image", "inpaint"))
        for controls in ((), (0,), (1, 0))
    ]
    company.check(jobs, max_jobs=9)
    # 4 steps each; nine calls of the network, and three, six of the two ControlNets.
    assert len(company.differences) == 4 * (9 + 6 + 3)
    # Those with controls come with residuals, and arrive one or two calls later.
    assert company.gather.forwards <= 40
    assert company.gather.rows == 2 * 4 * (9 + 6 + 3)


def test_layouts_beside_plain_jobs_keep_their_switch(companies: Companies) -> None:
    company = companies["gligen"]
    layouts = [
        job("layout-to-image", seed=index, grounded=grounded, phrases=["a hat"] * (1 + index % 2))
        for index, grounded in enumerate((0.0, 0.25, 0.25, 0.5, 1.0, 1.0))
    ]
    plain = [
        job(task, seed=20 + index)
        for index, task in enumerate(("text-to-image", "image-to-image", "inpaint"))
    ]
    company.check([*layouts[:3], *plain, *layouts[3:]], max_jobs=9)
    assert len(company.differences) == 4 * 9
    # Per step at most three forwards: plain, layout switched on, layout switched off.
    assert company.gather.forwards <= 3 * 4 + 8
    alone = [company.picture(each) for each in layouts[:2]]
    assert difference(alone[0], company.picture(layouts[0] | {"grounded": 1.0})) > 1e-6


def test_pictures_of_another_shape_do_not_share_a_forward_of_as_many_tokens(
    companies: Companies,
) -> None:
    gather, model = companies["flux"].gather, companies["flux"].model
    for owner, (width, height) in enumerate([(32, 8), (16, 16), (16, 16)]):
        view = model.view("text-to-image", STRAIGHT[0])
        asked = {"prompt": "", "width": width, "height": height, "num_inference_steps": 1}
        gather.start(owner, lambda view=view, asked=asked: view(**asked, max_sequence_length=8))
    while any(call.module_name != "transformer" for call in gather.parked.values()):
        waiting = (c for c in gather.parked.values() if c.module_name != "transformer")
        gather.run([next(waiting)])
    wide, square, other = (gather.parked[owner] for owner in range(3))
    assert wide.kwargs["hidden_states"].shape == square.kwargs["hidden_states"].shape
    assert wide.joinable
    assert square.key == other.key != wide.key
    run_all(gather, {})


def test_both_tasks_all_schedulers_and_guidances_share_every_forward(
    companies: Companies,
) -> None:
    company = companies["sd15"]
    jobs = [
        job(
            "text-to-image" if index % 2 else "image-to-image",
            steps=6 if index % 2 else 10,
            scheduler=scheduler,
            guidance=7.5 if index % 3 else 1.0,
            seed=index,
            strength=0.6,
        )
        for index, scheduler in enumerate(SCHEDULERS["sd15"])
    ]
    company.together(jobs, max_jobs=8)
    assert max(company.differences) <= CALL_TOLERANCE
    calls = {"HeunDiscreteScheduler": 11, "PNDMScheduler": 7}
    expected = [calls.get(name, 6) for name in SCHEDULERS["sd15"]]
    assert len(company.differences) == sum(expected)
    # They arrive at the network at most a few turns apart, as texts and images are encoded first.
    assert company.gather.forwards <= max(expected) + 4
    assert company.gather.rows == sum(
        count * (2 if index % 3 else 1) for index, count in enumerate(expected)
    )


def test_sd3_s_controlnets_join_too(companies: Companies) -> None:
    company = companies["sd3"]
    torch.manual_seed(0)
    company.add_controlnets(tiny.sd3_controlnet())
    jobs = [job("text-to-image", scheduler=STRAIGHT[0], seed=seed) for seed in range(2)]
    for each in jobs:
        each["controls"] = (0,)
    company.model.components["vae"].encode = certain(company.model.components["vae"].encode)
    company.check(jobs)
    assert company.gather.forwards <= 2 * 4 + 2


def certain(encode: Callable[..., Any]) -> Callable[..., Any]:
    """Its pipeline draws the encoding of a map from no generator that could be given to it."""

    def encoded(*args: Any, **kwargs: Any) -> Any:
        output = encode(*args, **kwargs)
        output.latent_dist.std = torch.zeros_like(output.latent_dist.std)
        return output

    return encoded


def test_every_class_in_the_table_is_proved_here(companies: Companies) -> None:
    proved = {type(companies[family].network).__name__ for family in SCHEDULERS}
    proved |= {type(made).__name__ for made in (tiny.controlnet(), tiny.sd3_controlnet())}
    # In test_transformers.py.
    proved |= {type(kind.network()).__name__ for kind in tiny_transformers.KINDS.values()}
    assert JOINABLE.keys() == proved
