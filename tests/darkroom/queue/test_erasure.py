"""All that an owner has made goes, and nothing else; whoever comes later ends what was begun."""

import pytest
from redis import Redis

from darkroom.errors import JobNotFoundError
from darkroom.job import ImageRecord, JobStatus
from darkroom.kept_file import AboutFile
from darkroom.queue import erasure, files, keeping
from darkroom.queue.erasure import Erasure, Step
from darkroom.queue.owned_pictures import has_sent
from darkroom.queue.queue import Queue, engine_bell
from tests.begun import begun
from tests.darkroom.queue.test_files import file_id, put


@pytest.fixture
def queue(redis: Redis) -> Queue:
    return Queue(redis)


def erase(queue: Queue, owner: str) -> list[Step]:
    asked = queue.carry_out(erasure.begin(owner))
    return go_on(queue, asked)


def go_on(queue: Queue, asked: Erasure) -> list[Step]:
    steps, below = [], None
    while True:
        steps.append(queue.carry_out(erasure.erase_some(asked, below)))
        if (below := steps[-1].next) is None:
            queue.carry_out(erasure.end(asked))
            return steps


def finished(queue: Queue, owner: str, image: str) -> str:
    job = queue.submit({}, model="pix", owner=owner).job
    claim = begun(queue, queues=["pix.normal"], token=image)
    record = ImageRecord(id=image, url="/", width=1, height=1, seed=1, bytes=1, sha256="0" * 64)
    queue.finish(claim, JobStatus.SUCCEEDED, images=[record])
    return job.id


def test_all_of_an_owner_goes_and_nothing_of_others(queue: Queue, redis: Redis) -> None:
    finished(queue, "ann", "img_1")
    others = finished(queue, "bob", "img_2")
    mine = queue.submit(
        {"image": file_id(7)}, model="pix", owner="ann", idempotency_key="k", fingerprint="f"
    ).job
    running = begun(queue, queues=["pix.normal"], engine="e1", token="t")
    waiting = queue.submit({}, model="other", owner="ann", deadline_s=99).job
    put(queue, 1, "ann")
    put(queue, 1, "bob")
    put(queue, 2, "ann")
    [step] = erase(queue, "ann")
    assert (step.jobs, step.images, step.files) == (3, ["img_1"], 2)
    assert running.job_id == mine.id
    for job_id in (mine.id, waiting.id):
        with pytest.raises(JobNotFoundError):
            queue.fetch(job_id)
    assert [job.id for job in queue.page().jobs] == [others]
    assert redis.llen(engine_bell("e1")) == 1
    assert queue.finish(running, JobStatus.SUCCEEDED) == "fenced"
    assert not queue.carry_out(has_sent(file_id(7), "ann"))
    assert queue.carry_out(has_sent(file_id(1), "bob"))
    assert queue.carry_out(keeping.loose_inputs()) == {file_id(2), file_id(7)}
    assert queue.carry_out(erasure.noted()) == []
    assert not redis.keys("*ann")
    hashes = redis.scan_iter("darkroom:*", _type="hash")
    assert [name for name in hashes if redis.hexists(name, "ann")] == []
    assert queue.submit({}, model="pix", owner="ann", idempotency_key="k", fingerprint="g").job


def test_what_is_made_after_it_was_asked_for_stays(queue: Queue) -> None:
    queue.submit({"image": file_id(1)}, model="pix", owner="ann")
    put(queue, 3)
    asked = queue.carry_out(erasure.begin("ann"))
    later = queue.submit({"image": file_id(2)}, model="pix", owner="ann").job
    put(queue, 4)
    go_on(queue, asked)
    assert [job.id for job in queue.page().jobs] == [later.id]
    assert queue.carry_out(has_sent(file_id(2), "ann"))
    page = queue.carry_out(files.page(limit=9, owner="ann"))
    assert [file.id for file in page.files] == [file_id(4)]


def test_much_is_removed_step_by_step_and_by_whoever_comes(queue: Queue) -> None:
    for number in range(230):
        queue.submit({}, model="pix", owner="ann" if number % 10 else "bob")
    for number in range(150):
        put(queue, number, room=10**9)
    asked = queue.carry_out(erasure.begin("ann"))
    first = queue.carry_out(erasure.erase_some(asked))
    assert (first.jobs, first.files) == (100, 0)
    assert queue.carry_out(erasure.noted()) == [asked]  # as if its service had died here
    steps = go_on(queue, queue.carry_out(erasure.noted())[0])
    assert [(step.jobs, step.files) for step in steps] == [(100, 0), (7, 100), (0, 50)]
    assert len(queue.page(limit=100).jobs) == 23


def test_a_note_that_was_made_anew_stays(queue: Queue) -> None:
    first = queue.carry_out(erasure.begin("ann"))
    queue.submit({}, model="pix", owner="ann")
    second = queue.carry_out(erasure.begin("ann"))
    go_on(queue, first)
    assert queue.carry_out(erasure.noted()) == [second]
    assert go_on(queue, second)[0].jobs == 1


def test_where_there_are_no_owners_all_without_one_goes(queue: Queue) -> None:
    queue.submit({}, model="pix")
    kept = queue.submit({}, model="pix", owner="ann").job
    about = AboutFile(kind="picture", width=1, height=1, bytes=1)
    queue.carry_out(files.put(file_id(1), about, owner="", max_bytes=10**6))
    [step] = erase(queue, "")
    assert (step.jobs, step.files) == (1, 1)
    assert [job.id for job in queue.page().jobs] == [kept.id]
