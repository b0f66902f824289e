"""What A1111 and ComfyUI wrote into their pictures, as requests; and what is no such thing."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.others_requests import (
    LONGEST_INFOTEXT,
    MOST_TOLD,
    file_stem,
    of_infotext,
    of_workflow,
    parameters_in,
)
from darkroom.provenance import infotext
from tests.darkroom.test_provenance import REQUEST

A1111 = (
    "a cat, <lora:ink:0.8>\nsecond line\nNegative prompt: dog,\nblur\n"
    "Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 12, Size: 512x768, "
    'Model hash: abc, Model: "dream, shaper", Clip skip: 2, ENSD: 31337, '
    'Lora hashes: "ink: 1, x: 2", Version: v1.9.4'
)


def test_a_description_of_a1111() -> None:
    found = of_infotext(A1111)
    assert found.request == {
        "prompt": "a cat, <lora:ink:0.8>\nsecond line",
        "negative_prompt": "dog,\nblur",
        "scheduler": "DPMSolverMultistepScheduler",
        "scheduler_options": {"sigmas": "karras"},
        "num_inference_steps": 20,
        "guidance_scale": 7.5,
        "seed": 12,
        "width": 512,
        "height": 768,
        "model": "dream, shaper",
        "clip_skip": 1,
    }
    assert found.left_out == ["ENSD"]


def test_a_description_of_ours_is_understood_as_well() -> None:
    request = REQUEST | {"clip_skip": 1, "strength": None}
    found = of_infotext(infotext(request, 42))
    taken = ("model", "width", "height", "num_inference_steps", "guidance_scale", "clip_skip")
    assert {name: found.request[name] for name in taken} == {name: request[name] for name in taken}
    assert found.request["seed"] == 42
    assert found.request["scheduler_options"] == {"sigmas": "karras"}
    assert found.left_out == []


@pytest.mark.parametrize(
    ("schedule_type", "options"),
    [("SGM Uniform", {"timestep_spacing": "trailing"}), ("beta", {"sigmas": "beta"}), ("", None)],
)
def test_schedule_types_are_options_of_the_scheduler(schedule_type, options) -> None:
    settings = f"Steps: 1, Sampler: Euler, Schedule type: {schedule_type}, Seed: 1"
    assert of_infotext(f"a cat\n{settings}").request.get("scheduler_options") == options


def test_parameters_by_their_own_names() -> None:
    found = parameters_in(A1111)
    assert found["Prompt"].endswith("second line")
    assert (found["Negative prompt"], found["Sampler"]) == ("dog,\nblur", "DPM++ 2M Karras")
    assert parameters_in("a cat, Steps: 1") == {}
    prompt = "a\nPrompt: b, Steps: 1, Seed: 2"
    assert parameters_in(prompt)["Prompt"] == "a"


@pytest.mark.parametrize(
    "title", ["sdxl", "sdxl.safetensors", "models/sdxl.ckpt [abcdef12]", "sdxl [abcdef12]"]
)
def test_titles_of_files_name_a_model(title) -> None:
    assert file_stem(title) == "sdxl"


@pytest.mark.parametrize(
    ("settings", "field", "value", "left_out"),
    [
        ("Denoising strength: 0.5", "strength", None, ["Denoising strength"]),
        ("Hires upscale: 2, Hires steps: 7, Denoising strength: 0.5", "hires", "latent", []),
        ("Hires upscale: 2, Hires upscaler: R-ESRGAN 4x+", "hires", None, ["Hires upscaler"]),
        ("Sampler: Restart", "scheduler", None, ["Sampler Restart"]),
        ("Sampler: Euler, Schedule type: Automatic", "scheduler", "EulerDiscreteScheduler", []),
        ("Sampler: Euler, Schedule type: KL Optimal", "scheduler", 0, ["Sampler KL Optimal"]),
        ("Seed: -1", "seed", None, ["Seed -1"]),
        ("CFG scale: nan", "guidance_scale", None, ["CFG scale nan"]),
    ],
)
def test_settings_of_a1111(settings, field, value, left_out) -> None:
    found = of_infotext(f"a cat\nSteps: 1, X: 1, Y: 2, {settings}")
    told = found.request.get(field)
    if value == "latent":
        told = told["upscaler"]
    if value != 0 and not (field == "hires" and value is None):
        assert told == value
    assert [each[: len(name)] for each, name in zip(found.left_out, left_out, strict=False)] == (
        left_out
    )
    assert found.left_out[len(left_out) :] == ["X", "Y"]


@pytest.mark.parametrize(
    "text",
    ["", "a cat", "a cat\nSteps: 20, Seed: 1", "x" * LONGEST_INFOTEXT + A1111, "Steps 20"],
)
def test_what_is_no_description(text: str) -> None:
    assert of_infotext(text) is None


@given(st.text(max_size=300))
def test_any_text_is_read_or_not(text: str) -> None:
    of_infotext(text)
    of_infotext(f"a\nSteps: 1, Seed: 2, {text}")
    of_workflow(text)


@pytest.mark.parametrize("part", ['a:"', " ", "a-", '"\\', "a: "])
def test_b7_lines_that_are_made_to_take_long_end(part: str) -> None:
    of_infotext(f"a\n{part * 9000}x")


GRAPH = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 5,
            "steps": 20,
            "cfg": 8,
            "sampler_name": "dpmpp_2m",
            "scheduler": "karras",
            "denoise": 1,
            "model": ["10", 0],
            "positive": ["6", 0],
            "negative": ["7", 0],
            "latent_image": ["5", 0],
        },
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd/sd15.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 640}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["4", 1]}},
    "7": {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["8", 0]}},
    "8": {"class_type": "CLIPTextEncode", "inputs": {"text": ["9", 0]}},
    "9": {"class_type": "PrimitiveString", "inputs": {"value": "dog"}},
    "11": {"class_type": "EmptyLatentImage", "inputs": {"width": "wide"}},
    "10": {"class_type": "LoraLoader", "inputs": {"lora_name": "x", "model": ["4", 0]}},
}


def changed(**inputs: object) -> str:
    sampler = {"class_type": "KSampler", "inputs": GRAPH["3"]["inputs"] | inputs}
    return json.dumps(GRAPH | {"3": sampler})


def test_a_graph_of_comfyui() -> None:
    found = of_workflow(json.dumps(GRAPH))
    assert found.request == {
        "prompt": "a cat",
        "negative_prompt": "dog",
        "num_inference_steps": 20,
        "guidance_scale": 8,
        "seed": 5,
        "scheduler": "DPMSolverMultistepScheduler",
        "scheduler_options": {"sigmas": "karras"},
        "width": 512,
        "height": 640,
        "model": "sd15",
    }
    assert found.left_out == []


@pytest.mark.parametrize(
    ("inputs", "left_out"),
    [
        ({"denoise": 0.5}, ["denoise, of a picture that the file does not hold"]),
        ({"positive": ["99", 0]}, ["positive"]),
        ({"positive": ["7", 0], "negative": "x"}, ["negative"]),
        ({"steps": True, "cfg": 1e300, "seed": 2**60}, ["steps", "cfg", "seed"]),
        ({"sampler_name": "ddpm?" * 99}, [f"sampler_name {'ddpm?' * 12}"[:60]]),
        ({"latent_image": None, "model": None}, ["model"]),
        ({"latent_image": ["11", 0]}, ["width"]),
    ],
)
def test_what_a_graph_does_not_tell_is_left_out(inputs: dict, left_out: list[str]) -> None:
    assert of_workflow(changed(**inputs)).left_out == left_out


def test_what_is_not_there_was_not_left_out() -> None:
    graph = {"1": {"class_type": "KSamplerAdvanced", "inputs": {"positive": ["2", 0]}}}
    graph["2"] = {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat"}}
    found = of_workflow(json.dumps(graph))
    assert (found.request, found.left_out) == ({"prompt": "a cat"}, [])
    graph["1"]["inputs"]["noise_seed"] = 7
    assert of_workflow(json.dumps(graph)).request["seed"] == 7


@pytest.mark.parametrize(
    "text",
    ["[]", "{}", "x", '{"3": 1}', '{"3": {"class_type": "KSampler"}}', "[" * 10**5, "1" * 5000],
)
def test_what_is_no_graph(text: str) -> None:
    assert of_workflow(text) is None


def test_a_graph_that_goes_round_ends() -> None:
    round_ = {str(n): {"inputs": {f"i{m}": [str(m), 0] for m in range(50)}} for n in range(50)}
    sampler = {"class_type": "KSampler", "inputs": {"positive": ["1", 0]}}
    found = of_workflow(json.dumps({**round_, "a": sampler}))
    assert "prompt" not in found.request
    assert len(found.left_out) <= MOST_TOLD
