import json
from typing import Any

import pytest

from worker.loading.diffusers_table import TABLE, table, text


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    return json.loads(TABLE.read_text())


def test_the_committed_table_is_what_diffusers_says() -> None:
    assert TABLE.read_text() == text(table()), "run this module with --write"


def test_the_table_knows_the_families_by_task(content: dict[str, Any]) -> None:
    xl = content["pipelines"]["StableDiffusionXLPipeline"]
    assert xl["tasks"] == ["text-to-image", "image-to-image", "inpaint"]
    assert xl["classes"]["image-to-image"] == "StableDiffusionXLImg2ImgPipeline"
    assert xl["classes"]["inpaint"] == "StableDiffusionXLInpaintPipeline"
    assert xl["controlled"]["inpaint"] == "StableDiffusionXLControlNetInpaintPipeline"
    assert {"negative_prompt", "ip_adapter_image"} <= set(xl["fields"]["text-to-image"])
    assert "image-to-image" not in content["pipelines"]["PixArtSigmaPipeline"]["tasks"]
    assert "StableDiffusionControlNetPipeline" not in content["pipelines"]
    assert "EulerDiscreteScheduler" in content["schedulers"]["PNDMScheduler"]


@pytest.mark.parametrize(
    ("name", "tasks"),
    [
        ("DiTPipeline", ["class-to-image"]),
        ("FluxPipeline", ["text-to-image", "image-to-image", "inpaint"]),
        ("LDMPipeline", ["unconditional"]),
        ("LDMSuperResolutionPipeline", ["upscale"]),
        ("StableDiffusion3Pipeline", ["text-to-image", "image-to-image", "inpaint"]),
        ("StableDiffusionInpaintPipeline", ["inpaint"]),
        ("StableDiffusionUpscalePipeline", ["upscale"]),
        ("StableDiffusionXLInpaintPipeline", ["inpaint"]),
    ],
)
def test_a_class_does_the_tasks_it_is_made_for(
    name: str, tasks: list[str], content: dict[str, Any]
) -> None:
    assert content["pipelines"][name]["tasks"] == tasks


def test_a_model_that_follows_a_layout_also_does_without(content: dict[str, Any]) -> None:
    layout = content["pipelines"]["StableDiffusionGLIGENPipeline"]
    assert next(iter(layout["classes"].values())) == "StableDiffusionGLIGENPipeline"
    assert layout["classes"]["text-to-image"] == "StableDiffusionPipeline"


def test_a_pipeline_that_changes_the_network_under_other_jobs_is_not_listed(
    content: dict[str, Any],
) -> None:
    assert not [name for name in content["pipelines"] if "PAG" in name]


def test_a_negative_prompt_that_does_nothing_is_no_field(content: dict[str, Any]) -> None:
    assert "negative_prompt" not in content["pipelines"]["FluxPipeline"]["fields"]["text-to-image"]


def test_pipelines_that_cannot_scale_noise_name_the_schedulers_that_need_none(
    content: dict[str, Any],
) -> None:
    for name in ("DiTPipeline", "LDMSuperResolutionPipeline"):
        schedulers = content["pipelines"][name]["schedulers"]
        assert {"DDIMScheduler", "DPMSolverMultistepScheduler"} <= set(schedulers)
        assert not {"EulerDiscreteScheduler", "HeunDiscreteScheduler"} & set(schedulers)


def test_schedulers_fit_that_diffusers_does_not_list(content: dict[str, Any]) -> None:
    """diffusers lists neither among those that fit, and its guides put them into any model."""
    distilled = {"LCMScheduler", "TCDScheduler"}
    for name in ("PNDMScheduler", "EulerDiscreteScheduler", *distilled):
        assert distilled | {"DDIMScheduler"} <= set(content["schedulers"][name])
    for name in ("FlowMatchEulerDiscreteScheduler", "DDPMWuerstchenScheduler"):
        assert not distilled & set(content["schedulers"][name])
    flow = content["schedulers"]["FlowMatchEulerDiscreteScheduler"]
    assert {"FlowMatchHeunDiscreteScheduler", "UniPCMultistepScheduler"} <= set(flow)
    assert "EulerDiscreteScheduler" not in flow
    of_lcm = content["pipelines"]["LatentConsistencyModelPipeline"]["schedulers"]
    assert of_lcm == ["LCMScheduler"]


def test_schedulers_name_the_options_they_take(content: dict[str, Any]) -> None:
    options = content["scheduler_options"]
    assert options["EulerDiscreteScheduler"] == [
        "karras",
        "exponential",
        "beta",
        "timestep_spacing",
    ]
    assert options["DDIMScheduler"] == ["timestep_spacing", "eta"]
    assert options.keys() == content["schedulers"].keys()
