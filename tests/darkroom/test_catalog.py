"""The catalog: what models.toml may hold, and how a model in it is found."""

import pytest

from darkroom.catalog import Catalog
from darkroom.errors import ModelNotFoundError
from darkroom.model_card import ModelCard
from darkroom.models_text import ModelsFileError


def test_a_model_is_found_by_name_alias_source_and_default(catalog):
    assert [catalog.find(n).name for n in ("pix", "demo", "owner/sdxl-base", None)] == [
        *("pix", "pix", "sdxl", "pix")
    ]


def test_an_unknown_name_comes_with_near_matches(catalog):
    with pytest.raises(ModelNotFoundError) as caught:
        catalog.find("sdxll")
    assert caught.value.near == ("sdxl",)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "no [[models]]"),
        ("[[models]\n", "is no TOML"),
        ("modles = 1\n", "modles: There is no such field. Did you mean models?"),
        ('[[models]]\nname = "a b"\nsource = "x"\n', "name"),
        (
            '[[models]]\nname = "a"\nsource = "x"\nstesp = 3\n',
            "'a', stesp: There is no such field.",
        ),
        ('[[models]]\nname = "a"\nsource = "x"\naliases = ["a"]\n', "may stand for one model: a."),
        (
            '[[models]]\nname = "a"\nsource = "x"\n'
            'loras = [{ name = "l", source = "y" }, { name = "l", source = "z" }]\n',
            "model 'a', loras: Each name may stand for one of them: l.",
        ),
        (
            '[[models]]\nname = "a"\nsource = "x"\nlimits = { max_steps = 3 }\n'
            'loras = [{ name = "l", source = "y", defaults = { num_inference_steps = 4 } }]\n',
            "The num_inference_steps of its LoRA 'l' is beyond its limits: 3.",
        ),
        (
            '[[models]]\nname = "a"\nsource = "x"\nlimits = { min_size = 4096, max_size = 8 }\n',
            "model 'a', limits: No size is left",
        ),
        (
            '[[models]]\nname = "a"\nsource = "x"\n'
            'loras = [{ name = "l", source = "y", defaults = { scheduler = "Lcmm" } }]\n',
            "There is no noise scheduler of that name. Did you mean LCM?",
        ),
        (
            '[[models]]\nname = "a"\nsource = "x"\nscheduler = "Eular a"\n',
            "model 'a', scheduler: There is no noise scheduler of that name. Did you mean Euler a?",
        ),
        (
            '[[models]]\nname = "a"\nsource = "x"\nscheduler = "sd15"\n',
            "There is no noise scheduler of that name. There are: DDIM, DDPM, DEIS, DPM++ 2M,",
        ),
        (
            '[[models]]\nname = "a"\nsource = "x"\ndefaults = { scheduler = "LCM" }\n',
            "model 'a', defaults.scheduler: There is no such field. It belongs beside "
            "defaults, not into it.",
        ),
        ('[[models]]\nname = "a"\nsource = "x"\nip_adapter = { source = "y" }\n', "weight_name"),
        (
            '[[models]]\nname = "a"\nsource = "x"\n[[styles]]\nname = "ink"\nprompt = "ink"\n',
            "Must hold {prompt}",
        ),
        (
            '[[models]]\nname = "a"\nsource = "x"\n'
            + '[[styles]]\nname = "ink"\nprompt = "{prompt}, ink"\n' * 2,
            "styles: Each name may stand for one of them: ink.",
        ),
        ('default = "b"\n[[models]]\nname = "a"\nsource = "x"\n', "default 'b'"),
        (
            '[[models]]\nname = "a"\nsource = "x"\n[aliases]\n"gpt-image-1" = "b"\n',
            "The alias 'gpt-image-1' stands for 'b', which is none of its models.",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(tmp_path, text, part):
    (tmp_path / "models.toml").write_text(text)
    with pytest.raises(ModelsFileError) as caught:
        Catalog.read(tmp_path / "models.toml")
    assert part in str(caught.value)


def test_all_faults_of_a_file_are_told_at_once(tmp_path):
    (tmp_path / "models.toml").write_text(
        '[[models]]\nname = "a"\nsorce = "x"\nstesp = 1\n[[models]]\nname = "b"\nsource = 5\n'
    )
    with pytest.raises(ModelsFileError) as caught:
        Catalog.read(tmp_path / "models.toml")
    told = str(caught.value)
    assert "\n" not in told
    for part in (
        "model 'a', source: This field is required.",
        "model 'a', sorce: There is no such field. Did you mean source?",
        "model 'a', stesp: There is no such field.",
        "model 'b', source: Must be text.",
    ):
        assert part in told


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (None, "There is no file"),
        (b"\xff\xfe", "is no text in UTF-8"),
        (b"a = " + b"[" * 100_000, "is no TOML"),
    ],
)
def test_what_is_no_models_file_is_told_as_that(tmp_path, content, part):
    path = tmp_path / "models.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelsFileError, match=part):
        Catalog.read(path)


def test_names_asked_for_by_alias_are_resolved(catalog):
    assert catalog.names(["gpt-image-1"]) == ("pix",)
    assert catalog.names([]) == ("pix", "sdxl")
    with pytest.raises(ModelNotFoundError, match=r"Did you mean pix\? There are: pix, sdxl\."):
        catalog.names(["pixx"])
    with pytest.raises(ModelNotFoundError, match=r"'nope'\. There are: pix, sdxl\."):
        catalog.names(["nope"])


@pytest.mark.parametrize("content", [None, b"\xff", b"a\n" * 2**20])
def test_a_vocabulary_that_cannot_be_read_is_told(tmp_path, content):
    if content is not None:
        (tmp_path / "words.txt").write_bytes(content)
    toml = '[[models]]\nname = "a"\nsource = "x"\nvocabulary = "words.txt"\n'
    (tmp_path / "models.toml").write_text(toml)
    with pytest.raises(ModelsFileError, match=r"the vocabulary words\.txt of 'a' cannot be read"):
        Catalog.read(tmp_path / "models.toml")


def test_a_source_may_lie_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x").mkdir()
    card = ModelCard(name="m", source="~/x")
    assert Catalog([card], "m", tmp_path / "elsewhere").locate("~/x") == (tmp_path / "x").resolve()
