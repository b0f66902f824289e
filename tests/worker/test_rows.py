"""Gathered equals alone: what earns a class its place in the table of worker/rows.py."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests import tiny
from tests.gathering import run_all, values
from worker.gather import Gather
from worker.pipelines import LoadedModel
from worker.rows import JOINABLE, NotJoinableError, normalize
from worker.tasks import generators

CALL_TOLERANCE = 1e-12
JOB_TOLERANCE = 1e-9

Job = dict[str, Any]


class Company:
    """A model in float64 whose joined calls are each made again alone, at once, and compared."""

    def __init__(self, family: str, folder: Path) -> None:
        self.gather = Gather()
        self.model: LoadedModel = tiny.load(family, folder, self.gather, dtype="float64")
        self.differences: list[float] = []
        name = "transformer" if "transformer" in self.model.components else "unet"
        network = self.model.components[name]
        network.forward = self.witnessed(network.forward)

    def witnessed(self, parking: Callable[..., Any]) -> Callable[..., Any]:
        def forward(*args: Any, **kwargs: Any) -> Any:
            joined = parking(*args, **kwargs)
            alone = parking.__wrapped__(*args, **kwargs)
            self.differences.append(difference(joined[0], alone[0]))
            return joined

        return forward

    def picture(self, job: Job) -> torch.Tensor:
        """What the job makes, as floats."""
        arguments = {
            "prompt": job["prompt"],
            "num_inference_steps": job["steps"],
            "guidance_scale": job["guidance"],
            "num_images_per_prompt": job["images"],
            "generator": generators(job["seed"], job["images"]),
            "output_type": "pt",
        }
        if job["task"] == "image-to-image":
            image = Image.new("RGB", (tiny.IMAGE_SIZE, tiny.IMAGE_SIZE), (200, job["seed"], 40))
            arguments |= {"image": [image] * job["images"], "strength": job["strength"]}
        return self.model.view(job["task"], job["scheduler"])(**arguments).images

    def together(self, jobs: list[Job], cap: int) -> list[torch.Tensor]:
        self.differences.clear()
        self.gather.forwards = self.gather.joined_calls = self.gather.rows = 0
        runs = {index: lambda job=job: self.picture(job) for index, job in enumerate(jobs)}
        made = values(run_all(self.gather, runs, cap=cap))
        return [made[index] for index in range(len(jobs))]


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return float((one - other).abs().max() / other.abs().max())


@pytest.fixture(scope="module")
def companies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Company]]:
    with torch.no_grad():
        yield {family: Company(family, tmp_path_factory.mktemp(family)) for family in tiny.FAMILIES}


STRAIGHT = ["FlowMatchEulerDiscreteScheduler"]
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
    "sdxl": ["DDIMScheduler", "EulerAncestralDiscreteScheduler", "PNDMScheduler"],
    "sd3": STRAIGHT,
    "lcm": ["LCMScheduler"],
}


def jobs_of(family: str) -> st.SearchStrategy[list[Job]]:
    return st.lists(
        st.fixed_dictionaries(
            {
                "task": st.sampled_from(["text-to-image", "image-to-image"]),
                "prompt": st.sampled_from(["", "a cat", "an unusually long prompt, cut"]),
                "steps": st.integers(4, 8),
                "scheduler": st.sampled_from(SCHEDULERS[family]),
                "guidance": st.sampled_from([1.0, 3.0, 7.5]),
                "seed": st.integers(0, 200),
                "images": st.integers(1, 2),
                "strength": st.sampled_from([0.5, 0.8, 1.0]),
            }
        ),
        min_size=2,
        max_size=4,
    )


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_jobs_in_company_make_what_they_make_alone(
    family: str, companies: dict[str, Company]
) -> None:
    company = companies[family]

    @settings(
        max_examples=4 if family == "sd15" else 2,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
    )
    @given(jobs=jobs_of(family), cap=st.sampled_from([3, 8]))
    def check(jobs: list[Job], cap: int) -> None:
        alone = [company.picture(job) for job in jobs]
        gathered = company.together(jobs, cap)
        calls = len(company.differences)
        assert max(company.differences) <= CALL_TOLERANCE
        assert max(map(difference, gathered, alone)) <= JOB_TOLERANCE
        assert company.gather.forwards < calls
        assert company.gather.joined_calls >= min(calls - company.gather.forwards, 2)

    check()


def test_both_tasks_all_schedulers_and_guidances_share_every_forward(
    companies: dict[str, Company],
) -> None:
    company = companies["sd15"]
    jobs = [
        {
            "task": "text-to-image" if index % 2 else "image-to-image",
            "prompt": "a cat",
            "steps": 6 if index % 2 else 10,
            "scheduler": scheduler,
            "guidance": 7.5 if index % 3 else 1.0,
            "seed": index,
            "images": 1,
            "strength": 0.6,
        }
        for index, scheduler in enumerate(SCHEDULERS["sd15"])
    ]
    company.together(jobs, cap=8)
    assert max(company.differences) <= CALL_TOLERANCE
    calls = {"HeunDiscreteScheduler": 11, "PNDMScheduler": 7}
    expected = [calls.get(name, 6) for name in SCHEDULERS["sd15"]]
    assert len(company.differences) == sum(expected)
    # They arrive at the network at most a few turns apart, as texts and images are encoded first.
    assert company.gather.forwards <= max(expected) + 4
    assert company.gather.rows == sum(
        count * (2 if index % 3 else 1) for index, count in enumerate(expected)
    )


def test_controlnets_join_row_by_row() -> None:
    torch.manual_seed(0)
    controlnet = tiny.controlnet().double()

    def call(seed: int, rows: int) -> tuple[torch.Tensor, ...]:
        generator = torch.Generator().manual_seed(seed)
        shapes = [(rows, 4, 8, 8), (rows, 7, 16), (rows, 3, 16, 16)]
        sample, text, condition = (
            torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes
        )
        down, middle = controlnet(sample, 10 * seed, text, condition, 0.7, return_dict=False)
        return (*down, middle)

    alone = {seed: call(seed, 1 + seed) for seed in range(3)}
    gather = Gather()
    gather.wrap(controlnet, "controlnet")
    jobs = {seed: lambda seed=seed: call(seed, 1 + seed) for seed in range(3)}
    together = values(run_all(gather, jobs))
    assert gather.forwards == 1
    assert all(
        difference(one, other) <= CALL_TOLERANCE
        for seed in jobs
        for one, other in zip(together[seed], alone[seed], strict=True)
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"encoder_hidden_states": torch.zeros(1, 7, 16)},
        {"added_cond_kwargs": {"time_ids": torch.zeros(4, 6)}},
        {"cross_attention_kwargs": {"masks": torch.zeros(2, 3)}},
        {"cross_attention_kwargs": {"masks": [object(), {1, 2}]}},
    ],
    ids=["fewer rows", "more rows", "a shared tensor", "nothing to compare"],
)
def test_arguments_that_cannot_be_joined_are_told(arguments: dict[str, Any]) -> None:
    whole = {"sample": torch.zeros(2, 4, 8, 8), "timestep": 5, **arguments}
    with pytest.raises(NotJoinableError):
        normalize(JOINABLE["UNet2DConditionModel"], whole)


def test_every_class_in_the_table_is_proved_here() -> None:
    proved = {"UNet2DConditionModel", "SD3Transformer2DModel", "ControlNetModel"}
    assert JOINABLE.keys() == proved
