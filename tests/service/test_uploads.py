"""Pictures as bodies: how they may be declared."""

import pytest

from tests.service.conftest import png

FILES = "/api/v1/files"


@pytest.mark.parametrize(
    "declared", ["image/png", "image/gif", "application/octet-stream", "IMAGE/PNG; x=y", None]
)
def test_what_a_picture_may_be_called(api, declared):
    headers = {"Content-Type": declared} if declared else {}
    assert api.post(FILES, content=png(), headers=headers).status_code in (200, 201)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "image/png", "Content-Encoding": "gzip"},
    ],
)
def test_what_it_may_not(api, headers):
    refused = api.post(FILES, content=png(), headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (415, "unsupported_media_type")


def test_a_form_and_what_is_wrong_with_one(api):
    assert api.post(FILES, files={"file": ("a.png", png())}).status_code in (200, 201)
    for parts, status, pointer in (
        ({"picture": ("a.png", png())}, 422, "/picture"),
        ({"file": ("a.png", b"")}, 422, None),
    ):
        refused = api.post(FILES, files=parts)
        assert refused.status_code == status
        assert [each["pointer"] for each in refused.json()["errors"]] == [pointer] * bool(pointer)
    cut = api.post(FILES, content=b"--x\r\n", headers={"Content-Type": "multipart/form-data"})
    assert (cut.status_code, cut.json()["code"]) == (400, "malformed_request")


@pytest.mark.parametrize("content", [b"", b"no picture", png()[:40]])
def test_what_is_no_picture(api, content):
    refused = api.post(FILES, content=content, headers={"Content-Type": "image/png"})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input_image")
