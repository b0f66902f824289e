"""The engine's loop and its gather as a state machine: jobs come, are canceled, lose their leases,
find no memory and are drained, in any order.

Hypothesis drives a real engine on a tiny pipeline and a real Valkey; the threads of the engine that
talk to Redis are not started, what they do is done by hand, so that the order is what was drawn.
"""

import uuid
import weakref
from collections import defaultdict
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from darkroom.catalog import Catalog
from darkroom.draft import stored
from darkroom.job import Job, JobStatus
from darkroom.offers import offer
from darkroom.queue.lua import Rules
from darkroom.queue.model_records import ModelRecords
from darkroom.queue.queue import Queue
from darkroom.settings import Settings
from darkroom.validation import completed, parse
from tests import tiny
from tests.begun import begin_what_is_asked
from worker.engine import assemble
from worker.gathering.gather import Call
from worker.loop import Engine

MODELS = """
[[models]]
name = "tiny"
source = "tiny"
limits = { min_size = 8, max_size = 64, size_multiple = 4 }
"""
ENOUGH = 99


class Loop(RuleBasedStateMachine):
    redis: Redis
    folder: Path

    @initialize(grace_s=st.sampled_from([0.0, 60.0]))
    def begin(self, grace_s: float) -> None:
        self.redis.flushall()
        self.jobs = Queue(self.redis, Rules(lease_s=600))
        self.settings = Settings(
            _env_file=None,
            state_dir=self.folder / "state",
            models=self.folder / "models.toml",
            grace_s=grace_s,
        )
        self.room = self.least_room = ENOUGH
        self.submitted: list[str] = []
        self.canceled: set[str] = set()
        self.reaped = self.draining = False
        self.ended: dict[str, Job] = {}
        self.tensors: dict[Hashable, list[weakref.ref[torch.Tensor]]] = defaultdict(list)
        self.engine = self.new_engine()

    def new_engine(self) -> Engine:
        self.id = uuid.uuid4().hex
        engine = assemble(
            self.settings, self.jobs, ModelRecords(self.redis), worker="worker", engine=self.id
        )
        engine.models.preload(["tiny"])
        parts = engine.models.get("tiny").components
        for entrance in (parts["unet"].conv_in, parts["vae"].decoder.conv_in):
            entrance.register_forward_pre_hook(self.refuse)
        return engine

    def refuse(self, _: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if len(inputs[0]) > self.room:
            raise torch.OutOfMemoryError(f"{len(inputs[0])} rows are too many")

    # What happens to an engine

    @rule(
        steps=st.integers(2, 6),
        images=st.integers(1, 2),
        guided=st.booleans(),
        deterministic=st.booleans(),
        deadline_s=st.sampled_from([None, None, None, 0.0]),
    )
    def submit(
        self,
        steps: int,
        images: int,
        guided: bool,
        deterministic: bool,
        deadline_s: float | None,
    ) -> None:
        catalog = Catalog.read(self.settings.models)
        known = offer(catalog, catalog.find("tiny"), None)
        body = {"prompt": "a cat", "width": 16, "height": 16, "num_inference_steps": steps}
        body |= {"num_images": images, "deterministic": deterministic}
        body |= {"guidance_scale": 5.0 if guided else 1.0}
        request = stored(completed(parse(body, known), known, None), known)
        job_id = f"job_{len(self.submitted)}"
        self.jobs.submit(request, model="tiny", job_id=job_id, deadline_s=deadline_s)
        self.submitted.append(job_id)

    @rule()
    def claim(self) -> None:
        self.engine.intake.take_what_fits()

    @rule(times=st.integers(1, 8))
    def tick(self, times: int) -> None:
        for _ in range(times):
            self.engine.held.wake()
            self.engine.tick()
            begin_what_is_asked(self.engine.admission.beginning)

    @precondition(lambda self: self.submitted)
    @rule(data=st.data(), heard=st.booleans())
    def cancel(self, data: st.DataObject, heard: bool) -> None:
        job_id = data.draw(st.sampled_from(self.submitted))
        if self.jobs.cancel(job_id).status is JobStatus.CANCELED:
            self.canceled.add(job_id)
        if heard:
            self.beat()

    @rule()
    def beat(self) -> None:
        self.engine.leases._beat()

    @rule(heard=st.booleans())
    def lose_all_leases(self, heard: bool) -> None:
        self.jobs.reap(self.id)
        for job_id in self.submitted:  # its time of rest passes
            self.redis.hdel(f"rq:job:{job_id}", "dr_rests_until")
        self.reaped = True
        if heard:
            self.beat()

    @rule(room=st.sampled_from([0, 1, 2, 4, ENOUGH]))
    def change_memory(self, room: int) -> None:
        self.room = room
        self.least_room = min(self.least_room, room)

    @precondition(lambda self: len(self.submitted) > 2 and not self.draining)
    @rule()
    def drain(self) -> None:
        self.draining = True
        self.engine.drain()

    # What has to hold at any time

    @invariant()
    def just_what_has_started_is_parked(self) -> None:
        gather = self.engine.gather
        started = {token for token, job in self.engine._jobs.items() if job.started}
        assert set(gather.parked) == started
        assert gather.running == len(started)
        assert self.engine._jobs.keys() <= {job.claim.token for job in self.engine.held.all()}

    @invariant()
    def no_tensor_outlives_its_job(self) -> None:
        for owner, call in self.engine.gather.parked.items():
            self.tensors[owner] += map(weakref.ref, tensors_of(call))
        gone = [owner for owner in self.tensors if owner not in self.engine._jobs]
        for owner in gone:
            alive = [each() for each in self.tensors.pop(owner)]
            assert not any(each is not None for each in alive), "a tensor of a job that ended"

    @invariant()
    def jobs_end_once(self) -> None:
        for job in self.jobs.page(limit=100).jobs:
            if before := self.ended.get(job.id):
                assert (job.status, job.finished_at) == (before.status, before.finished_at)
            elif job.status.terminal:
                self.ended[job.id] = job

    # And at the end

    def teardown(self) -> None:
        if not hasattr(self, "engine"):
            return
        self.room = ENOUGH
        if self.draining:
            for _ in self.rounds():
                if self.engine.is_drained:
                    break
            self.look()
            left = [job for job in self.jobs.page(limit=100).jobs if not job.status.terminal]
            assert {job.status for job in left} <= {JobStatus.QUEUED}
            self.engine = self.new_engine()
        for _ in self.rounds():
            self.engine.leases._beat()
            self.engine.intake.take_what_fits()
            self.look()
            if len(self.ended) == len(self.submitted) and len(self.engine.held) == 0:
                break
        self.look()
        assert not self.engine._jobs
        assert not self.tensors
        assert {job_id for job_id, job in self.ended.items() if self.ended_as_told(job)} == set(
            self.submitted
        )

    def rounds(self) -> Iterator[None]:
        """The loop coming round, for a minute at most: it sleeps where nothing is to do."""
        for _ in range(2000):
            self.engine.tick()
            begin_what_is_asked(self.engine.admission.beginning)
            yield
        raise AssertionError("jobs did not come to an end")

    def look(self) -> None:
        self.just_what_has_started_is_parked()
        self.no_tensor_outlives_its_job()
        self.jobs_end_once()

    def ended_as_told(self, job: Job) -> bool:
        if job.id in self.canceled:
            return job.status is JobStatus.CANCELED
        if job.status is JobStatus.CANCELED:
            return job.error is not None and job.error.code == "deadline_exceeded"
        if job.status is JobStatus.FAILED:
            code = job.error.code if job.error else None
            return (code == "out_of_memory" and self.least_room < 4) or (
                code == "poison" and self.reaped
            )
        return job.status is JobStatus.SUCCEEDED and len(job.images) == job.request["num_images"]


def tensors_of(call: Call) -> Iterator[torch.Tensor]:
    values: list[Any] = [*call.args, *call.kwargs.values()]
    return (each for each in values if isinstance(each, torch.Tensor))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loop-models")
    tiny.write("sd15", folder / "tiny")
    (folder / "models.toml").write_text(MODELS)
    return folder


@pytest.mark.parametrize("examples", [6, pytest.param(300, marks=pytest.mark.long)])
def test_every_job_ends_once_and_leaves_nothing(redis: Redis, folder: Path, examples: int) -> None:
    Loop.redis, Loop.folder = redis, folder
    run_state_machine_as_test(
        Loop,
        settings=settings(
            max_examples=examples,
            phases=[Phase.reuse, Phase.generate],  # shrinking takes longer than a test may
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
