"""Whose is what: each key sees what was made with it, `admin` sees all, and so does everybody where
no keys are asked for."""

import base64

import pytest

from darkroom.job import JobStatus
from darkroom.queue.lua import Rules
from darkroom.queue.queue import Queue
from tests.service.conftest import bearer, png

JOBS = "/api/v1/jobs"
SENT = base64.b64encode(png()).decode()


@pytest.fixture
def ann(made) -> dict[str, str]:
    return bearer(made("ann"))


@pytest.fixture
def bob(made) -> dict[str, str]:
    return bearer(made("bob"))


@pytest.fixture
def admin(made) -> dict[str, str]:
    return bearer(made("admin", ("admin",)))


def submit(http, headers, **body) -> dict:
    answer = http.post(JOBS, json={"prompt": "a cat"} | body, headers=headers)
    assert answer.status_code == 202, answer.text
    return answer.json()


def listed(http, headers) -> list[str]:
    return [job["id"] for job in http.get(JOBS, headers=headers).json()["data"]]


def test_without_keys_everybody_sees_all(api, jobs, submitted):
    keyed = jobs.submit({"prompt": "a cat"}, model="pix", owner="0" * 16).job.id
    mine = submitted()["id"]
    assert [job["id"] for job in api.get(JOBS).json()["data"]] == [mine, keyed]
    assert api.delete(f"{JOBS}/{keyed}").status_code == 204


def test_each_sees_their_own_jobs_and_admin_all(http, ann, bob, admin, jobs):
    old = jobs.submit({"prompt": "a cat"}, model="pix").job.id  # from before there were keys
    anns, bobs = submit(http, ann)["id"], submit(http, bob)["id"]
    assert (listed(http, ann), listed(http, bob)) == ([anns], [bobs])
    assert listed(http, admin) == [bobs, anns, old]
    for method, rest in (("GET", ""), ("POST", "/cancel"), ("DELETE", ""), ("GET", "/events")):
        refused = http.request(method, f"{JOBS}/{old}{rest}", headers=ann)
        assert (refused.status_code, refused.json()["code"]) == (404, "job_not_found")
    assert jobs.fetch(old).status is JobStatus.QUEUED
    assert http.post(f"{JOBS}/{anns}/cancel", headers=admin).status_code == 202
    assert http.get(f"{JOBS}/{anns}", headers=ann).json()["status"] == "canceled"


def test_a4_an_idempotency_key_is_each_owners_own(http, ann, bob):
    with_key = {"Idempotency-Key": "k"}
    first = submit(http, ann | with_key)
    assert submit(http, ann | with_key) == first
    assert submit(http, bob | with_key, prompt="another")["id"] != first["id"]


def test_what_is_no_longer_kept_is_gone_for_its_owner_and_was_never_there_for_others(
    http, ann, bob, admin, redis, guarded_work
):
    job = submit(http, ann)["id"]
    image = guarded_work.all().images[0].id
    redis.zadd("darkroom:expiries", {job: 1})
    assert Queue(redis, Rules()).sweep_retention() == {job: [image]}
    status = {
        name: http.get(f"{JOBS}/{job}", headers=who).status_code
        for name, who in {"ann": ann, "bob": bob, "admin": admin}.items()
    }
    assert status == {"ann": 410, "bob": 404, "admin": 410}
    assert redis.hlen("darkroom:images") == 0


def test_pictures_belong_to_who_owns_their_job(http, ann, bob, admin, redis, guarded_work):
    job = submit(http, ann)
    image = guarded_work.all().images[0].id
    url = f"/api/v1/images/{image}"

    def statuses() -> list[int]:
        return [http.get(url, headers=who).status_code for who in (ann, bob, admin)]

    assert statuses() == [200, 404, 200]
    assert http.head(url, headers=bob).status_code == 404
    known = http.get(url, headers=bob | {"If-None-Match": f'"{image}"'})
    assert known.status_code == 404
    redis.hdel("darkroom:images", image)  # as one from before there were keys
    assert statuses() == [404, 404, 200]
    redis.hset("darkroom:images", image, job["id"])
    assert http.delete(job["urls"]["self"], headers=ann).status_code == 204
    assert redis.hlen("darkroom:images") == 0
    assert statuses() == [404, 404, 404]


def refusal(http, headers, image: str) -> tuple[int, str]:
    """What comes of a request with this picture; the text without its id."""
    answer = http.post(JOBS, json={"prompt": "a cat", "image": image}, headers=headers)
    told = answer.json() | {"request_id": ""}
    return answer.status_code, str(told).replace(image, "ID")


def test_pictures_of_others_are_no_inputs(http, ann, bob, guarded_work):
    submit(http, ann)
    image = guarded_work.all().images[0].id
    assert refusal(http, bob, image) == refusal(http, bob, f"img_{'0' * 32}")
    assert refusal(http, bob, image)[0] == 422
    mine = submit(http, ann, image=image)["request"]["image"]
    assert submit(http, ann, image=mine)["request"]["image"] == mine


def test_who_names_an_input_must_have_sent_it(http, ann, bob, admin, redis):
    sent = submit(http, ann, image=SENT)["request"]["image"]
    nothing = f"file_{'0' * 64}"
    assert refusal(http, bob, sent) == refusal(http, bob, nothing)
    assert refusal(http, bob, sent)[0] == 422
    submit(http, bob, prompt=f"{sent} {nothing}", tags=["t"], metadata={"image": sent})
    assert refusal(http, bob, sent)[0] == 422, "to write it down is not to send it"
    assert submit(http, ann, image=sent)["request"]["image"] == sent
    assert submit(http, admin, image=sent)["request"]["image"] == sent
    assert submit(http, bob, image=SENT)["request"]["image"] == sent
    assert submit(http, bob, image=sent)["request"]["image"] == sent
    ttls = [redis.ttl(key) for key in redis.scan_iter("darkroom:inputs:*")]
    assert len(ttls) == 3
    assert min(ttls) > 7 * 86400


def test_without_keys_whoever_knows_an_input_may_name_it(submitted, redis):
    sent = submitted(image=SENT)["request"]["image"]
    assert submitted(image=sent)["request"]["image"] == sent
    assert list(redis.scan_iter("darkroom:inputs:*")) == [b"darkroom:inputs:"]


@pytest.mark.parametrize(
    "strange",
    ["../x", "..%2f..%2fx", "%2e%2e%2fx", "..%5cx", "%00", "a" * 300, "\u0661" * 32],
)
def test_a5_strange_ids_lead_nowhere(http, ann, strange):
    for path, prefix in ((JOBS, "job_"), ("/api/v1/images", "img_")):
        for part in (strange, prefix + strange, f"{prefix}{'A' * 32}"):
            answer = http.get(f"{path}/{part}", headers=ann)
            assert answer.status_code in (404, 422), (path, part)
    for image in (f"file_{strange}", f"img_{strange}", f"file_{'A' * 64}"):
        assert refusal(http, ann, image)[0] == 422


def test_text_is_looked_for_in_the_prompts_of_ones_own_jobs_alone(http, ann, admin):
    anns, admins = submit(http, ann)["id"], submit(http, admin)["id"]
    for who, own in ((ann, anns), (admin, admins)):
        data = http.get(f"{JOBS}?q=CAT", headers=who).json()["data"]
        assert [job["id"] for job in data] == [own]
