import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline, FluxPipeline, StableDiffusionPipeline
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from transformers import AddedToken

from darkroom.errors import UnsupportedError
from darkroom.input_images import IMAGE, MASK, control
from darkroom.prompt_syntax import parse
from darkroom.request import TextToImage
from darkroom.tasks import TASKS
from tests import tiny
from tests.gathering import run_all, values
from worker.gathering.gather import Gather
from worker.loading.adapters import Adapters
from worker.loading.pipelines import LoadedModel
from worker.making import prompts, tasks
from worker.making.prompts import MAX_CHUNKS
from worker.making.text_encoders import embed, encoders_of

ROOM = tiny.MAX_TOKENS
GUIDED = {"sd15", "sdxl", "sdxl-turbo", "sd3", "sd35"}
LONG = "a cat, dogs, a hat on a mat, and six bats"


@pytest.fixture(scope="module")
def pipelines() -> dict[str, DiffusionPipeline]:
    made = {family: build() for family, build in tiny.FAMILIES.items()}
    for pipeline in made.values():
        pipeline.set_progress_bar_config(disable=True)
    return made


@pytest.fixture(params=["sd15", "sdxl"])
def pipeline(request: Any, pipelines: dict[str, DiffusionPipeline]) -> DiffusionPipeline:
    return pipelines[request.param]


sd15 = functools.cache(tiny.sd15)


