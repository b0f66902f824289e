import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.errors import MalformedRequestError
from service.submission import fingerprint, read_object


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"{} {}",
        b"{'prompt': 1}",
        b'{"prompt": "\xff"}',
        b'{"prompt": "\\ud800"}',
        b'{"prompt": "\xed\xa0\x80"}',
        b'{"prompt": "\\udc00\\ud800"}',
        '{"prompt": "a cat"}'.encode("utf-16"),
        '{"prompt": "a cat"}'.encode("utf-32"),
        b'\xef\xbb\xbf{"prompt": "a cat"}',
        b'{"seed": 1' + b"0" * 5000 + b"}",
        b'{"a": ' * 1000,
        b"[" * 100_000,
    ],
)
def test_what_is_no_json_is_malformed(raw):
    with pytest.raises(MalformedRequestError, match="no JSON"):
        read_object(raw)


@pytest.mark.parametrize("raw", [b"[]", b"null", b"7", b'"prompt"', b"NaN"])
def test_what_is_no_object_is_malformed(raw):
    with pytest.raises(MalformedRequestError, match="object"):
        read_object(raw)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_malformed(raw):
    with contextlib.suppress(MalformedRequestError):
        assert isinstance(read_object(raw), dict)


def test_numbers_that_are_none_are_left_to_the_check_of_their_field():
    body = read_object(b'{"a": NaN, "b": Infinity, "c": -1e999, "d": 1e400}')
    assert set(body) == {"a", "b", "c", "d"}


def test_the_fingerprint_forgets_order_and_white_space_only():
    one = fingerprint(read_object(b'{"a": 1, "b": {"c": 2, "d": 3}}'))
    assert one == fingerprint(read_object(b'{"b":{"d":3,"c":2},"a":1}'))
    assert one != fingerprint(read_object(b'{"a": 1, "b": {"c": 2, "d": 4}}'))
    assert one != fingerprint(read_object(b'{"a": 1.0, "b": {"c": 2, "d": 3}}'))
