import io
import json
import threading
import uuid
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import structlog
import torch
from PIL import Image

from darkroom.catalog import Catalog
from darkroom.draft import stored
from darkroom.images import ImageStore
from darkroom.job import JobStatus, Progress, Stage
from darkroom.model_files import ModelFiles
from darkroom.offers import offer
from darkroom.provenance import request_of
from darkroom.queue.lua import Rules
from darkroom.queue.model_records import ModelRecords
from darkroom.queue.queue import News, Queue
from darkroom.settings import Settings
from darkroom.validation import filled_in, parse
from tests import checkers, tiny
from tests.begun import begun
from worker.device import pick_device
from worker.engine import assemble
from worker.loading.memory import expected_bytes
from worker.loading.weights import dtype_of
from worker.running import RunningJob

MODEL = """
[[models]]
name = "{}"
source = "tiny"
defaults = {{ num_inference_steps = 3 }}
limits = {{ min_size = 8, max_size = 64, size_multiple = 4, max_steps = 20000 }}
{}
"""
MODELS = {
    "tiny": "",
    "other": "",
    "compiled": "compile = true",
    "single": 'offload = "model"',
    "prudent": 'safety = { source = "prudent" }',
    "prudish": 'safety = { source = "prudish/safety_checker" }',
}
UPSCALER = """
[[models]]
name = "upscaler"
source = "upscaler"
defaults = { num_inference_steps = 2 }
limits = { min_size = 8, max_size = 96 }
"""
BROKEN = """
[[models]]
name = "broken"
source = "broken"
[[models]]
name = "away"
source = "owner/away"
"""


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("engine-models")
    tiny.write("sd15", folder / "tiny")
    tiny.write("super-resolution", folder / "upscaler")
    (folder / "broken").mkdir()
    checkers.classifier(folder / "prudent")
    checkers.own_checker(folder / "prudish", flags=True)
    models = "".join(MODEL.format(name, more) for name, more in MODELS.items())
    (folder / "models.toml").write_text(models + UPSCALER + BROKEN)
    return folder


@pytest.fixture
def jobs(redis):
    return Queue(redis, Rules(lease_s=60))


class Running:
    """An engine in a thread of its own, and a client of its queue."""

    def __init__(self, jobs: Queue, folder: Path, state_dir: Path, **settings) -> None:
        self.jobs = jobs
        self.models = Catalog.read(folder / "models.toml")
        self.settings = Settings(
            _env_file=None, state_dir=state_dir, models=folder / "models.toml", **settings
        )
        self.records = ModelRecords(jobs.redis)
        self.engine = assemble(
            self.settings, jobs, self.records, worker="worker", engine=uuid.uuid4().hex
        )
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        torch.set_num_threads(1)
        self.engine.run()

    def submit(self, model: str = "tiny", **body) -> str:
        options = {k: body.pop(k) for k in ("deadline_s", "preview") if k in body}
        known = offer(self.models, self.models.find(model), None)
        asked = filled_in(parse({"prompt": "a cat", **body}, known), known, None)
        return self.jobs.submit(stored(asked, known), model=model, **options).job.id

    def submit_unseen(self, **body) -> str:
        """As a service does that has neither the model's files nor a record of it."""
        card = self.models.find("tiny")
        unseen = offer(Catalog([card], "tiny", Path("/nowhere")), card, None)
        given = {k: v for k, v in {"prompt": "a cat", **body}.items() if v is not None}
        asked = filled_in(parse(given, unseen), unseen, None)
        return self.jobs.submit(stored(asked, unseen), model="tiny").job.id

    def submit_draft(self, **body) -> str:
        """As version 0.1 may have left it: nothing is filled in, not even the seed."""
        known = offer(self.models, self.models.find("tiny"), None)
        draft = parse({"prompt": "a cat", **body}, known)
        return self.jobs.submit(stored(draft, known), model="tiny").job.id

    def plant(self, request: dict, model: str = "tiny") -> str:
        """As whoever reaches Redis can do it."""
        return self.jobs.submit(request, model=model).job.id

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