def asked(prompt: str, **fields: Any) -> TextToImage:
    return TextToImage(
        **{
            "task": "text-to-image",
            "model": "tiny",
            "prompt": prompt,
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


def given_to(pipeline: DiffusionPipeline, prompt: str, **fields: Any) -> dict[str, Any]:
    arguments, warnings = prompts.arguments(asked(prompt, **fields), pipeline)
    assert warnings == []
    return arguments


def own_reading(pipeline: DiffusionPipeline, prompt: str, negative: str) -> dict[str, Any]:
    """What diffusers makes of two strings."""
    with torch.no_grad():
        read = pipeline.encode_prompt(
            prompt=prompt,
            negative_prompt=negative,
            device=torch.device("cpu"),
            num_images_per_prompt=1,
            do_classifier_free_guidance=True,
        )
    names = ("", "negative_")
    parts = {f"{name}prompt_embeds": part for name, part in zip(names, read, strict=False)}
    pooled = zip(names, read[2:], strict=False)
    return parts | {f"{name}pooled_prompt_embeds": part for name, part in pooled}


def picture(pipeline: DiffusionPipeline, **arguments: Any) -> torch.Tensor:
    return pipeline(
        **arguments,
        width=16,
        height=16,
        num_inference_steps=2,
        generator=torch.Generator().manual_seed(1),
        output_type="pt",
    ).images


# --- What pipelines are given


def test_a_plain_prompt_goes_to_the_pipeline_as_it_is(
    pipelines: dict[str, DiffusionPipeline],
) -> None:
    for family, pipeline in pipelines.items():
        assert given_to(pipeline, "a cat") == {"prompt": "a cat"}
        if family in GUIDED:
            both = given_to(pipeline, "a cat", negative_prompt="dark")
            assert both == {"prompt": "a cat", "negative_prompt": "dark"}


def test_escaped_brackets_alone_need_no_embeddings(pipeline: DiffusionPipeline) -> None:
    assert given_to(pipeline, r"a \(cat\)") == {"prompt": "a (cat)"}


@pytest.mark.parametrize("prompt", ["a cat", "a cat.", "", "!", "<|endoftext|>"])
def test_short_prompts_without_weights_are_read_as_the_pipeline_does(
    prompt: str, pipeline: DiffusionPipeline
) -> None:
    accepted = inspect.signature(pipeline.__call__).parameters
    encoders = encoders_of(pipeline, accepted)
    with torch.no_grad():
        made = embed(parse(prompt), parse("dark"), encoders, 0)
    expected = own_reading(pipeline, prompt, "dark")
    assert made.keys() == expected.keys()
    for name in expected:
        assert torch.equal(made[name], expected[name]), name


def test_a_weight_moves_its_words_away_from_the_empty_prompt(pipeline: DiffusionPipeline) -> None:
    plain = own_reading(pipeline, "a cat", "")
    given = given_to(pipeline, "a (cat:1.5)")
    empty = own_reading(pipeline, "", "")["prompt_embeds"]
    for index, weight in enumerate([1.0, 1.0, 1.5, 1.5, 1.5] + [1.0] * (ROOM - 5)):
        start, end = empty[:, index], plain["prompt_embeds"][:, index]
        expected = start + (end - start) * weight
        torch.testing.assert_close(given["prompt_embeds"][:, index], expected, atol=1e-5, rtol=0)
    if "pooled_prompt_embeds" in given:
        assert torch.equal(given["pooled_prompt_embeds"], plain["pooled_prompt_embeds"])


def test_less_weight_is_nearer_to_a_prompt_without_the_words(pipeline: DiffusionPipeline) -> None:
    whole = own_reading(pipeline, "a cat", "")["prompt_embeds"]
    apart = [
        float((given_to(pipeline, f"a (cat:{weight})")["prompt_embeds"] - whole).norm())
        for weight in (0.9, 0.5, 0.1)
    ]
    assert 0 < apart[0] < apart[1] < apart[2]


def test_square_brackets_weigh_as_their_number_does(pipeline: DiffusionPipeline) -> None:
    one, other = (
        given_to(pipeline, text)["prompt_embeds"]
        for text in ("a [cat] in (a hat)", f"a (cat:{1 / 1.1:.12f}) in (a hat:1.1)")
    )
    torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_nothing_of_a_long_prompt_is_lost(pipeline: DiffusionPipeline) -> None:
    given = given_to(pipeline, LONG)
    chunks = given["prompt_embeds"].shape[1] // ROOM
    assert chunks >= 2
    longer = given_to(pipeline, LONG[:-1] + "z")["prompt_embeds"]
    same = [
        torch.equal(one, other)
        for one, other in zip(
            given["prompt_embeds"].split(ROOM, 1), longer.split(ROOM, 1), strict=True
        )
    ]
    assert same == [True] * (chunks - 1) + [False]
    first = own_reading(pipeline, "a cat, dogs,", "")["prompt_embeds"]
    torch.testing.assert_close(given["prompt_embeds"][:, :ROOM], first, atol=1e-6, rtol=0)


def test_break_puts_what_follows_into_a_chunk_of_its_own(pipeline: DiffusionPipeline) -> None:
    given = given_to(pipeline, "a cat BREAK dogs")["prompt_embeds"]
    for part, text in zip(given.split(ROOM, 1), ("a cat", "dogs"), strict=True):
        expected = own_reading(pipeline, text, "")["prompt_embeds"]
        torch.testing.assert_close(part, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("prompt", "negative"), [(LONG, "dark"), ("a cat", LONG), (LONG, ""), ("(a cat)", "")]
)
def test_both_prompts_become_equally_long_and_make_a_picture(
    prompt: str, negative: str, pipeline: DiffusionPipeline
) -> None:
    given = given_to(pipeline, prompt, negative_prompt=negative)
    if "negative_prompt_embeds" in given:
        assert given["negative_prompt_embeds"].shape == given["prompt_embeds"].shape
    assert "prompt" not in given
    assert picture(pipeline, **given, num_images_per_prompt=2).isfinite().all()


def test_a_negative_prompt_left_out_is_what_the_pipeline_makes_of_that(
    pipelines: dict[str, DiffusionPipeline],
) -> None:
    assert "negative_prompt_embeds" not in given_to(pipelines["sdxl"], "(a cat)")
    given = given_to(pipelines["sd15"], "(a cat)")["negative_prompt_embeds"]
    assert torch.equal(given, own_reading(pipelines["sd15"], "", "")["negative_prompt_embeds"])
    xl = tiny.sdxl()
    xl.register_to_config(force_zeros_for_empty_prompt=False)
    given = given_to(xl, "(a cat)")
    expected = own_reading(xl, "", "")
    for name in ("negative_prompt_embeds", "negative_pooled_prompt_embeds"):
        assert torch.equal(given[name], expected[name])


def test_without_guidance_the_negative_prompt_is_not_read(pipeline: DiffusionPipeline) -> None:
    def unread(prompt: str) -> dict[str, Any]:
        request = asked(prompt, guidance_scale=1.0, negative_prompt=LONG + "(b:99)")
        given, warnings = prompts.arguments(request, pipeline)
        assert warnings == ["negative_prompt is not read: guidance_scale 1 switches guidance off."]
        return given

    assert "prompt" in unread("a cat")
    given = unread("(a cat)")
    assert not any(name.startswith("negative") for name in given)
    assert picture(pipeline, **given, guidance_scale=1.0).isfinite().all()


def test_which_models_follow_a_negative_prompt_is_known(
    pipelines: dict[str, DiffusionPipeline],
) -> None:
    """As the pipelines have it: some are guided by a number of their own, and what was distilled
    with its guidance is not at all."""
    for family, pipeline in pipelines.items():
        for scale in (0.0, 1.0, 1.5):
            request = asked("a cat", guidance_scale=scale, negative_prompt="dark")
            told = prompts.arguments(request, pipeline)[1]
            assert bool(told) is not (family in GUIDED and scale > 1)
    distilled = tiny.sd15()
    distilled.unet.register_to_config(time_cond_proj_dim=8)
    [warning] = prompts.arguments(asked("a", negative_prompt="b"), distilled)[1]
    assert warning.endswith("works without classifier-free guidance.")


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("a (red:-1) cat", "weighs words by -1; weights reach from 0 to 10"),
        ("(a:999) (b:12) (c:-2) (d:-3)", "weighs words by -3, -2, 12 and more; weights"),
        ("(" * 40 + "a" + ")" * 40, "weighs words by 45.2593; weights"),
        ("a cat (16:9) (at 10:30)", "of 16:9, 10:30 is taken for a weight; write"),
    ],
)
def test_weights_that_are_not_as_written_are_told(
    prompt: str, told: str, pipeline: DiffusionPipeline
) -> None:
    for fields in ({}, {"negative_prompt": prompt}):
        request = asked("a cat" if fields else prompt, **fields)
        warnings = prompts.arguments(request, pipeline)[1]
        assert any(told in each and each.startswith(*fields or ["prompt"]) for each in warnings)


