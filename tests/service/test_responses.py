from service.responses import etag


def test_an_etag_is_strong_and_follows_the_bytes():
    assert etag(b"a").startswith('"')
    assert etag(b"a") == etag(b"a") != etag(b"b")