@pytest.mark.skipif(torch.cuda.is_available(), reason="weights on a device are no pages of files")
def test_a_job_whose_model_was_written_over_meanwhile_begins_again(running, folder):
    file = folder / "tiny" / "unet" / "diffusion_pytorch_model.safetensors"
    running.engine.models.preload(["tiny"])
    old = running.engine.models.get("tiny")

    def write_over(*_: object) -> None:
        with file.open("r+b") as opened:
            end = opened.read()[-1:]
            opened.seek(-1, io.SEEK_END)
            opened.write(end)

    old.components["unet"].conv_in.register_forward_pre_hook(write_over)
    job_id = running.submit()
    running.start()
    assert running.ended(job_id).status is JobStatus.SUCCEEDED
    assert running.engine.models.get("tiny") is not old


def test_a_picture_is_made_larger_within_one_job(running):
    job_id = running.submit(width=24, height=16, hires={"strength": 0.7}, num_inference_steps=10)
    alone = running.submit(width=48, height=32, num_inference_steps=10)
    running.start()
    job = running.ended(job_id)
    assert job.status is JobStatus.SUCCEEDED, job.error
    (image,) = job.images
    assert (image.width, image.height) == (48, 32)
    assert (job.progress.step, job.progress.steps, job.progress.ratio) == (17, 17, 1.0)
    file = running.settings.store_dir / "images" / image.id[-2:] / f"{image.id}.png"
    assert request_of(file.read_bytes())["hires"] == job.request["hires"]
    assert running.ended(alone).status is JobStatus.SUCCEEDED
    running.drain()
    sizes = {(each.width, each.height) for each in running.records.all()["tiny"].costs}
    assert sizes == {(24, 16), (48, 32)}, "each part is measured at its own size"


def test_another_model_enlarges_the_picture_within_one_job(running):
    hires = {"strength": 0.7, "upscaler": "upscaler"}
    job_id = running.submit(width=24, height=16, hires=hires, num_inference_steps=10)
    lost = running.submit(width=24, height=16, hires={"upscaler": "gone"})
    refused = running.submit(width=16, height=32, hires=hires, num_inference_steps=10)
    running.start()
    job = running.ended(job_id)
    assert job.status is JobStatus.SUCCEEDED, job.error
    (image,) = job.images
    assert (image.width, image.height) == (48, 32)
    assert (job.progress.step, job.progress.steps, job.progress.ratio) == (19, 19, 1.0)
    ended = running.ended(lost)
    assert (ended.error.code, "gone" in ended.error.message) == ("model_not_found", True)
    ended = running.ended(refused)
    assert (ended.error.code, "128" in ended.error.message) == ("invalid_parameters", True)
    again = running.plant(job.request)
    assert (pixels(running, running.ended(again)) == pixels(running, job)).all()
    running.drain()
    records = running.records.all()
    sizes = {
        name: {(each.width, each.height) for each in records[name].costs}
        for name in ("tiny", "upscaler")
    }
    assert sizes == {"tiny": {(24, 16), (48, 32)}, "upscaler": {(96, 64)}}


def test_a_job_is_made_by_the_card_as_it_was_when_it_was_accepted(jobs, folder, tmp_path):
    card = MODEL.format("tiny", "").replace('source = "tiny"', f'source = "{folder / "tiny"}"')
    (tmp_path / "models.toml").write_text(card)
    running = Running(jobs, tmp_path, tmp_path / "state", grace_s=30)
    running.start()
    assert running.ended(running.submit(width=64)).status is JobStatus.SUCCEEDED
    running.engine.catalog._look_at = float("inf")
    (tmp_path / "models.toml").write_text(card.replace("max_size = 64", "max_size = 128"))
    running.models = Catalog.read(tmp_path / "models.toml")
    job = running.ended(running.submit(width=96))
    assert job.status is JobStatus.SUCCEEDED, job.error
    running.drain()


def test_jobs_that_wait_together_run_together(running):
    ids = [running.submit(prompt=f"cat {i}", num_inference_steps=40 + i) for i in range(4)]
    running.start()
    assert {running.ended(job_id).status for job_id in ids} == {JobStatus.SUCCEEDED}
    assert running.engine.gather.joined_calls > 0
    assert running.engine.gather.forwards < 0.7 * sum(40 + i for i in range(4))


