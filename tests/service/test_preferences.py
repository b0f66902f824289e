import pytest

from service.preferences import answer, wait_s


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
        ("image/webp", None),
        ("image/webp, image/jpeg;q=0.3", None),
        ("image/webp, image/png;q=0", None),
        ("image/*, image/png;q=0", None),
        ("image/webp, application/json;q=0.1", "job"),
        ("image/webp, */*;q=0.1", "job"),
    ],
)
def test_a_png_is_sent_to_those_who_prefer_one(header, answered):
    assert answer(header, "png") == answered


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
def test_the_format_decides(image_format):
    assert answer("image/jpeg", image_format) == ("picture" if image_format == "jpeg" else None)
