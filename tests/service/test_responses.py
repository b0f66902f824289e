import pytest

from service.responses import etag, matches


def test_an_etag_is_strong_and_follows_the_bytes():
    assert etag(b"a").startswith('"')
    assert etag(b"a") == etag(b"a") != etag(b"b")


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
