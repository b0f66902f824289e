import pytest

from service.preferences import wait_s, wants_png


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
        ("wait=-1", None),
        ("wait=1e9", None),
        ("wait=", None),
        ("wait=٣", None),
        ("handling=lenient", None),
    ],
)
def test_wait_is_read_and_bounded_and_the_rest_ignored(header, seconds):
    assert wait_s(header, 60) == seconds


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (None, False),
        ("*/*", False),
        ("application/json", False),
        ("image/png", True),
        ("image/*", True),
        ("image/png, application/json", False),
        ("image/png, application/json;q=0.5", True),
        ("image/png;q=0.1, application/json", False),
        ("image/png;q=x", False),
        ("image/webp", False),
    ],
)
def test_a_png_is_sent_to_those_who_prefer_one(header, wanted):
    assert wants_png(header) is wanted
