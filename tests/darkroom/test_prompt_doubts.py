"""What other programs would do with a prompt is told, and ordinary text is left in peace."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.prompt_doubts import doubts
from darkroom.validation import parse
from tests.offers import BOX, CAT, GLIGEN, SD

TOLD = {
    "midway": ["[a:b:0.5]", "[a::5]", "[:b:5]", "[b:.5]", "[from: to : 10 ]", "[(a:1.2):b:0.5]"],
    "take turns": ["[a|b]", "a [b|(c:1.2)|d]", "[(a)|b]"],
    "not combined": ["a cat AND a dog", "cat AND\ndog :1.2", "A AND B", "猫 AND 犬"],
    "choice": ["{a|b} cat", "{2$$a|b|c}", "{a|}"],
    "wildcard": ["__colour__", "a __hair/long-1__ cat"],
    "textual inversion": ["embedding:easynegative", "(embedding:bad-hands:1.2)"],
    "of such tags": ["<wildcard:hair>", "<segment:face>", "<random:a|b>"],
    "without its end": ["a cat <lora:ink:0.8", "<lora:ink:0.8 <lora:ink:1", "<lora:a <b>"],
    "another program": ["(cat)1.3", "(cat)++", "(cat)--", "ball++", "hot:: dog", "1.3::cat::"],
    "not joined": ['("a", "b").blend(1, 1)', "cat.swap(dog)"],
    "fields of the request": ["a castle --ar 16:9", "cat --no dogs --seed 4"],
    "no regions": ["sky ADDROW sea"],
    "wide brackets": ["（红色:1.3）"],
    "curly brackets": ["{{masterpiece}}"],
    "no comment": ["# quality\na cat", "cat /* dog */"],
    "form 1.2": ["(word:1,2)", "(a:1.2.3)", "(a:50%)"],
    "opening bracket": ["cat:1.2) dog"],
}
ORDINARY = [
    "a (red:1.2) [apple] \\(round\\)",
    "a cat, (masterpiece), ((best)), [lowres], (dog:0.8) BREAK [sic]",
    "SALT AND PEPPER",
    "sand, a GRAND piano, an ANDROID",
    "at 10:30, [at 10:30], (at 10:30), 10:30:15, 16:9, a:b, 1.5 meters",
    "a | b || c, :) :( ;) :-( >:( <3 ^_^ x_x o_O (: [: ",
    "snake_case std::vector<int> C++ a - b -- c well--known Disney+",
    '{"a": [1, 2], "b": "x"}',
    "https://a.b/c?d=1&e=2#f",
    "#1 dad, #sunset, 50% off, 5'10\" tall",
    "<my-cat> a < b > c <br>",
    "\\[a|b\\] \\(a:1,2\\) \\<lora:ink:1>",
    "[cat (sitting)] [] () e.g. (a, b) [c, d] [a: b] (a: b)",
    "Привет, кошка! 猫が好き。",
]


@pytest.mark.parametrize(("told", "prompt"), [(t, p) for t, ps in TOLD.items() for p in ps])
def test_foreign_syntax_is_told(told, prompt):
    assert any(told in each for each in doubts({"prompt": prompt}))
    assert any(each.startswith("negative_prompt") for each in doubts({"negative_prompt": prompt}))


@pytest.mark.parametrize("prompt", ORDINARY)
def test_ordinary_text_raises_no_doubts(prompt):
    assert list(doubts({"prompt": prompt, "negative_prompt": prompt})) == []


def test_it_is_told_with_the_job_and_the_prompt_stays_as_it_is():
    draft = parse({"prompt": "[apple:pizza:0.5]"}, SD)
    assert draft.values["prompt"] == "[apple:pizza:0.5]"
    [warning] = draft.warnings
    assert warning.startswith("prompt: [apple:pizza:0.5]: ")


def test_much_of_a_kind_is_one_short_sentence():
    [warning] = doubts({"prompt": "[a|b]" * 100 + "".join(f"[a{n}|\n\u202e]" for n in range(9))})
    assert warning.startswith("prompt: [a|b], [a0|  ], [a1|  ] and more: words")
    [warning] = doubts({"prompt": "[" + "a" * 900 + "|b]"})
    assert len(warning) < 150


def test_words_of_the_model_are_no_foreign_syntax():
    assert list(doubts({"prompt": "a <cat:toy>"}, ["<cat:toy>"])) == []


@pytest.mark.parametrize("phrase", ["a (cat:1.2)", "a BREAK b", "<lora:ink:1>", "[a|b]"])
def test_a_phrase_has_no_syntax(phrase):
    body = CAT | {"regions": [BOX, BOX | {"phrase": phrase}]}
    [first, *_] = parse(body, GLIGEN).warnings
    assert first.startswith("regions/1/phrase: ")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("part", ["<", "<a:", "<lora:", "{a|", "__a", "-__a-", "embedding:", "[a|"])
def test_a_text_is_read_once_however_long(part):
    """Where the time grew with the square of the length this would take hours."""
    assert len(list(doubts({"prompt": part * 30_000}))) < 5


@given(st.lists(st.sampled_from([*"()[]{}<>:|.\\_-+#/", "a", "1.2", " AND ", "lora", "\n"])))
def test_any_text_is_read_and_brackets_with_a_bar_or_a_moment_are_told(parts):
    text = "".join(parts)
    list(doubts({"prompt": text}))
    for syntax, told in (("[a|b]", "take turns"), ("[a:b:0.5]", "midway")):
        closed = text.replace("\\", "").replace("[", "").replace("]", "") + f" {syntax} "
        if not any(each in closed for each in "()"):
            assert any(told in each for each in doubts({"prompt": closed}))


WORDS = st.text(st.sampled_from(" ,.abcdeäß猫😀"), max_size=20).map(lambda words: f"{words} ")


@given(
    st.lists(st.tuples(WORDS, st.sampled_from(sorted(TOLD))), min_size=1, max_size=3),
    WORDS,
    st.data(),
)
def test_no_syntax_is_lost_among_words_and_other_syntax(pieces, last, data):
    """Of a job too, whose tags become LoRAs before its prompt is looked at."""
    lines = [(words, data.draw(st.sampled_from(TOLD[kind]))) for words, kind in pieces]
    text = "".join(f"{words}\n{syntax} " for words, syntax in lines)
    said = parse({"prompt": text + last}, SD).warnings
    for _, kind in pieces:
        assert any(kind in each for each in said), (text, kind)
