import threading
import uuid

import pytest

from darkroom.job import JobStatus
from darkroom.queue.queue import engine_bell
from tests.arrivals import Arrivals
from worker.held import HeldJobs
from worker.intake import Intake

REQUEST = {
    "task": "text-to-image",
    "model": "pix",
    "prompt": "a cat",
    "negative_prompt": "",
    "width": 16,
    "height": 16,
    "num_inference_steps": 4,
    "guidance_scale": 7.5,
    "scheduler": "DDIMScheduler",
    "seed": 1,
    "num_images": 1,
}


@pytest.fixture
def held():
    return HeldJobs()


def intake_of(
    jobs, store, held, is_ready=lambda: True, beat_now=None, store_is_full=None, engine=""
) -> Intake:
    return Intake(
        jobs=jobs,
        store=store,
        held=held,
        engine=engine or f"engine-{uuid.uuid4().hex}",
        places=2,
        look_ahead=1,
        serves=lambda: ["pix"],
        loaded=lambda: ["pix"],
        is_ready=is_ready,
        beat_now=beat_now or threading.Event(),
        store_is_full=store_is_full or threading.Event(),
    )


@pytest.fixture
def intake(jobs, store, held):
    thread = intake_of(jobs, store, held)
    thread.start()
    yield thread
    thread.close()
    thread.join()


@pytest.fixture
def arrivals(held, intake):
    assert intake.is_alive()
    return Arrivals(held)


def submit(jobs, **changes):
    return jobs.submit({**REQUEST, **changes}, model="pix").job


def submit_long_ago(jobs, **terms):
    job = jobs.submit(REQUEST, model="pix", **terms).job
    jobs.redis.hset(f"rq:job:{job.id}", "dr_created", job.created_at.timestamp() - 60)
    return job


def test_a_submitted_job_arrives_checked(jobs, arrivals):
    job = submit(jobs)
    arrived = arrivals.next()
    assert (arrived.id, arrived.asked.prompt) == (job.id, "a cat")
    assert jobs.fetch(job.id).status is JobStatus.QUEUED, "it has not begun"


def test_a_job_that_does_not_pass_the_check_fails_and_the_next_one_arrives(jobs, arrivals):
    bad = submit(jobs, seed="one")
    good = submit(jobs)
    assert arrivals.next().id == good.id
    assert jobs.fetch(bad.id).error.code == "invalid_parameters"


def test_no_more_is_claimed_than_may_be_held(jobs, held, arrivals):
    submitted = [submit(jobs).id for _ in range(5)]
    arrived = [arrivals.next() for _ in range(3)]
    assert [job.id for job in arrived] == submitted[:3]
    assert len(held) == 3
    arrived[0].handed_on = True
    jobs.finish(jobs.begin(arrived[0].claim, "w"), JobStatus.SUCCEEDED)
    assert arrivals.next().id == submitted[3]
    assert jobs.redis.llen("rq:queue:pix.normal") == 1


def test_an_urgent_job_is_claimed_however_many_wait(jobs, held, arrivals):
    for _ in range(5):
        submit(jobs)
    for _ in range(3):
        arrivals.next()
    urgent = jobs.submit(REQUEST, model="pix", priority="high").job
    assert arrivals.next().id == urgent.id
    assert len(held) == 4


def test_of_a_client_that_has_less_than_its_share_one_after_the_other_is_claimed_by_a_full_engine(
    jobs, store, held
):
    one = intake_of(jobs, store, held)
    for _ in range(5):
        submit_long_ago(jobs, owner="many")
    one.take_what_fits()
    assert [job.claim.owner for job in held.all()] == ["many"] * 3
    for _ in range(3):
        submit_long_ago(jobs, owner="few")
    one.take_what_fits()
    assert [job.claim.owner for job in held.all()] == ["many"] * 3 + ["few"]
    one.take_what_fits()
    assert [job.claim.owner for job in held.all()] == ["many"] * 3 + ["few"], "its share"


def test_nothing_is_claimed_beside_a_job_that_has_to_run_alone(jobs, store, held):
    suspect = jobs.submit(REQUEST, model="pix", priority="high").job
    jobs.redis.hset(f"rq:job:{suspect.id}", "dr_attempt", 2)
    for _ in range(4):
        submit_long_ago(jobs)
    one = intake_of(jobs, store, held)
    one.take_what_fits()
    assert [job.id for job in held.all()] == [suspect.id]
    held.remove(held.all()[0])
    one.take_what_fits()
    assert len(held) == 3


def test_what_others_hold_is_taken_only_by_who_can_begin_at_once(jobs, store, held):
    ids = [submit_long_ago(jobs).id for _ in range(2)]
    for job_id in ids:
        assert jobs.claim(engine="other", queues=["pix.normal"], token=job_id)
        jobs.redis.hset(f"rq:job:{job_id}", "dr_claimed", 1)
    intake_of(jobs, store, held, is_ready=lambda: False).take_what_fits()
    assert len(held) == 0
    ready = intake_of(jobs, store, held)
    ready.take_what_fits()
    assert [job.id for job in held.all()] == ids[:1], "the next when this one has begun"
    held.all()[0].asked_to_begin = True
    ready.take_what_fits()
    assert [job.id for job in held.all()] == ids


@pytest.mark.timeout(30)
def test_its_end_waits_for_no_bell_and_wakes_the_loop(jobs, store, held):
    thread = intake_of(jobs, store, held, engine="own")
    thread.close()
    assert jobs.wait([engine_bell("own")], 0.01)
    thread.start()
    assert held.take_arrived(300) == []
    thread.join()


def test_its_own_bell_asks_for_a_beat(jobs, store, held):
    beat_now = threading.Event()
    thread = intake_of(jobs, store, held, beat_now=beat_now, engine="own")
    jobs.redis.lpush(engine_bell("own"), "1")
    thread.start()
    assert beat_now.wait(30)
    thread.close()
    thread.join()


def test_a_store_that_was_full_and_takes_pictures_again_is_full_no_more(jobs, store, held):
    full = threading.Event()
    full.set()
    submit(jobs)
    intake_of(jobs, store, held, store_is_full=full).take_what_fits()
    assert not full.is_set()
    assert len(held) == 1
