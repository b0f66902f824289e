"""Bodies as clients write them, and as nobody should."""

import contextlib
import gzip
import json
import time

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.errors import InvalidRequestError, MalformedRequestError, PayloadTooLargeError
from service.bodies import LONG_BYTES, read_object, text_bytes

MOST_TEXT = 256 * 2**10
JSON = {"Content-Type": "application/json"}


def read(raw: bytes) -> dict:
    return read_object(raw, MOST_TEXT)


def refused(raw: bytes) -> dict[str, str]:
    with pytest.raises(InvalidRequestError) as caught:
        read(raw)
    return {each.pointer: each.code for each in caught.value.errors}


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b"{", 'column 2: a name in ""'),
        (b'{"a": 1,}', "column"),
        (b"{} {}", "column 4: nothing should follow"),
        (b"{'prompt': 1}", 'a name in ""'),
        (b'{"prompt" 1}', "a colon"),
        (b'{"prompt": "a\nb"}', "line 1, column 14: a line break within text is written"),
        (b'{"prompt": "a\\xb"}', "a backslash within text"),
        (b'{"prompt": "a', "does not end"),
        (b'{"prompt": 01}', "column 13"),
        (b'{"prompt": "\xff"}', "UTF-8, from byte 12 on"),
        (b'{"prompt": "\xed\xa0\x80"}', "UTF-8"),
        ('{"prompt": "a cat"}'.encode("utf-16"), "UTF-8"),
        ('{"prompt": "a cat"}'.encode("utf-32"), "UTF-8"),
        (b"\xef\xbb\xbf\xef\xbb\xbf{}", "line 1, column 1"),
        (b"prompt=a+cat", "line 1, column 1"),
    ],
)
def test_what_is_no_json_is_malformed(raw, told):
    with pytest.raises(MalformedRequestError, match=told):
        read(raw)


@pytest.mark.parametrize("raw", [b"[]", b"null", b"7", b'"prompt"', b"NaN"])
def test_what_is_no_object_is_malformed(raw):
    with pytest.raises(MalformedRequestError, match="object"):
        read(raw)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_refused(raw):
    with contextlib.suppress(MalformedRequestError, InvalidRequestError):
        assert isinstance(read(raw), dict)


@st.composite
def json_of(draw: st.DrawFn, value: object) -> str:
    """JSON of a value, as one or another program writes it."""
    blank = draw(st.sampled_from(["", " ", "\n\t", "\r\n"]))
    if isinstance(value, dict):
        names = draw(st.permutations(sorted(value)))
        inner = [f"{draw(json_of(name))}{blank}:{draw(json_of(value[name]))}" for name in names]
    elif isinstance(value, list):
        inner = [draw(json_of(each)) for each in value]
    elif isinstance(value, str):
        text = json.dumps(value, ensure_ascii=draw(st.booleans()))
        return blank + (text.replace("/", "\\/") if draw(st.booleans()) else text) + blank
    elif isinstance(value, int) and not isinstance(value, bool):
        forms = [f"{value}", f"{value}.0", f"{value}e0", f"{value}0E-1", f"{value}.00e+0"]
        return draw(st.sampled_from(forms)) + blank
    else:
        return json.dumps(value) + blank
    ends = "{}" if isinstance(value, dict) else "[]"
    return blank + ends[0] + f"{blank},".join(inner) + blank + ends[1] + blank


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=9),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
            max_leaves=8,
        ),
        max_size=5,
    ),
    st.data(),
)
def test_an_object_is_the_same_however_it_is_written(value, data):
    text = data.draw(json_of(value))
    found = read(data.draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + text.encode())
    assert found == value
    assert json.dumps(found, sort_keys=True) == json.dumps(value, sort_keys=True), "42, not 42.0"


def test_numbers_that_are_none_are_left_to_the_check_of_their_field():
    body = read(b'{"a": NaN, "b": Infinity, "c": -1e999, "d": 1e400}')
    assert set(body) == {"a", "b", "c", "d"}


def test_a_byte_order_mark_is_passed_over():
    assert read(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    ("written", "value"),
    [("42.0", 42), ("1e9", 10**9), ("4.2e1", 42), ("-0.0", 0), ("9007199254740992.0", 2**53)],
)
def test_a_whole_number_is_one_however_it_is_written(written, value):
    number = read(b'{"a": %s}' % written.encode())["a"]
    assert (number, type(number)) == (value, int)


@pytest.mark.parametrize("written", ["42.5", "1e-1", "9007199254740994.0", "1e300"])
def test_other_numbers_stay_as_they_are(written):
    assert type(read(b'{"a": %s}' % written.encode())["a"]) is float


