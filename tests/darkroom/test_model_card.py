"""Which sources a card may name."""

import pytest
from pydantic import ValidationError

from darkroom.model_card import ModelCard


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("https://huggingface.co/owner/name", "owner/name"),
        ("http://www.huggingface.co/owner/name/", "owner/name"),
        ("https://hf.co/owner/name", "owner/name"),
        ("owner/name", "owner/name"),
    ],
)
def test_the_web_address_of_a_repository_names_it(source, names):
    assert ModelCard(name="m", source=source).source == names


@pytest.mark.parametrize(
    "source",
    [
        "https://huggingface.co/owner/name/tree/main",
        "https://huggingface.co/owner",
        "https://civitai.com/models/1",
        "ftp://x/y",
    ],
)
def test_another_web_address_is_no_source(source):
    with pytest.raises(ValidationError, match="address of its first page"):
        ModelCard(name="m", source=source)
