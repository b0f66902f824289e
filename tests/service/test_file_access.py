"""Whose files are whose, and what becomes of a picture for which there is no room."""

import base64
import io
from pathlib import Path

import httpx2
from PIL import Image

from tests.service.conftest import bearer, png

FILES = "/api/v1/files"
JOBS = "/api/v1/jobs"


def upload(http, headers, color=(1, 2, 3)) -> httpx2.Response:
    kind = {"Content-Type": "image/png"}
    return http.post(FILES, content=png(color=color), headers=headers | kind)


def test_a4_what_is_anothers_is_as_if_it_were_not_there(http, made):
    ann, bob = bearer(made("ann")), bearer(made("bob"))
    admin = bearer(made("admin", ("admin",)))
    file = upload(http, ann).json()
    for path in (file["urls"]["self"], file["urls"]["content"]):
        statuses = [http.get(path, headers=who).status_code for who in (ann, bob, admin)]
        assert statuses == [200, 404, 200]
    assert http.get(FILES, headers=bob).json()["data"] == []
    assert [each["id"] for each in http.get(FILES, headers=admin).json()["data"]] == [file["id"]]
    body = {"prompt": "a cat", "image": file["id"]}
    refused = http.post(JOBS, json=body, headers=bob)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/image")
    assert http.post(JOBS, json=body, headers=ann).status_code == 202
    assert http.delete(file["urls"]["self"], headers=bob).status_code == 404
    assert upload(http, bob).status_code == 201  # the same picture is each one's own
    assert http.delete(file["urls"]["self"], headers=ann).status_code == 204
    statuses = [
        http.get(file["urls"]["content"], headers=who).status_code for who in (ann, bob, admin)
    ]
    assert statuses == [200, 200, 200]  # a job of hers has it


def test_what_was_deleted_and_no_job_has_is_gone_at_once(http, api, made):
    """Also for who sees all, before the picture itself has been swept away."""
    ann, admin = bearer(made("ann")), bearer(made("admin", ("admin",)))
    file = http.post(FILES, content=png(color=(7, 8, 9)), headers=ann).json()
    assert http.delete(file["urls"]["self"], headers=ann).status_code == 204
    for who in (ann, admin):
        assert http.get(file["urls"]["content"], headers=who).status_code == 404
    alone = api.post(FILES, content=png(color=(7, 8, 9))).json()
    assert api.delete(alone["urls"]["self"]).status_code == 204
    assert api.get(alone["urls"]["content"]).status_code == 404


def test_what_a_job_began_with_can_be_read_by_its_owner_alone(http, made):
    ann, bob = bearer(made("ann")), bearer(made("bob"))
    admin = bearer(made("admin", ("admin",)))
    body = {"prompt": "a cat", "image": base64.b64encode(png(color=(4, 5, 6))).decode()}
    job = http.post(JOBS, json=body, headers=ann).json()
    content = f"{FILES}/{job['request']['image']}/content"
    answers = [http.get(content, headers=who) for who in (ann, bob, admin)]
    assert [each.status_code for each in answers] == [200, 404, 200]
    assert Image.open(io.BytesIO(answers[0].content)).getpixel((0, 0)) == (4, 5, 6)
    assert http.get(f"{FILES}/{job['request']['image']}", headers=ann).status_code == 404


def test_without_room_nothing_is_left_behind(serving, valkey, made, tmp_path):
    state_dir, room_mb = tmp_path / "state", 8192 / 2**20
    served = serving(redis_url=valkey.url, state_dir=state_dir, keys="on", max_files_mb=room_mb)
    ann, bob = bearer(made("ann")), bearer(made("bob"))
    with httpx2.Client(base_url=served.url, timeout=20) as http:
        for red in range(2):
            assert upload(http, ann, (red, 0, 0)).status_code == 201
        refused = upload(http, ann, (7, 0, 0))
        assert (refused.status_code, refused.json()["code"]) == (409, "files_full")
        assert not refused.json()["retryable"]
        assert upload(http, ann, (1, 0, 0)).status_code == 200
        assert upload(http, bob, (1, 0, 0)).status_code == 201
    assert len(list(Path(state_dir).rglob("file_*.png"))) == 2


def test_a_picture_that_is_gone_from_the_store_is_no_file(http, made, guarded):
    ann = bearer(made("ann"))
    file = upload(http, ann, (9, 9, 1)).json()
    guarded.here.store.delete_untouched([file["id"]], -9)
    gone = http.get(file["urls"]["content"], headers=ann)
    assert (gone.status_code, gone.json()["code"]) == (404, "file_not_found")
