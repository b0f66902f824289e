import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.prompt_syntax import MAX_WEIGHT, STRONGER, Fragment, groups, parse, unescaped

LETTERS = st.text(st.sampled_from("ab ,:.1+-\\\"'é()[]"), max_size=8)
FACTORS = st.sampled_from([0.5, 0.8, 1.0, 1.2, 1.5])


@st.composite
def trees(draw: st.DrawFn, depth: int = 3) -> list[Any]:
    """A prompt as it is meant: texts and (children, bracket, factor)."""
    node = LETTERS
    if depth:
        pair = st.tuples(trees(depth - 1), st.sampled_from("(:["), FACTORS)
        node = st.one_of(node, pair)
    return draw(st.lists(node, max_size=3))


def written(tree: Sequence[Any]) -> str:
    """As a person who means it would type it."""
    out = ""
    for node in tree:
        if isinstance(node, str):
            # A number before a bracket would be its weight, and a backslash its escape.
            out += escaped(node) + ("." if node[-1:] in (*"\\.0123456789 ",) else "")
        else:
            children, bracket, factor = node
            inner = written(children)
            out += {"(": f"({inner}!)", ":": f"({inner}!:{factor})", "[": f"[{inner}!]"}[bracket]
    return out


def escaped(text: str) -> str:
    out, slashes = "", 0
    for index, letter in enumerate(text):
        if letter == "\\":
            slashes += 1
            continue
        if letter in "()[]" or re.match(r"<\w{1,20}:", text[index:]):
            out += "\\" * (2 * slashes + 1) + letter
        else:
            out += "\\" * slashes + letter
        slashes = 0
    return out + "\\" * slashes


def meant(tree: Sequence[Any], weight: float = 1.0) -> Iterator[tuple[str, float]]:
    """Every letter with its weight."""
    for node in tree:
        if isinstance(node, str):
            text = node + ("." if node[-1:] in (*"\\.0123456789 ",) else "")
            yield from ((letter, weight) for letter in text)
        else:
            children, bracket, factor = node
            factor = {"(": STRONGER, ":": factor, "[": 1 / STRONGER}[bracket]
            yield from meant(children, weight * factor)
            yield "!", weight * factor


def letters(prompt: tuple[tuple[Fragment, ...], ...]) -> list[tuple[str, float]]:
    [chunk] = prompt
    return [(letter, fragment.weight) for fragment in chunk for letter in fragment.text]


@given(trees())
def test_every_letter_has_the_product_of_the_weights_around_it(tree: list[Any]) -> None:
    found, expected = letters(parse(written(tree))), list(meant(tree))
    assert "".join(each for each, _ in found) == "".join(each for each, _ in expected)
    assert [w for _, w in found] == pytest.approx([w for _, w in expected])


@given(st.text(st.characters(blacklist_characters="()[]<"), max_size=40))
def test_a_prompt_without_brackets_survives_exactly(text: str) -> None:
    if "BREAK" not in text:
        assert parse(text) == ((Fragment(text, 1.0),),)


@given(st.text(max_size=40))
def test_escaped_text_survives_exactly(text: str) -> None:
    if "BREAK" not in text:
        assert parse(escaped(text)) == ((Fragment(text, 1.0),),)


