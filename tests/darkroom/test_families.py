import pytest

from darkroom.families import diffusers_table, entry, refusal, tasks_of

PROMPTED = ("text-to-image", "image-to-image", "inpaint")


def test_what_cannot_be_run_is_named_with_all_that_can() -> None:
    said = refusal("StableCascadeCombinedPipeline") or ""
    assert said.startswith("the pipeline 'StableCascadeCombinedPipeline' is not one of those that")
    assert all(name in said for name in diffusers_table()["pipelines"])
    assert refusal("FluxPipeline") is refusal(None) is None


@pytest.mark.parametrize(
    "name",
    ["JoyImageEditPipeline", "JoyImageEditPlusPipeline", "DreamLitePipeline", "BriaFibo2Pipeline"],
)
def test_editors_that_cannot_be_run_are_refused_with_those_that_edit(name: str) -> None:
    said = refusal(name) or ""
    assert said.startswith(f"the pipeline {name!r} is not one of those that")
    assert all(f"{editor}, " in said for editor in ("FluxKontextPipeline", "QwenImageEditPipeline"))


@pytest.mark.parametrize(
    ("name", "score", "tasks"),
    [
        ("StableDiffusionXLImg2ImgPipeline", False, PROMPTED),
        ("StableDiffusionXLImg2ImgPipeline", True, ("image-to-image",)),
        ("StableCascadeCombinedPipeline", False, ()),
    ],
)
def test_options_of_an_index_say_what_a_model_can(
    name: str, score: bool, tasks: tuple[str, ...]
) -> None:
    assert tasks_of(name, {"requires_aesthetics_score": score}) == tasks


def test_nothing_is_known_of_a_class_beyond_the_table() -> None:
    assert entry(None) == entry("MyPipeline") == {}
