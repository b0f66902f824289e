from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from darkroom.text import ONE_LINE, Text, plain

TEXT, LINE = TypeAdapter(Text), TypeAdapter(Annotated[str, ONE_LINE])

HIDDEN = ["\0", "\x1b", "\x7f", "\x80", "\x85", "\x9b", "\x9d", "\ufffe", "\uffff", "\ufdd0"]
HIDDEN += ["\U0001fffe", "\U0010ffff"]
TURNING = ["\u202a", "\u202e", "\u2066", "\u2069"]


def refusal(kind: TypeAdapter, text: str) -> str:
    with pytest.raises(ValidationError) as caught:
        kind.validate_python(text)
    [error] = caught.value.errors()
    assert error["type"] == "character"
    return error["msg"]


@pytest.mark.parametrize("bad", HIDDEN)
@pytest.mark.parametrize("kind", [TEXT, LINE])
def test_c8_what_is_no_text_is_named(kind, bad):
    assert refusal(kind, f"a{bad}b{bad}") == (f"Must not hold these characters: U+{ord(bad):04X}.")


@pytest.mark.parametrize("bad", [*TURNING, "\n", "\r", "\t", "\u2028", "\u2029"])
def test_a_line_hides_nothing_and_turns_nothing(bad):
    assert f"U+{ord(bad):04X}" in refusal(LINE, f"a{bad}b")


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r", "\u2028", "\u2029"])
def test_each_line_break_becomes_the_same(line_break):
    assert TEXT.validate_python(f"a{line_break}{line_break}b") == "a\n\nb"


@pytest.mark.parametrize("good", ["שלום \u2067x\u2069", "\u200f", "a\tb", "👩\u200d🚀", "日本", ""])
def test_prompts_are_written_in_all_scripts(good):
    assert TEXT.validate_python(good) == good


def test_of_many_characters_five_are_named():
    assert refusal(TEXT, "".join(map(chr, range(9)))) == (
        "Must not hold these characters: U+0000, U+0001, U+0002, U+0003, U+0004 and 4 others."
    )


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_what_was_taken_is_taken_again_as_it_is(text):
    for kind in (TEXT, LINE):
        try:
            taken = kind.validate_python(text)
        except ValidationError:
            continue
        assert kind.validate_python(taken) == taken
        assert "\r" not in taken


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a cat :skull: [red]", "a cat :skull: [red]"),
        ("x\nstatus  failed\r\t", "x\\nstatus  failed\\r\\t"),
        ("\x1b[31m\x9b31m\x7f", "\\x1b[31m\\x9b31m\\x7f"),
        ("a\u202eb\u2066c\u200f\u2028", "a\\u202eb\\u2066c\\u200f\\u2028"),
        ("猫 👩\u200d🚀 é", "猫 👩\u200d🚀 é"),
    ],
)
def test_c8_text_of_clients_stays_on_its_line(text, shown):
    assert plain(text) == shown
