"""The catalog: what models.toml may hold, and how a model in it is found."""

import pytest

from darkroom.catalog import Catalog, ModelsFileError
from darkroom.errors import ModelNotFoundError


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
        ("[[models]\n", "models.toml"),
        ('[[models]]\nname = "a b"\nsource = "x"\n', "name"),
        ('[[models]]\nname = "a"\nsource = "x"\nstesp = 3\n', "stesp"),
        ('[[models]]\nname = "a"\nsource = "x"\naliases = ["a"]\n', "named twice"),
        (
            '[[models]]\nname = "a"\nsource = "x"\n'
            'loras = [{ name = "l", source = "y" }, { name = "l", source = "z" }]\n',
            "loras: Value error, l is named twice",
        ),
        ('[[models]]\nname = "a"\nsource = "x"\nip_adapter = { source = "y" }\n', "weight_name"),
        ('default = "b"\n[[models]]\nname = "a"\nsource = "x"\n', "default 'b'"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(tmp_path, text, part):
    (tmp_path / "models.toml").write_text(text)
    with pytest.raises(ModelsFileError) as caught:
        Catalog.read(tmp_path / "models.toml")
    assert part in str(caught.value)


def test_names_asked_for_by_alias_are_resolved(catalog):
    assert catalog.names(["gpt-image-1"]) == ("pix",)
    assert catalog.names([]) == ("pix", "sdxl")
    with pytest.raises(ModelNotFoundError):
        catalog.names(["pixx"])