@pytest.mark.parametrize(
    "prompt", ["a (red:1.2) [apple] \\(round\\)", ":) (a) at 10:30, 16:9", "(a:0) (b:10) (cat2: 3)"]
)
def test_ordinary_weights_are_not_worth_a_word(prompt: str, pipeline: DiffusionPipeline) -> None:
    given_to(pipeline, prompt)


def test_a_weight_changes_the_picture(pipeline: DiffusionPipeline) -> None:
    made = [
        picture(pipeline, **given_to(pipeline, text))
        for text in ("a cat", "a (cat)", "a (cat:1.5)", "a [cat]", "a (cat:0)")
    ]
    assert len({one.numpy().tobytes() for one in made}) == len(made)


def test_models_without_a_negative_prompt_are_given_none(
    pipelines: dict[str, DiffusionPipeline],
) -> None:
    given = given_to(pipelines["lcm"], LONG, guidance_scale=8.0)
    assert given.keys() == {"prompt_embeds"}
    assert picture(pipelines["lcm"], **given).isfinite().all()


# --- clip_skip


def test_clip_skip_leaves_out_layers_of_the_prompt_only(pipeline: DiffusionPipeline) -> None:
    given = given_to(pipeline, "a cat", clip_skip=1, negative_prompt="dark")
    expected = own_reading(pipeline, "a cat", "dark")
    negative = given["negative_prompt_embeds"]
    assert torch.equal(negative, expected["negative_prompt_embeds"])
    ids = pipeline.tokenizer("a cat", padding="max_length", return_tensors="pt").input_ids
    parts = []
    with torch.no_grad():
        for encoder in (pipeline.text_encoder, getattr(pipeline, "text_encoder_2", None)):
            if encoder is not None:
                hidden = encoder(ids, output_hidden_states=True).hidden_states
                if "pooled_prompt_embeds" in given:
                    parts.append(hidden[-3])
                else:
                    parts.append(encoder.final_layer_norm(hidden[-2]))
    assert torch.equal(given["prompt_embeds"], torch.cat(parts, dim=-1))


