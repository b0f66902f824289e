import pytest
from starlette.datastructures import Headers

from service.preferences import (
    LONGEST_WAIT_S,
    answer,
    takes_gzip,
    takes_job,
    wait_s,
    wants_no_wait,
)


def headers(name, *lines):
    return Headers(raw=[(name.encode(), line.encode()) for line in lines if line is not None])


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("wait=10", 10),
        ("respond-async, wait=5", 5),
        ('Wait = "7"; foo=bar', 7),
        ("wait=0", 0),
        ("wait=61", 60),
        ("wait=100000", 60),
        ("wait=-1", None),
        ("wait=1e9", None),
        ("wait=", None),
        ("wait=5.5", None),
        ("handling=lenient", None),
    ],
)
def test_wait_is_read_and_bounded_and_the_rest_ignored(header, seconds):
    assert wait_s(headers("prefer", header)) == seconds
    assert LONGEST_WAIT_S == 60


def test_several_lines_of_a_header_are_one_list():
    assert wait_s(headers("prefer", "respond-async", "wait=5")) == 5
    assert wants_no_wait(headers("prefer", "handling=strict", "Respond-Async"))
    assert answer(headers("accept", "text/plain", "image/png"), "png") == "picture"


@pytest.mark.parametrize(
    ("header", "answered"),
    [
        (None, "job"),
        ("", "job"),
        ("*/*", "job"),
        ("text/html", "job"),
        ("application/json", "job"),
        ("image/png", "picture"),
        ("Image/PNG", "picture"),
        ("image/*", "picture"),
        ("image/webp, image/png;q=0.1", "picture"),
        ("image/avif, image/*;q=0.8, */*;q=0.5", "picture"),
        ("image/png, application/json", "job"),
        ("image/png, application/json;q=0.5", "picture"),
        ("image/png;q=0.1, application/json", "job"),
        ("image/png;q=0.1, */*", "job"),
        ("image/png;q=x", "job"),
        ("image/png;q=nan", "job"),
        ("image/png;q=2", "job"),
        ("image/png;q=0.5, application/json;q=0.4", "picture"),
        ("text/html,image/avif,image/png,*/*;q=0.8", "job"),
        ("image/webp", None),
        ("image/webp, image/jpeg;q=0.3", None),
        ("image/webp, image/png;q=0", None),
        ("image/*, image/png;q=0", None),
        ("image/webp, application/json;q=0.1", "job"),
        ("image/webp, */*;q=0.1", "job"),
    ],
)
def test_a_png_is_sent_to_those_who_prefer_one(header, answered):
    assert answer(headers("accept", header), "png") == answered


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
def test_the_format_decides(image_format):
    asked = answer(headers("accept", "image/jpeg"), image_format)
    assert asked == ("picture" if image_format == "jpeg" else None)


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        ("image/png", False),
        ("image/png, */*;q=0.1", True),
        ("image/*, application/json;q=0", False),
        ("image/png, application/*;q=0.5", True),
        ("*/*", True),
    ],
)
def test_whether_json_would_do(header, taken):
    assert takes_job(headers("accept", header)) is taken


@pytest.mark.parametrize(
    ("header", "packed"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("gzip;q=0, *", False),
        ("*", True),
        ("identity", False),
    ],
)
def test_who_takes_gzip(header, packed):
    assert takes_gzip(headers("accept-encoding", header)) == packed