def test_a_job_that_took_engines_down_before_runs_alone(running, jobs):
    suspect = running.submit(num_inference_steps=4)
    for _ in range(2):
        begun(jobs, engine="dead", queues=["tiny.normal"])
        jobs.reap("dead")
    others = [running.submit(num_inference_steps=4) for _ in range(3)]
    running.start()
    assert {running.ended(job_id).status for job_id in [suspect, *others]} == {JobStatus.SUCCEEDED}
    row_counts = jobs.fetch(suspect).images[0].reproducibility["row_counts"]
    assert row_counts == [2]


def test_the_model_record_says_what_was_found(running):
    job_id = running.submit()
    failed, away = running.submit("broken"), running.submit("away")
    running.start()
    running.ended(job_id)
    assert running.ended(failed).error.code == "model_load_failed"
    assert running.ended(away).error.code == "model_load_failed"
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
    assert "smaller_group" in {job.memory for job in ended}
    assert running.engine.passes.runner.most_rows
    most_rows = 0
    assert running.ended(running.submit()).error.code == "out_of_memory"


def test_pictures_that_cannot_be_saved_end_their_job(running):
    running.start()
    running.ended(running.submit())

    def one_channel(_: torch.nn.Module, __: object, picture: torch.Tensor) -> torch.Tensor:
        return picture[:, :1]

    running.engine.models.get("tiny").components["vae"].decoder.register_forward_hook(one_channel)
    job = running.ended(running.submit())
    assert (job.status, job.error.code, job.attempts) == (JobStatus.FAILED, "internal", 1)


@pytest.fixture(scope="session")
def room_for_one(folder) -> float:
    """GiB for one and a half of the models."""
    card = Catalog.read(folder / "models.toml").find("tiny")
    dtype = dtype_of(card, pick_device("auto"))
    return 1.5 * sum(expected_bytes(card, ModelFiles(folder / "tiny"), dtype).values()) / 2**30


def step_of(jobs: Queue, job_id: str) -> int:
    return progress.step if (progress := jobs.fetch(job_id).progress) else 0


def wait_until(true) -> None:
    for _ in range(1200):
        if true():
            return
        threading.Event().wait(0.02)
    raise AssertionError("it did not come to pass")


def waiting(running: Running) -> list[RunningJob]:
    """The jobs that are held and do not begin yet."""
    return [job for job in list(running.engine._jobs.values()) if not job.is_under_way]


def test_a_swap_waits_for_running_jobs_and_lets_their_model_s_others_go_first(
    jobs, folder, tmp_path, room_for_one
):
    running = Running(jobs, folder, tmp_path, grace_s=30, model_memory_gb=room_for_one)
    endless = running.submit(num_inference_steps=20_000)
    running.start()
    wait_until(lambda: step_of(jobs, endless) >= 2)
    other = running.submit("other")
    wait_until(lambda: any(job.needs_room for job in waiting(running)))
    for _ in range(2):
        assert running.ended(running.submit()).status is JobStatus.SUCCEEDED
    assert not jobs.fetch(other).status.terminal
    assert running.engine.models.names == ("tiny",)
    assert jobs.fetch(endless).progress.step > 2
    jobs.cancel(endless)
    assert running.ended(other).status is JobStatus.SUCCEEDED
    assert running.engine.models.names == ("other",)
    running.drain()


