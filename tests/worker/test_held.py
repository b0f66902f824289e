import threading
from dataclasses import replace

from darkroom.draft import Draft
from darkroom.queue.queue import Claim
from worker.held import HeldJobs
from worker.running import RunningJob


def job(
    token: str = "t",
    *,
    attempt: int = 0,
    queued_s: float = 0.0,
    model: str = "pix",
    priority: str = "normal",
    work_s: float = 1.0,
    owner: str = "",
):
    claim = Claim(
        job_id=f"job_{token}",
        token=token,
        request={"model": model},
        attempt=attempt,
        remaining_s=None,
        queued_s=queued_s,
        priority=priority,
        work_s=work_s,
        owner=owner,
    )
    return RunningJob(claim, asked=None, deadline=None)


def test_jobs_arrive_once_and_are_held_until_they_are_removed() -> None:
    held, jobs = HeldJobs(), [job("a"), job("b")]
    for each in jobs:
        held.add(each)
    assert held.take_arrived(0) == jobs
    assert held.take_arrived(0) == []
    assert (held.all(), len(held), held.get("b")) == (jobs, 2, jobs[1])
    held.remove(jobs[0])
    held.remove(jobs[0])
    assert (held.all(), held.get("a")) == ([jobs[1]], None)


def test_a_sleeping_loop_wakes_when_a_job_arrives_leaves_or_has_to_be_looked_at() -> None:
    held, one = HeldJobs(), job()
    for change in (lambda: held.add(one), lambda: held.remove(one), held.wake):
        woke = threading.Event()
        sleeper = threading.Thread(target=lambda woke=woke: [held.take_arrived(60), woke.set()])
        sleeper.start()
        change()
        assert woke.wait(20)
        sleeper.join()


def test_jobs_that_began_and_wait_for_a_model_tell_how_far_its_load_is() -> None:
    held, jobs = HeldJobs(), {name: job(name) for name in ("begun", "waits", "runs", "other")}
    for name, each in jobs.items():
        each.asked = Draft("text-to-image", {"model": "pix" if name != "other" else "other"})
        each.started = name == "runs"
        if name != "waits":
            each.begin(replace(each.claim, began=True))
        held.add(each)
    held.tell_of_load("pix", 0.5)
    told = {name: each.progress.loaded for name, each in jobs.items()}
    assert told == {"begun": 0.5, "waits": None, "runs": None, "other": None}
