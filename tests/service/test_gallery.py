"""Finished pictures, page by page: none left out and none twice, wherever a page ends."""

import pytest

from darkroom.job import JobStatus
from tests.service.conftest import bearer

IMAGES = "/api/v1/images"


def pages(api, limit: int, **query: object) -> list[list[str]]:
    found, url, params = [], IMAGES, {"limit": limit, **query}
    while url:
        answer = api.get(url, params=params)
        page = answer.json()
        found.append([image["id"] for image in page["data"]])
        assert page["has_more"] == bool(page["next_cursor"]) == ("link" in answer.headers)
        url = answer.headers.get("link", "").partition(">")[0][1:]
        params = None
    return found


@pytest.fixture
def finished(submitted, work):
    """Pictures of jobs with 1, 3 and 2 of them, and of one that failed, newest job first."""
    made = []
    for number in (1, 3, 2):
        submitted(num_images=number, tags=[f"n{number}"])
        made.append(work.all())
    submitted()
    work.finish(work.claim(), JobStatus.FAILED)
    return [image.id for job in reversed(made) for image in job.images], made


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 6, 100])
def test_pages_lead_through_all_pictures(api, finished, limit):
    ids, _ = finished
    found = pages(api, limit)
    assert [image for page in found for image in page] == ids
    assert all(len(page) == limit for page in found[:-1])
    assert found[-1] or len(found) == 1


def test_a_page_goes_on_where_it_ended_though_jobs_come_and_go(api, finished, submitted, work):
    ids, made = finished
    cursor = api.get(IMAGES, params={"limit": 3}).json()["next_cursor"]
    submitted()
    work.all()
    api.delete(f"/api/v1/jobs/{made[2].id}")
    page = api.get(IMAGES, params={"limit": 9, "cursor": cursor}).json()
    assert [image["id"] for image in page["data"]] == ids[3:]
    api.delete(f"/api/v1/jobs/{made[1].id}")  # the very one within which the page ended
    page = api.get(IMAGES, params={"limit": 9, "cursor": cursor}).json()
    assert [image["id"] for image in page["data"]] == ids[5:]


def test_filters_are_those_of_jobs(api, finished):
    ids, made = finished
    assert pages(api, 9, tag="n3") == [ids[2:5]]
    api.patch(f"/api/v1/jobs/{made[0].id}", json={"starred": True})
    assert pages(api, 9, starred="true") == [ids[5:]]
    assert pages(api, 9, q="CAT", model="demo") == [ids]
    assert pages(api, 9, q="dog") == [[]]
    assert pages(api, 9, batch=f"batch_{'0' * 32}") == [[]]
    assert api.get(IMAGES, params={"model": "pics"}).status_code == 404


def test_each_picture_tells_of_its_job(api, finished):
    _, made = finished
    image = api.get(IMAGES, params={"limit": 1}).json()["data"][0]
    job = made[2]
    told = {name: image[name] for name in ("job_id", "model", "prompt", "tags", "starred")}
    assert told == {
        "job_id": job.id,
        "model": "pix",
        "prompt": "a cat",
        "tags": ["n2"],
        "starred": False,
    }
    assert image["url"] == job.images[0].url


@pytest.mark.parametrize("cursor", ["0", "x", "1.", "1.1.1", "1.9999", "-1", "9" * 16])
def test_cursors_that_were_never_given_out(api, cursor):
    refused = api.get(IMAGES, params={"cursor": cursor})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/query/cursor")


def test_each_sees_their_own(http, made, guarded_work):
    ann, bob = bearer(made("ann")), bearer(made("bob"))
    http.post("/api/v1/jobs", json={"prompt": "a cat"}, headers=ann)
    image = guarded_work.all().images[0].id
    listed = [http.get(IMAGES, headers=who).json()["data"] for who in (ann, bob)]
    assert [[each["id"] for each in data] for data in listed] == [[image], []]
