"""`GET /jobs/{id}/preview`: the latest early picture of a running job, for its owner alone."""

import json
from itertools import islice

import pytest

from darkroom.events import Previewed
from darkroom.queue.previews import Preview
from tests.service.conftest import bearer, picture
from tests.service.test_streaming import events

JOBS = "/api/v1/jobs"


def show(work, claim, data: bytes, step: int = 1) -> None:
    url = f"{JOBS}/{claim.job_id}/preview"
    event = Previewed(url=url, width=8, height=8, step=step, steps=4)
    work.queue.show([Preview(claim, event, data)])


def test_there_is_none_then_one_then_another_and_at_last_none(api, submitted, work):
    url = f"{submitted()['urls']['self']}/preview"
    assert (api.get(url).status_code, api.get(url).content) == (204, b"")
    claim = work.claim()
    assert api.get(url).status_code == 204
    for color in ((9, 9, 9), (200, 9, 9)):
        data = picture("webp", color=color)
        show(work, claim, data)
        answer = api.get(url)
        assert (answer.status_code, answer.content) == (200, data)
        assert answer.headers["content-type"] == "image/webp"
        assert answer.headers["cache-control"] == "private, no-cache"
        again = api.get(url, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    stale = api.get(url, headers={"If-None-Match": '"another"'})
    assert stale.status_code == 200
    work.finish(claim)
    assert api.get(url, headers={"If-None-Match": answer.headers["etag"]}).status_code == 204


def test_a_job_that_is_not_there_has_none(api, submitted):
    job = submitted()["urls"]["self"]
    assert api.delete(job).status_code == 204
    for url in (f"{job}/preview", f"{JOBS}/nothing/preview"):
        assert (api.get(url).status_code, api.get(url).json()["code"]) == (404, "job_not_found")


def test_each_is_told_of_with_where_it_is(api, submitted, work):
    job = submitted(preview=2)
    claim = work.claim()
    assert claim.preview == 2
    data = picture("webp")
    show(work, claim, data, step=3)
    with api.stream("GET", job["urls"]["events"]) as stream:
        *_, event = islice(events(stream), 3)
    told = json.loads(event["data"])
    assert (event["event"], told["step"], told["steps"]) == ("preview", 3, 4)
    assert api.get(told["url"]).content == data


def test_strangers_see_none(http, made, guarded_work):
    ann, bob, admin = made("ann"), made("bob"), made("admin", ("admin",))
    job = http.post(JOBS, json={"prompt": "a cat", "preview": True}, headers=bearer(ann)).json()
    show(guarded_work, guarded_work.claim(), picture("webp"))
    url = f"{JOBS}/{job['id']}/preview"
    statuses = [http.get(url, headers=bearer(each)).status_code for each in (ann, bob, admin)]
    assert statuses == [200, 404, 200]
    assert http.get(url).status_code == 401


@pytest.mark.parametrize("wrong", [0, -1, 1001, 1.5, "yes", [], {}])
def test_what_is_no_number_of_steps_is_refused(api, wrong):
    answer = api.post(JOBS, json={"prompt": "a cat", "preview": wrong})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith("/preview")


@pytest.mark.parametrize(("asked", "claimed"), [(True, 1), (False, 0), (None, None), (7, 7)])
def test_what_is_asked_for_is_how_often(submitted, work, asked, claimed):
    submitted(preview=asked)
    assert work.claim().preview == claimed