def test_a_model_that_enlarges_stays_as_long_as_the_picture_is_made(jobs, folder, tmp_path):
    running = Running(jobs, folder, tmp_path, grace_s=30)
    need = running.engine.models._room.need
    sizes = [need(running.models.find(name)) for name in ("tiny", "upscaler")]
    running = Running(
        jobs, folder, tmp_path, grace_s=30, model_memory_gb=(sum(sizes) + sizes[0] / 2) / 2**30
    )
    hires = {"strength": 0.7, "upscaler": "upscaler"}
    endless = running.submit(width=24, height=16, hires=hires, num_inference_steps=150)
    running.start()
    wait_until(lambda: step_of(jobs, endless) >= 2)
    other = running.submit("other")
    wait_until(lambda: any(job.needs_room for job in waiting(running)))
    assert set(running.engine.models.names) == {"tiny", "upscaler"}
    ended = [running.ended(job_id) for job_id in (endless, other)]
    assert {job.status for job in ended} == {JobStatus.SUCCEEDED}, [job.error for job in ended]
    again = running.ended(running.submit(width=24, height=16, hires=hires))
    assert again.status is JobStatus.SUCCEEDED, again.error
    running.drain()


def test_who_waited_too_long_for_room_gets_it_next(jobs, folder, tmp_path, room_for_one):
    running = Running(
        jobs, folder, tmp_path, grace_s=30, model_memory_gb=room_for_one, prefer_loaded_s=0
    )
    endless = running.submit(num_inference_steps=20_000)
    running.start()
    wait_until(lambda: step_of(jobs, endless) >= 2)
    other = running.submit("other", num_inference_steps=40)
    wait_until(lambda: any(job.needs_room for job in waiting(running)))
    younger = running.submit()
    wait_until(lambda: len(waiting(running)) == 2)
    jobs.cancel(endless)
    ended = [running.ended(job_id) for job_id in (other, younger)]
    assert {job.status for job in ended} == {JobStatus.SUCCEEDED}
    assert ended[0].finished_at < ended[1].finished_at
    running.drain()


def test_a_model_that_never_fits_fails_its_jobs_and_no_others(jobs, folder, tmp_path, room_for_one):
    running = Running(jobs, folder, tmp_path, grace_s=30, model_memory_gb=room_for_one / 10)
    job_id = running.submit()
    running.start()
    error = running.ended(job_id).error
    assert (error.code, error.retryable) == ("out_of_memory", False)
    assert "can be had" in error.message
    assert running.records.all()["tiny"].error == error.message
    running.drain()


def test_a_model_whose_parts_wait_off_the_device_runs_one_job_at_a_time(running):
    ids = [running.submit("single", num_inference_steps=40, prompt=f"cat {i}") for i in range(3)]
    running.start()
    ended = [running.ended(job_id) for job_id in ids]
    assert {job.status for job in ended} == {JobStatus.SUCCEEDED}
    assert running.engine.gather.joined_calls == 0
    assert {tuple(job.images[0].reproducibility["row_counts"]) for job in ended} == {(2,)}