def test_clip_skip_is_as_the_pipeline_has_it(pipelines: dict[str, DiffusionPipeline]) -> None:
    given = given_to(pipelines["sdxl"], "a cat", clip_skip=1)["prompt_embeds"]
    with torch.no_grad():
        own = pipelines["sdxl"].encode_prompt("a cat", clip_skip=1)[0]
    assert torch.equal(given, own)


def test_more_layers_than_there_are_cannot_be_left_out(pipeline: DiffusionPipeline) -> None:
    with pytest.raises(UnsupportedError, match=r"clip_skip must be less than .* 2 layers"):
        given_to(pipeline, "a cat", clip_skip=2)


# --- Textual inversion


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_learned_tokens_work_with_weights(family: str) -> None:
    pipeline = tiny.FAMILIES[family]()
    encoders = encoders_of(pipeline, inspect.signature(pipeline.__call__).parameters)
    for encoder in encoders:
        encoder.tokenizer.add_tokens([AddedToken("<kit>"), AddedToken("<kit>_1")])
        encoder.module.resize_token_embeddings(len(encoder.tokenizer))
    weighted = given_to(pipeline, "a (<kit>:1.5)")["prompt_embeds"]
    plain = own_reading(pipeline, "a <kit>", "")["prompt_embeds"]
    empty = own_reading(pipeline, "", "")["prompt_embeds"]
    moved = [index for index in range(ROOM) if (weighted - plain)[0, index].norm() > 1e-4]
    assert moved == [2, 3]
    expected = empty + (plain - empty) * 1.5
    torch.testing.assert_close(weighted[:, 2:4], expected[:, 2:4], atol=1e-5, rtol=0)


# --- Whole jobs

TASKS_OF = {
    "sd15": ("text-to-image", "image-to-image", "inpaint"),
    "sdxl": ("text-to-image", "image-to-image", "inpaint"),
    "sdxl-turbo": ("text-to-image",),
    "lcm": ("text-to-image", "image-to-image"),
    "sd15-inpaint": ("inpaint",),
    "sdxl-inpaint": ("inpaint",),
    "gligen": ("layout-to-image", "text-to-image"),
    "upscaler": ("upscale",),
}
ALL = [(family, task, False) for family, tasks_ in TASKS_OF.items() for task in tasks_]
CONTROLLED = [(family, task, True) for family in ("sd15", "sdxl") for task in TASKS_OF[family]]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], LoadedModel]:
    return functools.cache(
        lambda family: tiny.load(family, tmp_path_factory.mktemp(family), Gather())
    )


def job(model: LoadedModel, task: str, controlled: bool, prompt: str) -> tasks.Outcome:
    cls = TASKS[task].request
    every = {
        "task": task,
        "model": model.record.name,
        "prompt": prompt,
        "negative_prompt": "" if model.record.name == "lcm" else "(dark)",
        "width": 16,
        "height": 16,
        "num_inference_steps": 2,
        "guidance_scale": 5.0,
        "scheduler": model.schedulers.own,
        "seed": 1,
        "num_images": 2,
        "image": "file_" + "0" * 64,
        "mask_image": "file_" + "0" * 64,
        "strength": 1.0,
        "regions": [{"phrase": "a hat", "box": [0.0, 0.0, 0.5, 0.5]}],
        "controls": [{"name": "edges", "image": "file_" + "0" * 64}] if controlled else [],
    }
    request = cls.model_validate({k: v for k, v in every.items() if k in cls.model_fields})
    photo = Image.effect_noise((4, 4) if task == "upscale" else (16, 16), 90).convert("RGB")
    mask = Image.new("L", (16, 16), 255)
    mask.putpixel((0, 0), 0)  # a mask of all is worth a warning
    inputs = {IMAGE: photo, MASK: mask}
    inputs[control(0)] = photo
    with torch.no_grad():
        return tasks.run(request, model, inputs)