@pytest.mark.parametrize(
    ("raw", "wrong"),
    [
        (b'{"seed": 1, "seed": 2}', {"/seed": "duplicate"}),
        (b'{"seed": 1, "s\\u0065ed": 1}', {"/seed": "duplicate"}),
        (b'{"controls": [{"a": 1, "a": 1, "b": 1, "b": 2}]}',
         {"/controls/0/a": "duplicate", "/controls/0/b": "duplicate"}),
        (b'{"a": ' * 9 + b"1" + b"}" * 9, {"/a" * 8: "too_deep"}),
        (b'{"a": ' * 1000, {"": "too_deep"}),
        (b"[" * 100_000, {"": "too_deep"}),
        (b'{"a": %s}' % (b"[" * 500 + b"]" * 500), {"/a" + "/0" * 7: "too_deep"}),
        (b'{"seed": 1' + b"0" * 5000 + b"}", {"": "too_long"}),
        (b'{"seed": 1.' + b"0" * 5000 + b"}", {"": "too_long"}),
        (b'{"a": "\\ud800"}', {"/a": "character"}),
        (b'{"a": ["\\udc00\\ud800"]}', {"/a/0": "character"}),
        (b'{"\\ud800": 1}', {"/?": "character"}),
        (b'{"' + b"k" * 101 + b'": 1}', {"/" + "k" * 98 + "\u2026": "too_long"}),
        (b'{"a": [' + b"1," * 100 + b"1]}", {"/a": "too_many"}),
    ],
)  # fmt: skip
def test_c2_c4_c5_c6_what_no_request_can_hold_is_refused_where_it_stands(raw, wrong):
    assert refused(raw) == wrong


def test_a_body_of_many_values_is_refused_as_a_whole():
    full = {f"k{i}": {f"k{j}": 1 for j in range(100)} for i in range(100)}
    assert refused(json.dumps(full).encode()) == {"": "too_many"}


def test_a_name_that_is_given_twice_is_named_in_words():
    with pytest.raises(InvalidRequestError, match="/output/format: Is given more"):
        read(b'{"output": {"format": "png", "format": "webp"}}')


def test_pictures_do_not_count_as_text():
    picture = "A" * LONG_BYTES * 4
    body = {"image": picture, "controls": [{"image": "data:image/png;base64," + picture}]}
    raw = json.dumps(body).encode()
    assert text_bytes(raw, MOST_TEXT) < 100
    assert read_object(raw, 100) == body
    escaped = raw.replace(b"A" * 64, b"A" * 62 + b"\\/\\u002b")  # as PHP and .NET write base64
    assert text_bytes(escaped, MOST_TEXT) < 100


