import os
from email.utils import parsedate_to_datetime

import pytest

from tests.service.conftest import picture, png
from tests.stored import file_of

UNKNOWN = "/api/v1/images/img_" + "0" * 32


@pytest.fixture
def image(submitted, work):
    submitted()
    return work.all().images[0]


def test_a_picture_may_be_kept_for_ever(api, image):
    response = api.get(image.url)
    assert response.status_code == 200
    assert response.content == png(color=(0, 9, 9))
    headers = response.headers
    assert headers["content-type"] == "image/png"
    assert headers["etag"] == f'"{image.id}"'
    assert "immutable" in headers["cache-control"]
    assert "private" in headers["cache-control"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-disposition"] == f'inline; filename="{image.id}.png"'
    assert int(headers["content-length"]) == image.bytes


@pytest.mark.parametrize(("image_format", "suffix"), [("jpeg", "jpg"), ("webp", "webp")])
def test_a_picture_of_another_format_says_so(api, submitted, work, image_format, suffix):
    submitted(output={"format": image_format, "quality": 50})
    image = work.all().images[0]
    response = api.get(image.url)
    whole = picture(image_format, color=(0, 9, 9))
    assert (image.format, response.content) == (image_format, whole)
    assert response.headers["content-type"] == f"image/{image_format}"
    assert response.headers["etag"] == f'"{image.id}"'
    named = f'inline; filename="{image.id}.{suffix}"'
    assert response.headers["content-disposition"] == named
    part = api.get(image.url, headers={"Range": "bytes=2-9"})
    assert (part.status_code, part.content) == (206, whole[2:10])
    assert part.headers["content-type"] == f"image/{image_format}"
    known = api.get(image.url, headers={"If-None-Match": f'"{image.id}"'})
    assert (known.status_code, known.content) == (304, b"")
    assert api.head(image.url).headers["content-type"] == f"image/{image_format}"


def test_a_known_picture_is_not_sent_again(api, image):
    for known in (f'"{image.id}"', f'"x", W/"{image.id}"', "*"):
        response = api.get(image.url, headers={"If-None-Match": known})
        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["etag"] == f'"{image.id}"'
    assert api.get(image.url, headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_part_of_a_picture(api, image):
    whole = api.get(image.url).content
    response = api.get(image.url, headers={"Range": "bytes=2-9"})
    assert (response.status_code, response.content) == (206, whole[2:10])
    assert response.headers["content-range"] == f"bytes 2-9/{len(whole)}"
    assert api.get(image.url, headers={"Range": "bytes=-4"}).content == whole[-4:]
    changed = {"Range": "bytes=2-9", "If-Range": '"other"'}
    assert api.get(image.url, headers=changed).content == whole
    many = "bytes=" + ",".join(f"{n}-{n}" for n in range(5000))
    assert api.get(image.url, headers={"Range": many}).content == whole


def test_several_parts_of_a_picture(api, image):
    whole = api.get(image.url).content
    response = api.get(image.url, headers={"Range": "bytes=0-3,8-9"})
    assert response.status_code == 206
    assert response.headers["content-type"].startswith("multipart/byteranges; boundary=")
    for part, place in ((whole[:4], b"0-3"), (whole[8:10], b"8-9")):
        head = b"Content-Range: bytes %b/%d\r\n\r\n" % (place, len(whole))
        assert head + part + b"\r\n" in response.content
    assert int(response.headers["content-length"]) == len(response.content)


def test_a_part_of_a_picture_that_is_as_old_as_it_was(api, image, here):
    os.utime(file_of(here.store, image.id), (1763724543.9, 1763724543.9))
    last_modified = api.head(image.url).headers["last-modified"]
    assert last_modified == "Fri, 21 Nov 2025 11:29:03 GMT"
    same = {"Range": "bytes=2-9", "If-Range": last_modified}
    assert api.get(image.url, headers=same).status_code == 206
    older = same | {"If-Range": "Fri, 21 Nov 2025 11:29:02 GMT"}
    assert api.get(image.url, headers=older).status_code == 200


def test_a_part_that_is_not_there(api, image):
    response = api.get(image.url, headers={"Range": "bytes=99999-"})
    assert (response.status_code, response.json()["code"]) == (416, "range_not_satisfiable")
    assert response.headers["content-range"] == f"bytes */{image.bytes}"
    assert "immutable" not in response.headers["cache-control"]


@pytest.mark.parametrize("asked", ["bytes=9-2", "bytes=x", "lines=1-2", "seconds=1"])
def test_ranges_that_are_none_are_ignored(api, image, asked):
    response = api.get(image.url, headers={"Range": asked})
    assert (response.status_code, len(response.content)) == (200, image.bytes)


def test_what_is_there_of_several_parts(api, image):
    whole = api.get(image.url).content
    response = api.get(image.url, headers={"Range": "bytes=99999-,0-3"})
    assert (response.status_code, response.content) == (206, whole[:4])


def test_a_picture_that_is_not_newer_is_not_sent_again(api, image):
    last_modified = api.get(image.url).headers["last-modified"]
    known = api.get(image.url, headers={"If-Modified-Since": last_modified})
    assert (known.status_code, known.content) == (304, b"")
    assert api.get(image.url, headers={"If-Match": '"other"'}).status_code == 412


def test_no_picture_is_newer_than_its_answer(api, image, here):
    """The store may lie on another machine, whose clock is ahead."""
    os.utime(file_of(here.store, image.id), (4e9, 4e9))
    headers = api.get(image.url).headers
    last_modified, date = (
        parsedate_to_datetime(headers[name]) for name in ("last-modified", "date")
    )
    assert last_modified <= date


def test_the_head_of_a_picture(api, image):
    response = api.head(image.url)
    assert (response.status_code, response.content) == (200, b"")
    assert int(response.headers["content-length"]) == image.bytes


@pytest.mark.parametrize(
    "image_id",
    [
        "x",
        "img_" + "0" * 32,
        "img_" + "A" * 32,
        "a" * 300,
        "%00",
        "..%2f..%2fetc%2fx",
        "%f0%9f",
    ],
)
def test_unknown_and_malformed_ids(api, image_id):
    response = api.get(f"/api/v1/images/{image_id}")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    if "%2f" not in image_id:
        assert response.json()["code"] == "image_not_found"


def test_no_answer_about_a_missing_picture_is_kept(api):
    assert api.get(UNKNOWN).headers["cache-control"] == "no-store"