class Refusing:
    """A decoder for which memory runs out when it is called with more than it may be."""

    def __init__(self, running: Running) -> None:
        self.rows, self.side, self.refused = 99, 99, 0
        vae = running.engine.models.get("tiny").components["vae"]
        vae.decoder.register_forward_pre_hook(self)

    def __call__(self, _: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if len(inputs[0]) > self.rows or max(inputs[0].shape[-2:]) > self.side:
            self.refused += 1
            raise torch.OutOfMemoryError(f"{tuple(inputs[0].shape)} is too much")


def pixels(running: Running, job) -> np.ndarray:
    files = [running.settings.store_dir.rglob(f"{image.id}.png") for image in job.images]
    return np.stack([np.asarray(Image.open(next(each))) for each in files]).astype(int)


def test_a_decode_without_memory_is_repeated_sliced_then_tiled_and_nothing_else_is(running):
    running.start()
    body = {"seed": 4, "num_images": 2, "width": 32, "num_inference_steps": 5}
    plain = running.ended(running.submit(**body))
    assert plain.memory is None
    refusing, each = Refusing(running), running.engine.gather.forwards
    refusing.rows = 1
    sliced = running.ended(running.submit(**body))
    assert (sliced.status, sliced.memory) == (JobStatus.SUCCEEDED, "vae_slicing")
    assert running.engine.gather.forwards == 2 * each
    assert abs(pixels(running, plain) - pixels(running, sliced)).max() <= 1
    refusing.side = 8
    tiled = running.ended(running.submit(**body))
    assert (tiled.status, tiled.memory) == (JobStatus.SUCCEEDED, "vae_tiling")
    assert running.engine.gather.forwards == 3 * each
    assert pixels(running, tiled).shape == (2, 16, 32, 3)
    assert pixels(running, tiled).std() > 0
    vae = running.engine.models.get("tiny").components["vae"]
    assert (vae.use_slicing, vae.use_tiling, vae.tile_latent_min_size) == (False, False, 8)


def test_the_rung_that_helped_is_remembered_for_that_size(running):
    running.start()
    running.ended(running.submit())
    refusing = Refusing(running)
    refusing.side = 4
    assert running.ended(running.submit()).memory == "vae_tiling"
    refused = refusing.refused
    assert running.ended(running.submit()).memory == "vae_tiling"
    assert refusing.refused == refused
    refusing.side = 99
    assert running.ended(running.submit(width=32)).memory is None


def test_when_no_rung_helps_the_job_fails_in_words_and_the_next_one_runs(running):
    running.start()
    running.ended(running.submit())
    refusing = Refusing(running)
    refusing.side = 0
    job = running.ended(running.submit(num_images=2, width=32))
    assert (job.status, job.error.code, job.memory) == (JobStatus.FAILED, "out_of_memory", None)
    assert "2 x 32 x 16" in job.error.message
    assert "vae.decode" in job.error.message
    refusing.side = 99
    assert running.ended(running.submit(num_images=2, width=32)).memory is None


@pytest.mark.parametrize(
    ("free", "again"), [(95, False), pytest.param(50, True, marks=pytest.mark.long)]
)
def test_what_fits_nowhere_is_not_worth_a_repeat(free, again, running, monkeypatch):
    """What a driver would say of a device of 100 bytes, some of them not free."""
    monkeypatch.setattr(running.engine.passes, "_device", torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 100))
    running.start()
    running.ended(running.submit("other"))
    running.ended(running.submit())
    Refusing(running).side = 0
    error = running.ended(running.submit()).error
    assert (error.code, error.retryable) == ("out_of_memory", again)


def test_what_does_not_fit_beside_others_may_fit_later(running, monkeypatch):
    monkeypatch.setattr(running.engine.passes, "_device", torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (95, 100))
    running.start()
    running.ended(running.submit())
    Refusing(running).side = 0
    endless = running.submit("other", num_inference_steps=20_000)
    wait_until(lambda: len(running.engine._running) == 1)
    assert running.ended(running.submit()).error.retryable
    running.jobs.cancel(endless)


def test_the_last_rung_takes_the_rest_of_the_model_off_the_device(running):
    running.start()
    plain = running.ended(running.submit(seed=4))
    parts = running.engine.models.get("tiny").components
    weight = parts["vae"].decoder.conv_in.weight
    place, refused = weight.data_ptr(), 0

    def refuse(*_: object) -> None:
        nonlocal place, refused
        if weight.data_ptr() == place:
            refused += 1
            raise torch.OutOfMemoryError("no room beside the VAE")
        place = weight.data_ptr()  # where it rests from now on: on a CPU nothing moves it back

    hook = parts["unet"].conv_in.register_forward_pre_hook(refuse)
    job = running.ended(running.submit(seed=4))
    assert (job.status, job.memory) == (JobStatus.SUCCEEDED, "offload")
    assert refused == 1, "what helped is remembered"
    assert abs(pixels(running, plain) - pixels(running, job)).max() <= 1
    hook.remove()
    assert running.ended(running.submit(width=32)).memory is None


def test_idle_models_leave_when_a_call_does_not_fit(running):
    running.start()
    running.ended(running.submit("other"))
    running.ended(running.submit())
    models = running.engine.models

    def refuse(*_: object) -> None:
        if len(models.names) > 1:
            raise torch.OutOfMemoryError("no room beside another model")

    models.get("tiny").components["unet"].conv_in.register_forward_pre_hook(refuse)
    job = running.ended(running.submit())
    assert (job.status, job.memory) == (JobStatus.SUCCEEDED, "models_evicted")
    assert models.names == ("tiny",)


