import io
import os
from email.utils import parsedate_to_datetime

import pytest
from PIL import Image

from darkroom.encoding import encode
from darkroom.marks import Provenance, marks_of
from tests.picture_files import noise
from tests.service.conftest import picture, png
from tests.stored import file_of

UNKNOWN = "/api/v1/images/img_" + "0" * 32


@pytest.fixture
def image(submitted, work):
    submitted()
    return work.all().images[0]


def test_g3_g6_a_picture_may_be_kept_for_ever(api, image):
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


def test_b6_more_parts_than_anybody_needs_are_the_whole(api, image):
    whole = api.get(image.url)
    for parts in (("0-0,2-2," * 51), ("0-," * 5000), ",".join(f"{n}-{n}" for n in range(5000))):
        answer = api.get(image.url, headers={"Range": f"bytes={parts.strip(',')}"})
        assert (answer.status_code in (200, 206), answer.content) == (True, whole.content)


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
def test_a5_unknown_and_malformed_ids(api, image_id):
    response = api.get(f"/api/v1/images/{image_id}")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    if "%2f" not in image_id:
        assert response.json()["code"] == "image_not_found"


def test_g6_no_answer_about_a_missing_picture_is_kept(api):
    assert api.get(UNKNOWN).headers["cache-control"] == "no-store"


TOLD = Provenance("pix", 7, "a cat", "a cat\nSteps: 20, Seed: 7", '{"seed":7}')


@pytest.fixture
def large(image, here):
    """A finished picture that says how it was made."""
    here.store.put(image.id, encode(noise((64, 32)), "png", 90, TOLD).data)
    return image


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
def test_a_copy_in_another_size_and_format(api, large, image_format):
    query = {"w": 16, "format": image_format}
    response = api.get(large.url, params=query)
    assert (response.status_code, response.headers["content-type"]) == (
        200,
        f"image/{image_format}",
    )
    with Image.open(io.BytesIO(response.content)) as copy:
        assert copy.size == (16, 8)
        assert marks_of(copy).provenance == TOLD
    tag = response.headers["etag"]
    assert tag == f'"{large.id}-16-{image_format}"'
    assert "immutable" in response.headers["cache-control"]
    suffix = {"jpeg": "jpg"}.get(image_format, image_format)
    named = f'inline; filename="{large.id}-16.{suffix}"'
    assert response.headers["content-disposition"] == named
    known = api.get(large.url, params=query, headers={"If-None-Match": tag})
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", tag)
    assert api.head(large.url, params=query).headers["etag"] == tag


def test_a_known_copy_is_not_made_again(api, large, here):
    file_of(here.store, large.id).write_bytes(b"which is damaged now")
    tag = {"If-None-Match": f'"{large.id}-16-png"'}
    assert api.get(large.url, params={"w": 16}, headers=tag).status_code == 304
    refused = api.get(large.url, params={"w": 16})
    assert (refused.status_code, refused.json()["code"]) == (422, "unsupported")


def test_no_copy_is_larger_than_the_picture(api, large):
    whole = api.get(large.url)
    assert api.get(large.url, params={"w": 2048}).content == whole.content
    assert api.get(large.url, params={"format": "png"}).headers["etag"] == whole.headers["etag"]
    with Image.open(io.BytesIO(api.get(large.url, params={"format": "webp"}).content)) as copy:
        assert copy.size == (64, 32)


@pytest.mark.parametrize(
    ("accept", "query", "kind"),
    [
        ("image/webp", {}, "webp"),
        ("image/webp, image/jpeg;q=0.9", {"w": 16}, "webp"),
        ("image/webp;q=0.5, image/jpeg", {}, "jpeg"),
        ("image/avif, image/webp, */*;q=0.8", {}, "png"),
        ("image/png;q=0, image/*", {}, "jpeg"),
        ("image/webp", {"format": "jpeg"}, "jpeg"),
        ("image/gif", {"format": "png"}, "png"),
        ("application/json", {}, "png"),
        ("text/html, image/*;q=0.1", {}, "png"),
    ],
)
def test_a_picture_comes_in_a_format_that_is_accepted(api, large, accept, query, kind):
    answer = api.get(large.url, params=query, headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, f"image/{kind}")
    assert ("Accept" in answer.headers.get("vary", "")) == ("format" not in query)
    tag = answer.headers["etag"]
    known = api.get(large.url, params=query, headers={"Accept": accept, "If-None-Match": tag})
    assert (known.status_code, known.headers.get("vary")) == (304, answer.headers.get("vary"))


@pytest.mark.parametrize("accept", ["image/gif", "image/avif, text/html", "image/*;q=0"])
def test_a_picture_that_no_format_suits_is_not_sent(api, large, accept):
    refused = api.get(large.url, headers={"Accept": accept})
    assert (refused.status_code, refused.json()["code"]) == (406, "not_acceptable")
    assert "png, jpeg, webp" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"w": 15}, "/query/w"),
        ({"w": 2049}, "/query/w"),
        ({"w": "1e2"}, "/query/w"),
        ({"format": "gif"}, "/query/format"),
        ({"width": 16}, "/query/width"),
    ],
)
def test_copies_that_there_are_not(api, large, query, pointer):
    refused = api.get(large.url, params=query)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, pointer)


def test_a_copy_of_what_is_not_there(api):
    refused = api.get(UNKNOWN, params={"w": 16})
    assert (refused.status_code, refused.json()["code"]) == (404, "image_not_found")