@given(st.recursive(
    st.text(max_size=9) | st.integers(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=20,
), st.booleans())  # fmt: skip
def test_all_that_is_short_is_counted(value, ascii):
    raw = json.dumps(value, ensure_ascii=ascii).encode()
    assert len(raw) <= text_bytes(raw, MOST_TEXT) <= len(raw) + 1


@pytest.mark.parametrize(
    "raw",
    [
        b'{"prompt": "x", %s}' % b",".join(b'"k%d": 1' % i for i in range(10**5)),
        b'{"tags": [%s]}' % b",".join([b'"x"'] * 10**5),
        b'{"controls": [%s]}' % b",".join([b"{}"] * 10**5),
        b'{"a": 0.%s}' % (b"1" * 10**6),
        b'{"a": ' * 10**5,
        b"[" * 10**6,
        b" " * 10**6 + b"{}",
        b'{"a": "%s"}' % (b'\\"' * 10**6),
    ],
)
def test_counting_ends_where_there_is_enough(raw):
    assert MOST_TEXT < text_bytes(raw, MOST_TEXT) <= max(MOST_TEXT + 10, len(raw) + 1)
    with pytest.raises(PayloadTooLargeError, match="262144 bytes"):
        read(raw)


def test_long_texts_that_are_no_pictures_count():
    for name in ("prompt", "nope", "tags"):
        with pytest.raises(PayloadTooLargeError):
            read(json.dumps({name: ["x" * MOST_TEXT, "x"]}).encode())
    read(json.dumps({"reference_images": ["x" * MOST_TEXT], "prompt": "x" * 1000}).encode())


def test_c9_a_job_that_would_be_told_at_length_is_refused(api):
    emoji = "\N{GRINNING FACE}"
    texts = {"prompt": emoji * 4000, "negative_prompt": emoji * 4000}
    metadata = {f"{number}{emoji * 60}": emoji * 512 for number in range(16)}
    taken = api.post("/api/v1/jobs", json=texts)
    assert taken.status_code == 202
    assert len(taken.content) < 64 * 2**10
    [error] = api.post("/api/v1/jobs", json=texts | {"metadata": metadata}).json()["errors"]
    assert (error["pointer"], error["code"]) == ("", "too_long")


LONG = b"A" * 30_000_000
MUCH: dict[str, tuple[bytes, bytes, int]] = {
    "a picture": (b'{"prompt": "x", "image": "%s"}', LONG, 1),
    "a key": (b'{"prompt": "x", "%s": 1}', LONG, 1),
    "a prompt": (b'{"prompt": "%s"}', LONG, 1),
    "a prompt with an emoji": (b'{"prompt": "\xf0\x9f\x98\x80%s"}', LONG, 1),
    "a prompt of control characters": (b'{"prompt": "%s"}', b"\\u0001", 5_000_000),
    "a model": (b'{"prompt": "x", "model": "%s"}', LONG, 1),
    "a task": (b'{"prompt": "x", "task": "%s"}', LONG, 1),
    "a scheduler": (b'{"prompt": "x", "scheduler": "%s"}', LONG, 1),
    "a tag": (b'{"prompt": "x", "tags": ["%s"]}', LONG, 1),
    "metadata": (b'{"prompt": "x", "metadata": {"a": "%s"}}', LONG, 1),
    "escapes": (b'{"image": "%s"}', b"\\u0041", 5_000_000),
    "quotes": (b'{"image": "%s"}', b'\\"', 15_000_000),
    "backslashes": (b'{"image": "%s"}', b"\\", 30_000_000),
    "halves of characters": (b'{"image": "%s"}', b"\\ud800", 5_000_000),
    "emoji": (b'{"image": "%s"}', b"\xf0\x9f\x98\x80", 7_500_000),
    "equal keys": (b'{"prompt": "x"%s}', b', "k": 1', 30_000),
    "empty objects": (b'{"prompt": "x", "controls": [1%s]}', b", {}", 10**6),
    "open lists": (b'{"prompt": "x", "a": %s}', b"[", 10**7),
    "full lists": (b'{"prompt": "x", "loras": [1%s], "regions": 1}', b', {"a":1,"b":2}', 99),
    "digits": (b'{"prompt": "x", "seed": 1.%s}', b"1", 5_000_000),
    "white space": (b'{"prompt": "x"%s}', b" ", 30_000_000),
    "nothing": (b"%s", b"\0", 30_000_000),
}
"""A body, what is repeated in it and how often."""

NUMBERED: dict[str, tuple[bytes, int]] = {
    "a million keys": (b'"k%d": 1', 10**6),
    "a hundred keys": (b'"k%d": 1', 99),
    "halves in names": (b'"\\ud800%d": 1', 99),
    "controls in names": (b'"' + b"\\u0001" * 95 + b'%d": 1', 99),
    "a full tree": (b'"%%d": {%s}' % b",".join(b'"%d": [1,1,1,1,1]' % i for i in range(100)), 99),
}
"""An entry of an object, and how many of them."""


def much(name: str) -> bytes:
    if name in MUCH:
        body, piece, count = MUCH[name]
        return body % (piece * count)
    entry, count = NUMBERED[name]
    return b"{%s}" % b",".join(entry % number for number in range(count))


@pytest.fixture(scope="module")
def wide_open(serving, valkey, tmp_path_factory) -> httpx2.Client:
    """A service with the usual limits."""
    served = serving(
        redis_url=valkey.url, state_dir=tmp_path_factory.mktemp("state"), max_body_mb=32
    )
    with httpx2.Client(base_url=served.url, timeout=120) as client:
        yield client


@pytest.mark.parametrize("name", [*MUCH, *NUMBERED])
@pytest.mark.long
def test_no_body_costs_much_or_is_answered_at_length(wide_open, redis, name):  # noqa: ARG001
    raw = much(name)
    before = time.process_time()
    response = wide_open.post("/api/v1/jobs", content=raw, headers=JSON)
    assert time.process_time() - before < 5, "a tenth is usual"
    assert response.status_code in (400, 404, 413, 422)
    assert len(response.content) < 64 * 2**10


@pytest.mark.parametrize(
    "coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "identity, gzip", "x", "GZIP"]
)
def test_a_compressed_body_is_refused_with_what_to_do(api, coding):
    raw = gzip.compress(b'{"prompt": "a cat"}')
    response = api.post("/api/v1/jobs", content=raw, headers=JSON | {"Content-Encoding": coding})
    assert response.status_code == 415
    assert response.headers["accept-encoding"] == "identity"
    assert "uncompressed" in response.json()["detail"]


def test_a_body_that_says_it_is_not_compressed_is_read(api):
    headers = JSON | {"Content-Encoding": "identity"}
    response = api.post("/api/v1/jobs", content=b'{"prompt": "a cat"}', headers=headers)
    assert response.status_code == 202


def test_a_body_of_much_text_is_refused(api):
    raw = json.dumps({"prompt": ["a cat"] * 40_000}).encode()
    response = api.post("/api/v1/jobs", content=raw, headers=JSON)
    assert (response.status_code, response.json()["code"]) == (413, "payload_too_large")