def test_flagged_pictures_are_withheld_and_the_others_kept(running):
    running.start()
    body = {"seed": 7, "num_images": 3}
    plain = running.ended(running.submit(**body))
    assert [image.flagged for image in plain.images] == [None] * 3
    running.ended(running.submit("prudent", num_inference_steps=2))
    checker = running.engine.models.get("prudent").safety
    seen = list(pixels(running, plain).astype(np.uint8))
    asked = checker.processor(images=seen, return_tensors="pt").to(running.engine.device)
    with torch.no_grad():
        shares = checker.network(**asked).logits.softmax(-1)[:, 1].cpu()
    object.__setattr__(checker, "threshold", shares.sort().values[1:].mean().item())
    job = running.ended(running.submit("prudent", **body))
    assert job.status is JobStatus.SUCCEEDED
    flagged = [image.flagged for image in job.images]
    assert flagged == (shares >= checker.threshold).tolist()
    assert sum(flagged) == 1
    withheld, kept = job.images[flagged.index(True)], job.kept
    assert (withheld.url, withheld.bytes, withheld.sha256) == (None, None, None)
    assert len(kept) == 2
    assert not list(running.settings.store_dir.rglob(f"{withheld.id}*"))
    assert job.warnings == ["1 picture was withheld: flagged by the safety checker."]
    assert running.records.all()["prudent"].safety == "ViTForImageClassification (prudent)"


def test_a_job_whose_pictures_are_all_flagged_fails(running):
    running.start()
    job = running.ended(running.submit("prudish", num_images=2))
    assert (job.status, job.error.code) == (JobStatus.FAILED, "safety_blocked")
    assert [image.flagged for image in job.images] == [True, True]
    assert list(running.settings.store_dir.rglob("img_*")) == []


def test_a_draft_is_completed_by_the_engine_and_gives_the_picture_of_its_request(running):
    file = io.BytesIO()
    Image.effect_noise((30, 21), 90).convert("RGB").save(file, "PNG")
    image = ImageStore.of(running.settings).put_input(file.getvalue()).id
    body = {"task": "image-to-image", "image": image, "strength": 0.7, "seed": 5}
    drafted = running.submit_draft(**body)
    assert running.jobs.fetch(drafted).request["width"] is None
    running.start()
    job = running.ended(drafted)
    assert job.status is JobStatus.SUCCEEDED, job.error
    whole = running.ended(running.submit(**body, width=20, height=12))
    assert (job.images[0].width, job.images[0].height) == (20, 12)
    assert (pixels(running, job) == pixels(running, whole)).all()
    [file] = running.settings.store_dir.rglob(f"{job.images[0].id}.png")
    told = request_of(file.read_bytes())
    assert (told["width"], told["height"], told["seed"]) == (20, 12, 5)


def test_a_draft_without_a_seed_tells_the_one_that_was_drawn(running):
    drafted = running.submit_draft()
    running.start()
    [image] = running.ended(drafted).images
    [file] = running.settings.store_dir.rglob(f"{image.id}.png")
    assert request_of(file.read_bytes())["seed"] == image.seed


def test_a_job_shows_what_the_worker_filled_in_and_says_it_in_its_picture(running):
    unseen = running.submit_unseen(num_images=2)
    before = running.jobs.fetch(unseen).request
    assert (before["width"], before["height"], before["scheduler"]) == (None, None, None)
    assert before["seed"] is not None
    running.start()
    job = running.ended(unseen)
    assert job.status is JobStatus.SUCCEEDED, job.error
    assert (job.request["width"], job.request["scheduler"]) == (16, "PNDMScheduler")
    assert job.request["seed"] == before["seed"] == job.images[0].seed
    assert None not in {**job.request, "hires": {}}.values()
    [file] = running.settings.store_dir.rglob(f"{job.images[0].id}.png")
    assert request_of(file.read_bytes()) == {**job.request, "num_images": 1}
    again = running.ended(running.plant(job.request))
    assert (pixels(running, job) == pixels(running, again)).all()
    assert again.request == job.request


