import threading
import uuid
from pathlib import Path

import pytest
import torch

from darkroom.job import JobStatus
from darkroom.models import ModelRecords, Models, offer
from darkroom.queue import Queue
from darkroom.settings import Settings
from darkroom.validation import completed, parse
from tests import tiny
from worker.engine import Engine

MODELS = """
[[models]]
name = "tiny"
source = "tiny"
defaults = { num_inference_steps = 3 }
limits = { min_size = 8, max_size = 64, size_multiple = 4, max_steps = 20000 }

[[models]]
name = "broken"
source = "broken"
"""


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("engine-models")
    tiny.write("sd15", folder / "tiny")
    (folder / "broken").mkdir()
    (folder / "models.toml").write_text(MODELS)
    return folder


@pytest.fixture
def jobs(redis):
    return Queue(redis, lease_s=60)


class Running:
    """An engine in a thread of its own, and a client of its queue."""

    def __init__(self, jobs: Queue, folder: Path, state_dir: Path, **settings) -> None:
        self.jobs = jobs
        self.models = Models.read(folder / "models.toml")
        self.settings = Settings(
            _env_file=None, state_dir=state_dir, models=folder / "models.toml", **settings
        )
        self.records = ModelRecords(jobs.redis)
        self.engine = Engine(self.settings, jobs, self.records, "worker", uuid.uuid4().hex)
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        torch.set_num_threads(1)
        self.engine.run()

    def submit(self, model: str = "tiny", **body) -> str:
        deadline = body.pop("deadline_s", None)
        known = offer(self.models, self.models.find(model), None)
        request = completed(parse({"prompt": "a cat", **body}, known).request, known, None)
        return self.jobs.submit(
            request.model_dump(mode="json", exclude_unset=True), model=model, deadline_s=deadline
        ).job.id

    def start(self) -> None:
        self.thread.start()

    def drain(self) -> None:
        self.engine.drain()
        self.thread.join(60)
        assert not self.thread.is_alive()

    def ended(self, job_id: str):
        for _ in range(1200):
            if (job := self.jobs.fetch(job_id)).status.terminal:
                return job
            assert self.thread.is_alive(), "the engine's thread ended with an error"
            threading.Event().wait(0.05)
        raise AssertionError(f"{job} did not end")


@pytest.fixture
def running(jobs, folder, tmp_path):
    one = Running(jobs, folder, tmp_path, grace_s=30)
    yield one
    if one.thread.is_alive():
        one.drain()


def test_a_job_becomes_a_stored_picture(running):
    job_id = running.submit(width=24)
    running.start()
    job = running.ended(job_id)
    assert job.status is JobStatus.SUCCEEDED
    (image,) = job.images
    stored = running.settings.store_dir / "images" / image.id[-2:] / f"{image.id}.png"
    assert stored.stat().st_size == image.bytes
    assert (image.width, image.height) == (24, 16)
    assert image.reproducibility["row_counts"] == [2]


def test_jobs_that_wait_together_run_together(running):
    ids = [running.submit(prompt=f"cat {i}", num_inference_steps=40 + i) for i in range(4)]
    running.start()
    assert {running.ended(job_id).status for job_id in ids} == {JobStatus.SUCCEEDED}
    assert running.engine.gather.joined_calls > 0
    assert running.engine.gather.forwards < 0.7 * sum(40 + i for i in range(4))


def test_a_job_that_took_engines_down_before_runs_alone(running, jobs):
    suspect = running.submit(num_inference_steps=4)
    for _ in range(2):
        jobs.claim(engine="dead", worker="w", queues=["tiny.normal"], token=uuid.uuid4().hex)
        jobs.reap("dead")
    others = [running.submit(num_inference_steps=4) for _ in range(3)]
    running.start()
    assert {running.ended(job_id).status for job_id in [suspect, *others]} == {JobStatus.SUCCEEDED}
    row_counts = jobs.fetch(suspect).images[0].reproducibility["row_counts"]
    assert row_counts == [2]


def test_the_model_record_says_what_was_found(running):
    job_id = running.submit()
    failed = running.submit("broken")
    running.start()
    running.ended(job_id)
    assert running.ended(failed).error.code == "model_load_failed"
    records = running.records.all()
    assert records["tiny"].pipeline == "StableDiffusionPipeline"
    assert records["tiny"].error is None
    assert records["broken"].error == running.ended(failed).error.message


def test_a_deadline_ends_a_running_job(running):
    job_id = running.submit(num_inference_steps=20_000, deadline_s=1.0)
    running.start()
    job = running.ended(job_id)
    assert (job.status, job.error.code) == (JobStatus.CANCELED, "deadline_exceeded")


def test_a_cancel_ends_a_running_job_and_its_neighbour_goes_on(running, jobs):
    endless = running.submit(num_inference_steps=20_000)
    running.start()
    while (progress := jobs.fetch(endless).progress) is None or progress.step < 2:
        threading.Event().wait(0.02)
    short = running.submit()
    jobs.cancel(endless)
    assert running.ended(short).status is JobStatus.SUCCEEDED
    running.drain()
    assert running.engine.report().running == 0
    assert running.engine.gather.running == 0


def test_draining_gives_back_what_does_not_end_in_time(jobs, folder, tmp_path):
    running = Running(jobs, folder, tmp_path, grace_s=0.1)
    job_id = running.submit(num_inference_steps=20_000)
    running.start()
    while jobs.fetch(job_id).status is not JobStatus.RUNNING:
        threading.Event().wait(0.02)
    running.drain()
    job = jobs.fetch(job_id)
    assert (job.status, job.attempts) == (JobStatus.QUEUED, 0)


def test_when_memory_is_short_for_a_group_it_is_halved(running):
    running.start()
    running.ended(running.submit())
    most_rows = 4

    def refuse(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if len(inputs[0]) > most_rows:
            raise torch.OutOfMemoryError(f"{len(inputs[0])} rows are too many")

    running.engine.models.get("tiny").components["unet"].conv_in.register_forward_pre_hook(refuse)
    ids = [running.submit(num_inference_steps=50, prompt=f"cat {i}") for i in range(4)]
    ended = [running.ended(job_id) for job_id in ids]
    assert {job.status for job in ended} == {JobStatus.SUCCEEDED}
    assert running.engine._most_rows
    most_rows = 0
    assert running.ended(running.submit()).error.code == "out_of_memory"


def test_pictures_that_cannot_be_developed_end_their_job(running):
    running.start()
    running.ended(running.submit())

    def one_channel(_: torch.nn.Module, __: object, picture: torch.Tensor) -> torch.Tensor:
        return picture[:, :1]

    running.engine.models.get("tiny").components["vae"].decoder.register_forward_hook(one_channel)
    job = running.ended(running.submit())
    assert (job.status, job.error.code, job.attempts) == (JobStatus.FAILED, "internal", 1)
