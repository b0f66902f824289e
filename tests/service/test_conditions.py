"""Conditional requests and ranges, as RFC 9110 has them."""

import pytest
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from service.conditions import matches, precondition, require_match, satisfiable

TAG = '"a"'
WRITTEN = 1763724543.9
SAME, BEFORE, AFTER = (f"Fri, 21 Nov 2025 11:29:{s:02} GMT" for s in (3, 2, 4))


@pytest.mark.parametrize(
    ("known", "matched"),
    [
        (None, False),
        ("", False),
        ('"a"', True),
        ('W/"a"', True),
        ('"b", "a"', True),
        ("*", True),
        ('"b"', False),
        ("a", False),
        ('"A"', False),
    ],
)
def test_what_a_client_has_is_compared_weakly(known, matched):
    assert matches(known, '"a"') is matched


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        ({}, None),
        ({"if-match": TAG}, None),
        ({"if-match": "*"}, None),
        ({"if-match": '"b", "a"'}, None),
        ({"if-match": '"b"'}, 412),
        ({"if-match": 'W/"a"'}, 412),
        ({"if-match": '"b"', "if-none-match": TAG}, 412),
        ({"if-match": TAG, "if-unmodified-since": BEFORE}, None),
        ({"if-unmodified-since": BEFORE}, 412),
        ({"if-unmodified-since": SAME}, None),
        ({"if-none-match": TAG}, 304),
        ({"if-none-match": '"b"', "if-modified-since": AFTER}, None),
        ({"if-modified-since": SAME}, 304),
        ({"if-modified-since": AFTER}, 304),
        ({"if-modified-since": BEFORE}, None),
        ({"if-modified-since": "yesterday"}, None),
        ({"if-modified-since": ""}, None),
        ({"if-unmodified-since": "Fri, 99 Nov 2025 11:29:02 GMT"}, None),
        ({"if-unmodified-since": "Fri, 21 Nov 99999 11:29:02 GMT"}, None),
    ],
)
def test_preconditions_in_their_order(headers, answer):
    assert precondition(Headers(headers), TAG, WRITTEN) == answer


def test_what_has_no_date_answers_to_tags_alone():
    assert precondition(Headers({"if-modified-since": AFTER}), TAG) is None


@pytest.mark.parametrize("known", [{"if-match": '"b"'}, {"if-none-match": TAG}])
def test_changes_that_may_not_be_made(known):
    with pytest.raises(HTTPException) as refused:
        require_match(Headers(known), TAG)
    assert refused.value.status_code == 412
    require_match(Headers({"if-match": TAG}), TAG)


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        ("bytes=0-3", "bytes=0-3"),
        ("BYTES = 0-3", "bytes=0-3"),
        ("bytes=2-", "bytes=2-"),
        ("bytes=-4", "bytes=-4"),
        ("bytes=-400", "bytes=-400"),
        ("bytes=0-3, ,8-9,", "bytes=0-3,8-9"),
        ("bytes=0-3,99-", "bytes=0-3"),
        ("bytes=8-400", "bytes=8-400"),
        ("", None),
        ("bytes", None),
        ("bytes=", None),
        ("bytes=,", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=9-2", None),
        ("bytes=0-3,9-2", None),
        ("bytes=+1-3", None),
        ("bytes=1_0-30", None),
        ("bytes=0 - 3", None),
        ("bytes=0-3-5", None),
        ("bytes=" + "9" * 5000 + "-", None),
        ("lines=0-3", None),
        ("bytes 0-3", None),
    ],
)
def test_ranges_that_are_served_and_that_are_ignored(asked, served):
    assert satisfiable(Headers({"range": asked}), 10, TAG, SAME) == served


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=99-100", "bytes=-0", "bytes=10-,-0"])
def test_ranges_of_which_nothing_is_there(asked):
    with pytest.raises(HTTPException) as refused:
        satisfiable(Headers({"range": asked}), 10, TAG, SAME)
    assert refused.value.status_code == 416
    assert refused.value.headers == {"Content-Range": "bytes */10"}


@pytest.mark.parametrize(
    ("condition", "served"),
    [(TAG, True), (SAME, True), ('W/"a"', False), ('"b"', False), (AFTER, False), ("x", False)],
)
def test_a_range_of_another_copy_is_ignored(condition, served):
    for asked in ("bytes=0-3", "bytes=99-"):
        headers = Headers({"range": asked, "if-range": condition})
        if served and asked == "bytes=99-":
            with pytest.raises(HTTPException):
                satisfiable(headers, 10, TAG, SAME)
        else:
            assert bool(satisfiable(headers, 10, TAG, SAME)) is served