def test_what_one_attempt_filled_in_holds_for_the_next(running, jobs):
    unseen = running.submit_unseen()
    first = begun(jobs, engine="dead", queues=["tiny.normal"])
    size = {"width": 24, "height": 8}
    whole = running.jobs.fetch(running.submit(**size, seed=5)).request
    assert jobs.complete(first, whole)
    assert jobs.fetch(unseen).request == whole
    jobs.reap("dead")
    running.start()
    job = running.ended(unseen)
    assert (job.attempts, job.request) == (2, whole)
    assert (job.images[0].width, job.images[0].height, job.images[0].seed) == (24, 8, 5)


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ({"task": "class-to-image", "class_label": 3, "prompt": None}, "unsupported", "does text-"),
        ({"scheduler": "FlowMatchEulerDiscreteScheduler"}, "invalid_parameters", "/scheduler: "),
        ({"scheduler_options": {"sigmas": "karras"}}, "invalid_parameters", "PNDMScheduler has no"),
    ],
)
def test_what_only_the_worker_can_refuse_it_refuses_in_words(running, body, code, words):
    unseen = running.submit_unseen(**body)
    running.start()
    job = running.ended(unseen)
    assert (job.status, job.error.code, job.error.retryable) == (JobStatus.FAILED, code, False)
    assert words in job.error.message
    assert running.ended(running.submit()).status is JobStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("planted", "code"),
    [
        ({"model": "nobody"}, "model_not_found"),
        ({"model": "x" * 10**6}, "invalid_parameters"),
        ({"task": "os.system"}, "unsupported"),
        ({"num_inference_steps": 10**9}, "invalid_parameters"),
        ({"width": 100_000, "height": 100_000}, "invalid_parameters"),
        ({"num_images": 10**6}, "invalid_parameters"),
        ({"prompt": "cat " * 10**6}, "invalid_parameters"),
        ({"scheduler": "os.system"}, "invalid_parameters"),
        ({"image": "../../etc/passwd", "task": "image-to-image"}, "invalid_input_image"),
        ({"seed": 2**70}, "invalid_parameters"),
    ],
)
def test_what_is_planted_in_the_queue_is_bounded_like_any_other_job(running, planted, code):
    usual = running.jobs.fetch(running.submit()).request
    # Only text-to-image takes it.
    del usual["hires"]
    job_id = running.plant(usual | planted)
    running.start()
    job = running.ended(job_id)
    assert (job.status, job.error.code) == (JobStatus.FAILED, code)
    assert len(job.error.message) < 4000
    assert running.ended(running.submit()).status is JobStatus.SUCCEEDED


def test_an_error_of_ours_leaves_no_trace_in_the_log(running):
    with structlog.testing.capture_logs() as lines:
        running.start()
        job_id = running.submit(clip_skip=9)
        assert running.ended(job_id).error.code == "unsupported"
    (told,) = (line for line in lines if line["event"] == "job_failed")
    assert told["code"] == "unsupported"
    assert "trace" not in told


def test_times_of_an_engine_that_died_are_told_and_add_up(running, jobs):
    job_id = running.submit()
    dead = begun(jobs, engine="dead", queues=["tiny.normal"])
    jobs.tell([News(dead, Progress(stage="denoise"), {"load": 0.001, "denoise": 0.002})])
    jobs.reap("dead")
    running.start()
    job = running.ended(job_id)
    stages = job.timings.model_dump(exclude={"total", "device"}, exclude_none=True)
    assert (job.attempts, set(stages)) == (2, {"queued", *get_args(Stage)})
    assert sum(stages.values()) == pytest.approx(job.timings.total, abs=0.001)
    waited = (job.finished_at - job.created_at).total_seconds()
    assert job.timings.total == pytest.approx(waited, abs=2.0)


def test_every_stage_is_told_up_to_one(running, redis):
    running.start()
    for body in ({"num_inference_steps": 60}, {"num_images": 2, "deterministic": True}):
        job = running.ended(running.submit(**body))
        rows = [
            json.loads(fields[b"data"]) for _, fields in redis.xrange(f"darkroom:events:{job.id}")
        ]
        told = [row for row in rows if "stage" in row]
        assert list(dict.fromkeys(row["stage"] for row in told)) == list(get_args(Stage))
        ratios = [row["ratio"] for row in told]
        assert ratios == sorted(ratios)
        assert (told[-1]["stage"], ratios[-1]) == ("save", 1.0)
        assert told[-1]["step"] == told[-1]["steps"]
        assert job.progress.model_dump() == told[-1]


