"""Sizes as texts."""

import pytest
from pydantic import TypeAdapter, ValidationError

from service.dialects.sizes import SizeText, sides_in


def test_what_texts_say_of_sides() -> None:
    assert sides_in("768x512") == {"width": 768, "height": 512}
    assert sides_in("auto") == {}


@pytest.mark.parametrize("text", ["", "512", "0x512", "512X512", "512x512 ", "٣x3", "999999x1"])
def test_what_no_size_is(text: str) -> None:
    with pytest.raises(ValidationError, match="width and height like 512x512"):
        TypeAdapter(SizeText).validate_python(text)
