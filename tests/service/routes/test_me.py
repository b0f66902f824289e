"""Who asks, and what they have of what they may; and all that they made, removed."""

import pytest

from darkroom.api_keys import SCOPES
from tests.service.conftest import bearer, png

DATA = "/api/v1/me/data"
JOBS = "/api/v1/jobs"


NONE = {"max_active": None, "max_queued": None, "per_minute": None}
NONE |= {"share": None, "gpu_seconds_per_day": None, "weight": None}


@pytest.fixture
def work_of(http, guarded_work):
    """Lets somebody make a finished job, one that waits and a file; where these are."""

    def work(headers) -> list[str]:
        made = http.post(JOBS, json={"prompt": "a cat"}, headers=headers).json()
        image = guarded_work.all().images[0]
        waits = http.post(JOBS, json={"prompt": "a dog"}, headers=headers).json()
        file = http.post("/api/v1/files", content=png((5, 5)), headers=headers).json()
        urls = (made["urls"]["self"], image.url, waits["urls"]["self"], file["urls"]["content"])
        return list(urls)

    return work


def test_all_of_ones_own_goes_and_nothing_of_others(http, made, work_of, guarded):
    ann, bob = bearer(made("ann")), bearer(made("bob", ("submit", "read", "admin")))
    mine, theirs = work_of(ann), work_of(bob)
    answer = http.delete(DATA, headers=ann)
    assert (answer.status_code, answer.json()) == (
        200,
        {"object": "erasure", "status": "erased", "jobs": 2, "images": 1, "files": 1},
    )
    assert [http.get(path, headers=ann).status_code for path in mine] == [404] * 4
    assert [http.get(path, headers=bob).status_code for path in theirs] == [200] * 4
    assert mine[1].rpartition("/")[2] not in guarded.here.store.image_ids()
    again = http.delete(DATA, headers=ann).json()
    assert (again["status"], again["jobs"], again["files"]) == ("erased", 0, 0)
    assert http.delete(DATA, headers=bob).json()["jobs"] == 2, "admin too removes its own alone"


def test_it_takes_a_key_that_may_change_things(http, made):
    assert http.delete(DATA, headers=bearer(made("reads", ("read",)))).status_code == 403
    assert http.delete(DATA).status_code == 401


def test_where_no_keys_are_asked_for_all_that_was_made_without_one_goes(api, submitted, jobs):
    submitted()
    keyed = jobs.submit({"prompt": "a cat"}, model="pix", owner="0" * 16).job.id
    assert api.delete(DATA).json()["jobs"] == 1
    assert [job["id"] for job in api.get(JOBS).json()["data"]] == [keyed]


def test_a_key_is_told_its_limits_and_what_it_has_of_them(http, made, guarded_work):
    token = made("web", share=2, gpu_seconds_per_day=50, weight=3)
    for _ in range(3):
        http.post("/api/v1/jobs", json={"prompt": "a cat"}, headers=bearer(token))
    http.post("/api/v1/jobs", json={"prompt": "a cat"}, headers=bearer(made("other")))
    guarded_work.claim()
    me = http.get("/api/v1/me", headers=bearer(token)).json()
    assert (me["id"], me["name"], me["scopes"]) == (token.id, "web", ["read", "submit"])
    limits = {"max_queued": 20, "share": 2, "gpu_seconds_per_day": 50, "weight": 3}
    assert me["limits"] == NONE | limits
    assert (me["use"]["active"], me["use"]["queued"]) == (3, 2)
    assert me["use"]["gpu_seconds"] > 0
    assert 0 < me["use"]["day_ends_s"] <= 86_400
    assert token.secret not in str(me)
    assert "digest" not in me


def test_where_no_keys_are_asked_for_everybody_is_told_the_same(api, submitted):
    submitted()
    me = api.get("/api/v1/me").json()
    assert (me["id"], me["name"], me["scopes"], me["limits"]) == (None, None, [*SCOPES], NONE)
    assert me["use"]["active"] == 1
    assert me["use"]["gpu_seconds"] > 0