def test_early_pictures_are_shown_and_change_nothing(running, redis):
    running.start()
    asked = {"seed": 1, "num_inference_steps": 60}
    plain = running.ended(running.submit(**asked))
    shown = running.ended(running.submit(**asked, preview=True))
    assert plain.images[0].sha256 == shown.images[0].sha256
    told = {
        job.id: [
            json.loads(fields[b"data"])["step"]
            for _, fields in redis.xrange(f"darkroom:events:{job.id}")
            if fields[b"event"] == b"preview"
        ]
        for job in (plain, shown)
    }
    assert told[plain.id] == []
    assert 0 < len(told[shown.id]) < 60
    assert told[shown.id] == sorted(set(told[shown.id]))
    assert redis.keys("darkroom:preview:*") == []


def test_which_model_is_loaded_is_told(running, redis):
    job_id = running.submit("other")
    running.start()
    running.ended(job_id)
    rows = redis.xrange(f"darkroom:events:{job_id}")
    told = [json.loads(fields[b"data"]) for _, fields in rows]
    loads = [row["detail"] for row in told if row.get("stage") == "load"]
    assert loads[-1] == "the model other"


class Gate:
    """A compiler whose work takes as long as its gate is closed."""

    def __init__(self) -> None:
        self.opened, self.reached = threading.Event(), threading.Event()
        self.opened.set()

    def __call__(self, graph: torch.fx.GraphModule, _: object):
        self.reached.set()
        assert self.opened.wait(60)
        return graph.forward


@pytest.fixture
def gate(monkeypatch):
    torch._dynamo.reset()
    gate = Gate()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=gate))
    yield gate
    gate.opened.set()


def test_a_pass_that_compiles_counts_as_loading_and_says_so(gate, running, jobs):
    """Beyond the time of a step it would be killed, and again at each attempt."""
    usual = {"width": 16, "height": 16, "num_inference_steps": 1, "scheduler": "DDIMScheduler"}
    usual |= {"scheduler_options": {"timestep_spacing": "trailing"}}
    first = running.submit("compiled", **usual)
    running.start()
    assert running.ended(first).status is JobStatus.SUCCEEDED
    gate.opened.clear()
    gate.reached.clear()
    job_id = running.submit("compiled", **usual | {"width": 32})
    assert gate.reached.wait(60)
    pulse = running.engine.pulse
    pulse._ticked_at -= running.settings.step_timeout_s + 1
    assert not pulse.is_stuck
    report = running.engine.report()
    assert (report.state, report.loads) == ("loading", "compiled")
    told = "compiling the model compiled for 32 x 16"
    wait_until(lambda: (jobs.fetch(job_id).progress or Progress(stage="load")).detail == told)
    gate.opened.set()
    job = running.ended(job_id)
    assert job.status is JobStatus.SUCCEEDED
    assert pulse.state in ("idle", "busy")
    # On CUDA the time of a pass is told when the next one begins.
    assert running.ended(running.submit("compiled", **usual)).status is JobStatus.SUCCEEDED
    # Such a pass says nothing of what others will take.
    known = {(kind.module, kind.size) for kind in running.engine.costs._costs["compiled"]}
    assert ("unet", (32, 16)) not in known
    assert ("decode", (32, 16)) in known
    assert running.records.all()["compiled"].compile_s > 0


def test_a_draft_of_what_the_model_turns_out_not_to_do_fails(running, jobs):
    open_ = ("seed", "width", "height", "num_inference_steps", "scheduler", "num_images")
    values = {"task": "unconditional", "model": "tiny", **dict.fromkeys(open_)}
    job_id = jobs.submit(values, model="tiny").job.id
    running.start()
    assert running.ended(job_id).error.code == "unsupported"