@pytest.mark.parametrize(("family", "task", "controlled"), ALL + CONTROLLED)
def test_every_pipeline_takes_embeddings(
    family: str, task: str, controlled: bool, loaded: Callable[[str], LoadedModel]
) -> None:
    model = loaded(family)
    if controlled:
        net = tiny.controlnet(**(tiny.SDXL if family == "sdxl" else {}))
        model = replace(model, adapters=Adapters(controlnets={"edges": net}))
    plain, weighted, long = (
        job(model, task, controlled, prompt) for prompt in ("a cat", "a (cat:1.5)", LONG)
    )
    assert plain.warnings == weighted.warnings == long.warnings == ()
    assert len(long.pictures) == 2
    assert len({each.pictures[1].tobytes() for each in (plain, weighted, long)}) == 3


# --- Whatever people type


@given(
    st.text(st.sampled_from("ab,. ()[]:12\\é"), max_size=30)
    | st.lists(
        st.sampled_from(["<|endoftext|>", "<|startoftext|>", "(", ")", "[", "]", ":0.3)", " ", "b"])
    ).map("".join)
)
@example("a [ ] b")
@example("( )")
@example("[<|endoftext|>] [<|startoftext|>]")
def test_any_text_becomes_finite_embeddings(text: str) -> None:
    given = given_to(sd15(), text, negative_prompt="dark")
    if "prompt_embeds" in given:
        assert given["prompt_embeds"].isfinite().all()
        assert given["prompt_embeds"].shape == given["negative_prompt_embeds"].shape
    else:
        assert "prompt" in given


LONG_FRAGMENTS = "(a)b" * 800  # two tokens each; without brackets they would join to fewer


@pytest.mark.parametrize("text", ["a BREAK " * 21, "\N{CAT FACE}" * 900, LONG_FRAGMENTS])
def test_prompts_of_too_many_chunks_are_cut_and_told(
    pipeline: DiffusionPipeline, text: str
) -> None:
    most = given_to(pipeline, "a" + " BREAK a" * (MAX_CHUNKS - 1))["prompt_embeds"]
    given, [warning] = prompts.arguments(asked(text), pipeline)
    assert re.match(f"prompt makes .* reads the first {MAX_CHUNKS} and ignores the rest", warning)
    # Where phrases end may need a chunk more.
    assert most.shape[1] <= given["prompt_embeds"].shape[1] <= most.shape[1] + 2 * ROOM
    _, [warning] = prompts.arguments(asked("a", negative_prompt=text), pipeline)
    assert warning.startswith("negative_prompt makes")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a BREAK " * 21, ["a"] * MAX_CHUNKS),
        ("a BREAK " * 18 + "b" * 200, ["a"] * 18 + ["b"] * 2),
        ("(b)a" * 200, ["b"] * MAX_CHUNKS),
    ],
)
def test_what_is_cut_is_the_end(text: str, kept: list[str]) -> None:
    [encoder] = encoders_of(sd15(), inspect.signature(sd15().__call__).parameters)
    cut = prompts._cut(parse(text), [encoder])
    chunks = [part for part in cut for _ in range(encoder.chunks(part))]
    assert [part[0].text[0] for part in chunks] == kept
    longer = (*cut[:-1], (*cut[-1], parse("b")[0][0]))
    assert sum(map(encoder.chunks, longer)) + len(parse(text)) - len(cut) > MAX_CHUNKS


