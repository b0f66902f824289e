import io
import threading
import uuid

import pytest
from PIL import Image

from darkroom.images import ImageStore
from darkroom.input_images import IMAGE
from darkroom.job import JobStatus
from darkroom.queue.lua import Rules
from darkroom.queue.queue import Queue
from tests.arrivals import Arrivals
from tests.stored import file_of
from worker.held import HeldJobs
from worker.intake import Intake

pytestmark = pytest.mark.usefixtures("intake")

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
def jobs(redis):
    return Queue(redis, Rules(lease_s=30))


@pytest.fixture
def store(tmp_path):
    return ImageStore(tmp_path)


@pytest.fixture
def held():
    return HeldJobs()


@pytest.fixture
def intake(jobs, store, held):
    thread = Intake(
        jobs=jobs,
        store=store,
        held=held,
        engine=f"engine-{uuid.uuid4().hex}",
        worker="worker",
        max_jobs=2,
        max_held=3,
        preferred=lambda: ["pix"],
        beat_now=threading.Event(),
        store_is_full=threading.Event(),
    )
    thread.start()
    yield thread
    thread.close()
    thread.join()


@pytest.fixture
def arrivals(held):
    return Arrivals(held)


def submit(jobs, **changes):
    return jobs.submit({**REQUEST, **changes}, model="pix").job


def test_a_submitted_job_arrives_checked(jobs, arrivals):
    job = submit(jobs)
    arrived = arrivals.next()
    assert (arrived.id, arrived.asked.prompt) == (job.id, "a cat")
    assert jobs.fetch(job.id).status is JobStatus.RUNNING


def test_an_input_picture_arrives_with_its_job(jobs, store, arrivals):
    file = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(file, "PNG")
    image = store.put_input(file.getvalue()).id
    submit(jobs, task="image-to-image", image=image, strength=0.5)
    arrived = arrivals.next()
    assert arrived.inputs[IMAGE].getpixel((0, 0)) == (255, 0, 0)


def test_a_job_that_does_not_pass_the_check_fails_and_the_next_one_arrives(jobs, arrivals):
    bad = submit(jobs, seed="one")
    gone = submit(jobs, task="image-to-image", image="file_" + "0" * 64, strength=0.5)
    good = submit(jobs)
    assert arrivals.next().id == good.id
    assert jobs.fetch(bad.id).error.code == "invalid_parameters"
    assert jobs.fetch(gone.id).error.code == "invalid_input_image"


def test_no_more_is_claimed_than_may_be_held(jobs, held, arrivals):
    submitted = [submit(jobs).id for _ in range(5)]
    arrived = [arrivals.next() for _ in range(3)]
    assert [job.id for job in arrived] == submitted[:3]
    assert len(held) == 3
    held.remove(arrived[0])
    assert arrivals.next().id == submitted[3]
    assert jobs.fetch(submitted[4]).status is JobStatus.QUEUED


def test_a_damaged_input_fails_its_job_and_names_no_path(jobs, store, arrivals):
    file = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(file, "PNG")
    whole = file.getvalue()
    at = whole.index(b"IDAT") + 200
    image = store.put_input(whole[:at] + b"broken" + whole[at + 6 :]).id
    bad = submit(jobs, task="image-to-image", image=image, strength=0.5)
    good = submit(jobs)
    assert arrivals.next().id == good.id
    error = jobs.fetch(bad.id).error
    assert error.code == "invalid_input_image"
    assert str(store) not in error.message


def test_a_store_that_cannot_be_read_only_delays_a_job(jobs, store, arrivals):
    file = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(file, "PNG")
    image = store.put_input(file.getvalue()).id
    path = file_of(store, image)
    path.rename(path.with_suffix(".away"))
    path.symlink_to("/proc/self/mem")  # a file whose first byte cannot be read
    job = submit(jobs, task="image-to-image", image=image, strength=0.5)
    for _ in range(400):
        if jobs.counters().get(("released",), 0):
            break
        threading.Event().wait(0.05)
    assert jobs.fetch(job.id).error is None
    path.unlink()
    path.with_suffix(".away").rename(path)
    assert arrivals.next().id == job.id
