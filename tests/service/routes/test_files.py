"""Upload once, name often: what a file is, and what jobs make of one that is deleted."""

import io

import pytest
from PIL import Image

from tests.picture_files import encoded
from tests.service.conftest import png

FILES = "/api/v1/files"


def upload(api, data: bytes, **query: str):
    return api.post(FILES, content=data, params=query, headers={"Content-Type": "image/png"})


@pytest.fixture
def file(api) -> dict:
    answer = upload(api, png((16, 8)))
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == answer.json()["urls"]["self"]
    return answer.json()


def test_a_file_is_described_listed_and_had_again(api, file):
    assert (file["kind"], file["width"], file["height"]) == ("picture", 16, 8)
    assert api.get(file["urls"]["self"]).json() == file
    assert api.get(FILES).json() == {
        "object": "list",
        "data": [file],
        "next_cursor": None,
        "has_more": False,
    }
    content = api.get(file["urls"]["content"])
    assert len(content.content) == file["bytes"]
    assert content.headers["etag"] == f'"{file["id"]}"'
    assert content.headers["content-disposition"] == f'inline; filename="{file["id"]}.png"'
    with Image.open(io.BytesIO(content.content)) as image:
        assert (image.size, image.getpixel((0, 0))) == ((16, 8), (200, 30, 30))
    part = api.get(file["urls"]["content"], headers={"Range": "bytes=0-7"})
    assert (part.status_code, part.content) == (206, b"\x89PNG\r\n\x1a\n")
    known = api.get(file["urls"]["content"], headers={"If-None-Match": f'"{file["id"]}"'})
    assert known.status_code == 304


def test_the_same_picture_in_another_format_is_the_same_file(api, file):
    webp = encoded(Image.new("RGB", (16, 8), (200, 30, 30)), "WEBP", lossless=True)
    again = upload(api, webp)
    assert again.status_code == 200
    assert again.json()["id"] == file["id"]


def test_pages_of_files(api):
    ids = [upload(api, png(color=(n, 0, 0))).json()["id"] for n in range(3)]
    first = api.get(FILES, params={"limit": 2})
    assert [each["id"] for each in first.json()["data"]] == ids[:0:-1]
    assert first.json()["has_more"]
    link = first.headers["link"].partition(">")[0][1:]
    assert [each["id"] for each in api.get(link).json()["data"]] == ids[:1]
    assert api.get(FILES, params={"cursor": "x"}).status_code == 422


def test_a_file_goes_where_a_picture_goes(submitted, file):
    assert submitted(image=file["id"])["request"]["image"] == file["id"]


def test_a_mask_is_read_as_one(api):
    clear = Image.new("RGBA", (4, 4), (9, 9, 9, 255))
    clear.putpixel((0, 0), (9, 9, 9, 0))
    file = upload(api, encoded(clear), kind="mask").json()
    assert file["kind"] == "mask"
    assert "read by its transparency" in file["warnings"][0]
    with Image.open(io.BytesIO(api.get(file["urls"]["content"]).content)) as image:
        assert (image.mode, image.getpixel((0, 0)), image.getpixel((1, 1))) == ("L", 255, 0)


def test_what_shows_through_is_chosen_at_the_upload(api):
    clear = encoded(Image.new("RGBA", (4, 4), (0, 0, 0, 0)))
    file = upload(api, clear, background="#00FF00").json()
    with Image.open(io.BytesIO(api.get(file["urls"]["content"]).content)) as image:
        assert image.getpixel((0, 0)) == (0, 255, 0)


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"kind": "video"}, "/query/kind"),
        ({"background": "green"}, "/query/background"),
        ({"name": "x"}, "/query/name"),
    ],
)
def test_queries_that_are_wrong(api, query, pointer):
    refused = upload(api, png(), **query)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == pointer


def test_a_job_keeps_a_file_that_is_deleted_while_it_waits(api, submitted, file, here, jobs):
    job = submitted(image=file["id"])
    assert api.delete(file["urls"]["self"]).status_code == 204
    gone = api.get(file["urls"]["self"])
    assert (gone.status_code, gone.json()["code"]) == (404, "file_not_found")
    assert api.get(file["urls"]["content"]).status_code == 200
    assert api.delete(file["urls"]["self"]).status_code == 404
    assert file["id"] in jobs.input_ids()
    assert here.store.read_input(job["request"]["image"])
    assert api.post(f"{job['urls']['self']}/retry").status_code == 202


@pytest.mark.parametrize("file_id", ["x", f"file_{'0' * 64}", f"file_{'A' * 64}", "%00", "..%5cx"])
def test_ids_that_are_none(api, file_id):
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        refused = api.request(method, f"{FILES}/{file_id}{path}")
        assert (refused.status_code, refused.json()["code"]) == (404, "file_not_found")
