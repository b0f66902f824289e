"""Names that clients of other APIs ask by."""

from pathlib import Path

import pytest

from darkroom.catalog import Catalog
from darkroom.errors import ModelNotFoundError
from darkroom.foreign_names import BUILT_IN, Meant, listed, meant

MODELS = """
default = "pix"
[[models]]
name = "pix"
source = "owner/pix"
aliases = ["small"]
[[models]]
name = "sdxl"
source = "owner/sdxl"
loras = [{ name = "ink", source = "ink" }]
"""


def catalog(aliases: str = "") -> Catalog:
    return Catalog.parse(f"{MODELS}\n[aliases]\n{aliases}", Path("models.toml"))


@pytest.mark.parametrize(
    ("name", "model"),
    [
        (None, "pix"),
        ("", "pix"),
        ("sdxl", "sdxl"),
        ("small", "small"),
        ("owner/sdxl", "owner/sdxl"),
        ("sdxl+ink", "sdxl+ink"),
        ("gpt-image-1", "pix"),
        ("gpt-image-9-later", "pix"),
        ("imagen-9.0-later", "pix"),
    ],
)
def test_a_name_means_what_the_native_api_calls_so_else_the_default(name, model):
    assert meant(catalog(), name) == Meant(model)


def test_what_is_no_model_of_openai_either_is_a_guess():
    assert meant(catalog(), "sd-xl") == Meant("pix", is_guess=True)


def test_the_table_goes_first():
    table = catalog('"gpt-image-1" = "sdxl+ink"\nsmall = "sdxl"\n"*" = "owner/sdxl"')
    assert meant(table, "gpt-image-1") == Meant("sdxl+ink")
    assert meant(table, "small") == Meant("sdxl")
    assert meant(table, "dall-e-3") == Meant("owner/sdxl")
    assert meant(table, "*") == Meant("owner/sdxl", is_guess=True)


def test_a_name_may_stand_for_none():
    table = catalog('"dall-e-2" = ""')
    assert meant(table, "dall-e-3") == Meant("pix")
    with pytest.raises(ModelNotFoundError):
        meant(table, "dall-e-2")
    for name in ("gpt-image-1", "anything"):
        with pytest.raises(ModelNotFoundError):
            meant(catalog('"*" = ""'), name)


def test_an_unknown_lora_of_a_known_model_is_no_other_model():
    with pytest.raises(ModelNotFoundError, match=r"sdxl\+ink"):
        meant(catalog(), "sdxl+inc")


def test_what_is_listed():
    assert listed(catalog()) == {"small": "pix"} | dict.fromkeys(BUILT_IN, "pix")
    assert listed(catalog('"*" = ""\nmine = "sdxl"')) == {"small": "pix", "mine": "sdxl"}
    assert "dall-e-2" not in listed(catalog('"dall-e-2" = ""'))
    assert set(listed(catalog('mine = "sdxl"'), ("imagen",))) == {"small", "mine", "imagen"}
