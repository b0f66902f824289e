"""What happens to a job after its last model call: encode, store, commit; in a pool of threads.

A picture is stored before its job is committed. Files of an attempt that lost its lease are
deleted here or, if this process dies first, swept by the keeper.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from darkroom import logs
from darkroom.back_off import AFTER_A_FAULT_S
from darkroom.encoding import encode
from darkroom.errors import (
    QueueUnavailableError,
    SafetyBlockedError,
    StoreUnavailableError,
    UnsupportedError,
)
from darkroom.images import ImageStore
from darkroom.job import ImageRecord, JobError, JobStatus, new_image_id
from darkroom.provenance import describe, least
from darkroom.queue.queue import Queue
from darkroom.request import MetadataLevel
from worker.at_work import AtWork
from worker.held import HeldJobs
from worker.job_errors import unexpected
from worker.running import RunningJob
from worker.vital import or_exit

log = logs.get("finish")

THREADS = 4


class Finisher:
    """Finishes jobs while the engine goes on with others; each is held until its last write."""

    def __init__(
        self,
        jobs: Queue,
        store: ImageStore,
        held: HeldJobs,
        metadata: MetadataLevel,
        store_is_full: threading.Event,
        at_work: AtWork,
    ) -> None:
        """`metadata` is the most that may be written into a picture. Sets `store_is_full` when one
        could not be stored. `at_work`: told of each picture that is being encoded."""
        self._jobs, self._store, self._held = jobs, store, held
        self._metadata: MetadataLevel = metadata
        self._store_is_full, self._at_work = store_is_full, at_work
        self._pool = ThreadPoolExecutor(THREADS, "finish")
        self._succeeded = 0
        self._lock = threading.Lock()

    @property
    def succeeded(self) -> int:
        """Jobs that ended well."""
        return self._succeeded

    def succeed(
        self,
        job: RunningJob,
        pictures: Sequence[np.ndarray],
        reproducibility: dict[str, object],
    ) -> None:
        """Store `pictures` (uint8, height x width x 3 or x 4 each) and commit the job."""
        self._submit(job, lambda: self._save(job, pictures, reproducibility))

    def fail(self, job: RunningJob, error: JobError) -> None:
        self._submit(job, lambda: self._commit(job, JobStatus.FAILED, error=error))

    def cancel(self, job: RunningJob, error: JobError) -> None:
        self._submit(job, lambda: self._commit(job, JobStatus.CANCELED, error=error))

    def give_back(self, job: RunningJob) -> None:
        """Back to the head of its queue; the attempt does not count."""
        self._submit(job, lambda: self._release(job))

    def _submit(self, job: RunningJob, work: Callable[[], str]) -> None:
        self._pool.submit(self._do, job, work)

    def _do(self, job: RunningJob, work: Callable[[], str]) -> None:
        # Who cannot end a job leaves it to another engine.
        with or_exit("finish", job_id=job.id):
            outcome = self._do_or_fail(job, work)
            log.info(
                "job_ended",
                job_id=job.id,
                outcome=outcome,
                attempt=job.claim.attempt,
                model=job.model,
                total_s=job.timings().total,
            )
            with self._lock:
                self._succeeded += outcome == "succeeded"
            self._held.remove(job)

    def _do_or_fail(self, job: RunningJob, work: Callable[[], str]) -> str:
        """A job whose pictures cannot be saved fails, and does not come back for ever."""
        try:
            return work()
        except UnsupportedError as error:
            reason = JobError(code=error.code, message=str(error))
            return self._commit(job, JobStatus.FAILED, error=reason)
        except Exception as error:
            log.exception("save_failed", job_id=job.id)
            return self._commit(job, JobStatus.FAILED, error=unexpected(error))

    def _save(
        self,
        job: RunningJob,
        pictures: Sequence[np.ndarray],
        reproducibility: dict[str, object],
    ) -> str:
        job.enter("save")
        records: list[ImageRecord] = []
        try:
            for index, picture in enumerate(pictures):
                number = index * job.request.num_images // len(pictures)  # layers share one
                if job.flagged and job.flagged[index]:
                    records.append(_withheld_record(job, number, picture))
                else:
                    records.append(self._store_picture(job, number, picture, reproducibility))
        except StoreUnavailableError as error:
            log.error("store_unavailable", job_id=job.id, reason=str(error))
            self._store_is_full.set()
            self._discard(records)
            return self._release(job)
        reason = _why_blocked(job)
        status = JobStatus.FAILED if reason else JobStatus.SUCCEEDED
        outcome = self._commit(job, status, images=records, error=reason)
        if outcome == "fenced":
            self._discard(records)
        return outcome

    def _store_picture(
        self, job: RunningJob, number: int, picture: np.ndarray, reproducibility: dict[str, object]
    ) -> ImageRecord:
        output = job.request.output
        # As it was stored: posted back it is accepted, with all its defaults it may not be.
        told = describe(job.stored, number, least(output.metadata, self._metadata))
        with self._at_work.on(job.claim.token):
            encoded = encode(Image.fromarray(picture), output.format, output.quality, told)
        job.warn(encoded.warnings)
        image_id = new_image_id()
        self._store.put(image_id, encoded.data, output.format)
        return ImageRecord(
            id=image_id,
            url=f"/api/v1/images/{image_id}",
            width=picture.shape[1],
            height=picture.shape[0],
            seed=job.request.seed + number,
            format=output.format,
            bytes=len(encoded.data),
            sha256=hashlib.sha256(encoded.data).hexdigest(),
            flagged=None if job.flagged is None else False,
            reproducibility=reproducibility,
        )

    def _commit(
        self,
        job: RunningJob,
        status: JobStatus,
        *,
        images: Sequence[ImageRecord] = (),
        error: JobError | None = None,
    ) -> str:
        ended_well = status is JobStatus.SUCCEEDED

        def finish() -> str:
            with job.telling:
                return self._jobs.finish(
                    job.claim,
                    status,
                    images=images,
                    error=error,
                    warnings=job.warnings,
                    memory=job.memory,
                    timings=job.timings(),
                    progress=job.done if ended_well else job.progress,
                    news=[*job.news, job.done] if ended_well else job.news,
                    request=job.late_request,
                )

        outcome = self._until_answered(job, finish)
        return status if outcome in ("committed", "already") else outcome

    def _release(self, job: RunningJob) -> str:
        def release() -> str:
            spent = job.spent_so_far()
            return "released" if self._jobs.release(job.claim, spent) else "fenced"

        return self._until_answered(job, release)

    def _until_answered(self, job: RunningJob, ask: Callable[[], str]) -> str:
        """What was rendered is not thrown away because Redis is gone for a while: ask again
        until it answers, or until the job is known to belong to another engine."""
        while job.interrupt is None:
            try:
                return ask()
            except QueueUnavailableError as error:
                log.warning("queue_unavailable", job_id=job.id, reason=str(error))
                time.sleep(AFTER_A_FAULT_S)
        return "fenced"

    def _discard(self, records: Sequence[ImageRecord]) -> None:
        try:
            self._store.delete(record.id for record in records)
        except StoreUnavailableError as error:
            log.warning("left_for_the_keeper", reason=str(error))


def _withheld_record(job: RunningJob, number: int, picture: np.ndarray) -> ImageRecord:
    """The record of a picture that nobody gets to see and that is not stored."""
    return ImageRecord(
        id=new_image_id(),
        url=None,
        width=picture.shape[1],
        height=picture.shape[0],
        seed=job.request.seed + number,
        bytes=None,
        sha256=None,
        flagged=True,
    )


def _why_blocked(job: RunningJob) -> JobError | None:
    """Why a job fails whose pictures are all withheld; of some a warning says so."""
    count = sum(job.flagged or ())
    if count == 0:
        return None
    if job.flagged and all(job.flagged):
        message = "The safety checker flagged every picture of this job; none was kept."
        return JobError(code=SafetyBlockedError.code, message=message)
    were = "1 picture was" if count == 1 else f"{count} pictures were"
    job.warn([f"{were} withheld: flagged by the safety checker."])
    return None
