import diffusers
import pytest

from worker.loading import families
from worker.loading.families import Family


@pytest.fixture(scope="module")
def known() -> dict[str, Family]:
    return {family.name: family for family in families.families()}


def tasks(family: Family) -> dict[str, str]:
    return {task: cls.__name__ for task, cls in family.plain.items()}


def test_a_family_that_autopipeline_does_not_know_is_there_whatever_is_installed(
    known: dict[str, Family],
) -> None:
    kolors = {"text-to-image": "KolorsPipeline", "image-to-image": "KolorsImg2ImgPipeline"}
    assert tasks(known["KolorsPipeline"]) == tasks(known["KolorsImg2ImgPipeline"]) == kolors


def test_a_class_whose_package_is_missing_is_no_class(monkeypatch: pytest.MonkeyPatch) -> None:
    class Absent:
        _backends = ("sentencepiece",)

    monkeypatch.setattr(diffusers, "KolorsPipeline", Absent, raising=False)
    with pytest.raises(RuntimeError, match="needs sentencepiece"):
        list(families.families())


def test_what_crashes_and_what_makes_videos_is_not_offered(known: dict[str, Family]) -> None:
    assert not families.UNFIT & known.keys()
    assert tasks(known["IFPipeline"]).keys() == {"text-to-image", "image-to-image"}


def test_a_network_for_inpainting_is_good_for_nothing_else(known: dict[str, Family]) -> None:
    assert tasks(known["FluxInpaintPipeline"]).keys() == {"inpaint"}
    assert "text-to-image" in tasks(known["FluxImg2ImgPipeline"])
