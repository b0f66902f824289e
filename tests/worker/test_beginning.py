import io
import uuid

import pytest
from PIL import Image

from darkroom.draft import load_request
from darkroom.errors import InvalidImageError, LeaseLost, Released
from darkroom.images import ImageStore
from darkroom.input_images import IMAGE
from darkroom.job import JobStatus
from darkroom.queue.queue import Queue
from tests.stored import file_of
from tests.worker.test_intake import REQUEST
from worker.at_work import AtWork, shared_memory, tokens_in
from worker.beginning import Beginning
from worker.held import HeldJobs
from worker.running import RunningJob


@pytest.fixture
def loop() -> HeldJobs:
    return HeldJobs()


@pytest.fixture
def beginning(jobs, store, loop) -> Beginning:
    return Beginning(jobs=jobs, store=store, held=loop, worker="worker", at_work=AtWork())


def held(jobs: Queue, **changes) -> RunningJob:
    jobs.submit({**REQUEST, **changes}, model="pix")
    claim = jobs.claim(engine="engine", queues=["pix.normal"], token=uuid.uuid4().hex)
    return RunningJob(claim, load_request(claim.request), deadline=None)


def from_image(jobs: Queue, image: str) -> RunningJob:
    return held(jobs, task="image-to-image", image=image, strength=0.5)


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_a_job_runs_from_here_on_and_has_its_pictures(jobs, store, beginning):
    job = from_image(jobs, store.put_input(png(Image.new("RGB", (4, 4), "red"))).id)
    beginning.begin(job)
    told = jobs.fetch(job.id)
    assert (told.status, told.worker, told.attempts) == (JobStatus.RUNNING, "worker", 1)
    assert job.claim.began
    assert job.inputs[IMAGE].getpixel((0, 0)) == (255, 0, 0)
    assert (job.fault, job.interrupt) == (None, None)


def test_a_job_that_was_taken_does_not_begin(jobs, beginning):
    job = held(jobs)
    jobs.reap("engine")
    beginning.begin(job)
    assert isinstance(job.interrupt, LeaseLost)
    assert not job.claim.began
    assert jobs.fetch(job.id).attempts == 0


def test_a_job_that_is_interrupted_meanwhile_does_not_begin(jobs, beginning):
    job = held(jobs)
    job.interrupt = Released()
    beginning.begin(job)
    assert jobs.fetch(job.id).status is JobStatus.QUEUED
    assert isinstance(job.interrupt, Released)


@pytest.mark.parametrize("is_there", [True, False])
def test_a_picture_that_cannot_be_read_is_the_job_s_fault(jobs, store, beginning, is_there):
    noise = Image.frombytes("RGB", (64, 64), bytes(range(256)) * 48)
    whole = png(noise)
    at = whole.index(b"IDAT") + 40
    image = store.put_input(whole[:at] + b"broken" + whole[at + 6 :]).id
    job = from_image(jobs, image if is_there else "file_" + "0" * 64)
    beginning.begin(job)
    assert isinstance(job.fault, InvalidImageError)
    assert str(store) not in str(job.fault)
    assert job.claim.began


def test_a_store_that_cannot_be_read_only_delays_a_job(jobs, store, beginning):
    image = store.put_input(png(Image.new("RGB", (4, 4), "red"))).id
    path = file_of(store, image)
    path.rename(path.with_suffix(".away"))
    path.symlink_to("/proc/self/mem")  # a file whose first byte cannot be read
    job = from_image(jobs, image)
    beginning.begin(job)
    assert isinstance(job.interrupt, Released)
    assert job.fault is None
    assert jobs.release(job.claim)
    assert jobs.fetch(job.id).attempts == 0


def test_who_dies_of_a_picture_was_at_work_on_its_job(jobs, tmp_path):
    memory = shared_memory()

    class Watched(ImageStore):
        def read_input(self, file_id: str) -> bytes:
            seen.append(tokens_in(memory))
            return super().read_input(file_id)

    seen, store = [], Watched(tmp_path)
    job = from_image(jobs, store.put_input(png(Image.new("RGB", (4, 4), "red"))).id)
    at_work = AtWork(memory)
    Beginning(jobs=jobs, store=store, held=HeldJobs(), worker="w", at_work=at_work).begin(job)
    assert seen == [{job.claim.token}]
    assert tokens_in(memory) == frozenset()


@pytest.mark.timeout(60)
def test_the_thread_begins_what_it_is_asked_for_and_ends_after_it(jobs, loop, beginning):
    wanted = [held(jobs) for _ in range(3)]
    for job in wanted:
        beginning.ask(job)
    beginning.close()
    beginning.start()
    beginning.join(30)
    assert {jobs.fetch(job.id).status for job in wanted} == {JobStatus.RUNNING}
    loop.take_arrived(3600)  # returns at once: the loop was woken