@given(st.text(st.sampled_from("ab:1.2 ()[]\\|<"), max_size=40))
def test_no_text_breaks_the_parser_and_weights_stay_in_range(text: str) -> None:
    for chunk in parse(text):
        assert all(0 <= fragment.weight <= MAX_WEIGHT for fragment in chunk)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a (cat)", [("a ", 1.0), ("cat", 1.1)]),
        ("((cat))", [("cat", 1.1**2)]),
        ("(cat:1.3)", [("cat", 1.3)]),
        ("(cat: .5 )", [("cat", 0.5)]),
        ("[cat]", [("cat", 1 / 1.1)]),
        ("((a) b:1.5)", [("a", 1.65), (" b", 1.5)]),
        ("[(a:1.2)]", [("a", 1.2 / 1.1)]),
        (r"\(a\) \[b\]", [("(a) [b]", 1.0)]),
        (r"(a \(x\):1.2)", [("a (x)", 1.2)]),
        (r"\\(a)", [("\\", 1.0), ("a", 1.1)]),
        ("(cat", [("cat", 1.1)]),
        ("a ((cat, [dog", [("a ", 1.0), ("cat, ", 1.1**2), ("dog", 1.1)]),
        ("cat:1.2)", [("cat:1.2)", 1.0)]),
        ("(a [b) c]", [("a ", 1.1), ("b", 1.0), (" c", 1 / 1.1)]),
        ("(a:1.2 [b", [("a:1.2 ", 1.1), ("b", 1.0)]),
        (":) [ (a)", [(":) ", 1.0), (" ", 1 / 1.1), ("a", 1.0)]),
        ("so sad :( a cat", [("so sad :( a cat", 1.0)]),
        ("(so sad :( a cat", [("so sad :( a cat", 1.1)]),
        ("so sad :(a cat)", [("so sad :", 1.0), ("a cat", 1.1)]),
        (r"\<lora:ink:1> \<my-cat> <", [(r"<lora:ink:1> \<my-cat> <", 1.0)]),
        ("((a:0):" + "9" * 400 + ")", [("a", 0.0)]),
        ("(a:1.2.3)", [("a:1.2.3", 1.1)]),
        ("(a:99)", [("a", MAX_WEIGHT)]),
        ("(a:-1)", [("a", 0.0)]),
        ("", [("", 1.0)]),
        ("()", [("", 1.0)]),
    ],
)
def test_the_syntax(text: str, expected: list[tuple[str, float]]) -> None:
    [chunk] = parse(text)
    assert [fragment.text for fragment in chunk] == [text for text, _ in expected]
    assert [fragment.weight for fragment in chunk] == pytest.approx([w for _, w in expected])


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "text", [" " * 10**6, "(a:" + " " * 10**6 + "x)", "(a:" + "1" * 10**6 + "x)"], ids=range(3)
)
def test_a_text_is_read_once_however_long(text: str) -> None:
    """Where the time grew with the square of the length this would take hours."""
    assert "".join(each.text for chunk in parse(text) for each in chunk) in (text, text[1:-1])


@pytest.mark.timeout(60)
@pytest.mark.parametrize("part", ["(", "[(", "()", "[a|", ":(", "<a:", "\\(", "(a:1)(b:2)"])
def test_brackets_cost_what_their_number_says(part: str) -> None:
    text = part * 30_000
    assert parse(text)
    assert len(list(groups(text))) <= len(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a (b) c", [("(b)", "(", "b", False)]),
        ("a [b|(c|d)] e", [("(c|d)", "(", "c|d", True), ("[b|(c|d)]", "[", "", True)]),
        (
            "[b:(c:1.2):.5]",
            [("(c:1.2)", "(", "c:1.2", False), ("[b:(c:1.2):.5]", "[", ":.5", False)],
        ),
        ("a:1.2) b)", [("a:1.2)", "", "a:1.2", False), (" b)", "", " b", False)]),
        (r"\[a|b\] (a|b", []),
    ],
)
def test_the_groups_of_a_text(text: str, expected: list[tuple[str, str, str, bool]]) -> None:
    found = list(groups(text))
    assert [
        (text[each.begin : each.end], each.opening, each.last, each.has_bar) for each in found
    ] == expected


def test_a_model_without_syntax_gets_the_text_without_escapes() -> None:
    assert unescaped(r"a \(b\) (c:1.2) \d \<lora:x:1>") == r"a (b) (c:1.2) \d <lora:x:1>"


def test_break_begins_a_chunk_and_keeps_the_weight() -> None:
    assert parse("a BREAK (b BREAK c:1.5) BREAK") == (
        (Fragment("a", 1.0),),
        (Fragment("b", 1.5),),
        (Fragment("c", 1.5),),
    )
    assert parse("BREAKFAST") == ((Fragment("BREAKFAST", 1.0),),)