def test_too_many_passes_for_weights_below_1_are_not_made_and_told(
    pipeline: DiffusionPipeline,
) -> None:
    given_to(pipeline, "[a] b " * 8)
    given_to(pipeline, " BREAK ".join(["[a] b [a] b"] * MAX_CHUNKS))
    weak = " BREAK ".join(["[a] b [a] b [a] b [a] b [a] b"] * MAX_CHUNKS)
    given, [warning] = prompts.arguments(asked(weak), pipeline)
    assert warning.startswith("prompt weighs 100 passages less than 1; 80 of them are, and")
    kept = [*["[a] b [a] b [a] b [a] b [a] b"] * 16, *["a b a b a b a b a b"] * 4]
    expected = given_to(pipeline, " BREAK ".join(kept))["prompt_embeds"]
    torch.testing.assert_close(given["prompt_embeds"], expected, atol=1e-5, rtol=0)


# --- Models that read strings only


def test_other_models_get_the_text_unchanged_and_a_warning(
    pipelines: dict[str, DiffusionPipeline],
) -> None:
    given, warnings = prompts.arguments(asked("a (cat:1.2)", clip_skip=0), pipelines["sd3"])
    assert given == {"prompt": "a (cat:1.2)"}
    assert [each.split(" ")[0] for each in warnings] == ["prompt"]
    assert "reads the brackets as text" in warnings[0]
    assert "cat" not in warnings[0]
    for fields in ({}, {"negative_prompt": r"\(dark\)"}):
        assert prompts.arguments(asked("a cat", **fields), pipelines["sd3"])[1] == []


def test_other_models_tell_a_break_and_read_escaped_brackets_as_brackets(
    pipelines: dict[str, DiffusionPipeline],
) -> None:
    request = asked(r"\(cat\) BREAK a", negative_prompt=r"\[dark")
    given, [warning] = prompts.arguments(request, pipelines["sd3"])
    assert given == {"prompt": "(cat) BREAK a", "negative_prompt": "[dark"}
    assert "prompt has BREAK" in warning


def test_only_clip_s_tokens_are_weighed() -> None:
    parts = {**tiny.sd15().components, "tokenizer": tiny.t5_tokenizer()}
    given, warnings = prompts.arguments(asked("a (cat:1.2)"), StableDiffusionPipeline(**parts))
    assert given == {"prompt": "a (cat:1.2)"}
    assert "reads the brackets as text" in warnings[0]


def test_a_flux_that_is_left_with_clip_alone_is_still_not_weighed() -> None:
    parts = {**tiny.flux().components, "tokenizer_2": None, "text_encoder_2": None}
    given, warnings = prompts.arguments(asked("a (cat:1.2)"), FluxPipeline(**parts))
    assert given == {"prompt": "a (cat:1.2)"}
    assert "reads the brackets as text" in warnings[0]


def test_a_prompt_longer_than_such_a_model_reads_is_cut_with_a_warning(
    pipelines: dict[str, DiffusionPipeline],
) -> None:
    long = "cats " * 10
    given, [warning] = prompts.arguments(asked(long), pipelines["sd3"])
    assert given == {"prompt": long}
    assert warning.startswith("prompt has ")
    assert f"reads the first {ROOM} " in warning
    assert "cats" not in warning
    assert len(prompts.arguments(asked(long, negative_prompt=long), pipelines["sd3"])[1]) == 2


def test_clip_skip_goes_to_models_that_take_it_themselves(
    pipelines: dict[str, DiffusionPipeline],
) -> None:
    given, _ = prompts.arguments(asked("a cat", clip_skip=1), pipelines["sd3"])
    assert given == {"prompt": "a cat", "clip_skip": 1}


# --- In company


def test_text_encoders_park_and_jobs_in_company_read_the_same(tmp_path: Path) -> None:
    gather = Gather()
    pipeline = tiny.load("sdxl", tmp_path, gather).view("text-to-image", "EulerDiscreteScheduler")
    texts = {0: "a (cat:1.3)", 1: LONG, 2: "[a dog] in (a hat)"}
    alone = {index: given_to(pipeline, text) for index, text in texts.items()}
    jobs = {index: lambda text=text: given_to(pipeline, text) for index, text in texts.items()}
    gather.start("first", jobs[0])
    assert gather.parked["first"].module_name == "text_encoder"
    together = values(run_all(gather, jobs))
    for index in texts:
        for name, expected in alone[index].items():
            assert torch.equal(together[index][name], expected)
