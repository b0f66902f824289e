"""Replicate's API of predictions, as its clients speak it: made, waited for, read, listed.

A prediction is a job; its `version` is the name of a model. Unknown fields and query parameters are
ignored, as there.
"""

import asyncio
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from darkroom import predictions
from darkroom.errors import (
    BusyError,
    FieldError,
    InvalidRequestError,
    TooManyAtOnceError,
)
from darkroom.foreign_names import Meant, told_of_guess
from darkroom.job import Job
from darkroom.predictions import PREFIX
from service.access import Jobs
from service.bodies import read_body, require_json
from service.dependencies import Darkroom, Here, IdempotencyKey, JobId, Place, TheirJobs
from service.dialects import replicate_answers as answers
from service.dialects import replicate_requests as requests
from service.dialects.calls import JOB_HEADER, headers_of
from service.dialects.pictures import in_base64, own, root_of, signed
from service.dialects.replicate_requests import Asked, Body
from service.dialects.replicate_stream import events_of
from service.filters import Cursor
from service.routes.replicate_catalog import page_of, reply
from service.streaming import STREAM_HEADERS, wait_for_end
from service.submission import Wanted, submit
from service.webhooks import secret_of

router = APIRouter(prefix=PREFIX, include_in_schema=False)
write_error = answers.write_error

OUTPUT_HEADER = "X-Darkroom-Output"
"""`data` in it asks for pictures as data URIs in place of addresses."""
PAGE = 100


@router.post("/predictions", status_code=201)
async def create_prediction(
    http: Request, here: Here, jobs: TheirJobs, idempotency_key: IdempotencyKey = None
) -> Response:
    """Ask for pictures by the version of a model."""
    body, size = await _read(http, here)
    if not body.version:
        raise InvalidRequestError([FieldError("/version", "This field is required.", "missing")])
    name, exact = requests.parts_of(body.version)
    told = requests.model_meant(here.catalog, name, exact)
    return await _created(http, here, jobs, body, told, body.version, size, idempotency_key)


@router.post("/models/{owner}/{name}/predictions", status_code=201)
async def create_prediction_of_model(
    http: Request,
    here: Here,
    jobs: TheirJobs,
    owner: str,
    name: str,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Ask for pictures by the name of a model."""
    body, size = await _read(http, here)
    asked = f"{owner}/{name}"
    told = requests.model_meant(here.catalog, asked)
    return await _created(http, here, jobs, body, told, asked, size, idempotency_key)


@router.get("/predictions")
async def list_predictions(
    http: Request, here: Here, jobs: TheirJobs, cursor: Cursor = None
) -> Response:
    """Their predictions, newest first."""
    page = await jobs.page(model=None, limit=PAGE, cursor=cursor)
    paths = await signed(
        here, jobs.asker, (p for job in page.jobs for p in predictions.paths_of(job))
    )
    root = root_of(http)
    told = [predictions.prediction(job, root, paths) for job in page.jobs]
    return reply(page_of(told, f"{root}{PREFIX}/predictions", page.next_cursor))


@router.get("/predictions/{job_id}")
async def read_prediction(http: Request, here: Here, jobs: TheirJobs, job_id: JobId) -> Response:
    """A prediction, as it is now."""
    job = await jobs.fetch(job_id)
    return reply(await _shown(http, here, jobs, job), headers={JOB_HEADER: job.id})


@router.post("/predictions/{job_id}/cancel")
async def cancel_prediction(http: Request, here: Here, jobs: TheirJobs, job_id: JobId) -> Response:
    """Cancel a prediction; for one that has ended that changes nothing."""
    job = await jobs.cancel(job_id)
    return reply(await _shown(http, here, jobs, job), headers={JOB_HEADER: job.id})


@router.get("/predictions/{job_id}/stream", dependencies=[Place])
async def stream_prediction(http: Request, here: Here, jobs: TheirJobs, job_id: JobId) -> Response:
    """What becomes of a prediction, as server-sent events."""
    job = await jobs.fetch(job_id)

    async def outputs(job: Job) -> list[str]:
        return (await _shown(http, here, jobs, job))["output"] or []

    headers = {**STREAM_HEADERS, JOB_HEADER: job.id}
    return StreamingResponse(events_of(jobs, job, outputs), 200, headers, "text/event-stream")


async def _read(http: Request, here: Darkroom) -> tuple[Body, int]:
    require_json(http)
    most_text = int(here.settings.max_json_kb * 2**10)
    fields, size = await read_body(http, most_text, requests.PICTURES)
    return requests.body_of(fields), size


async def _created(
    http: Request,
    here: Darkroom,
    jobs: Jobs,
    body: Body,
    name: Meant,
    said: str,
    size: int,
    key: str | None,
) -> Response:
    """A new prediction; where the client waits for it, as soon as it has ended. One that has not
    by then is `starting`, whatever it does: clients take any other word for its end."""
    loop = asyncio.get_running_loop()
    wait_s = requests.wait_s(http.headers)
    until = loop.time() + wait_s
    wanted = await _wanted(http, here, body, name, said, size, key)
    if "webhook" in wanted.body and here.outbound:
        await secret_of(here, jobs.asker.owner)
    submitted = await submit(here, jobs, http, wanted)
    job = submitted.job
    if wait_s:
        with suppress(BusyError, TooManyAtOnceError), here.place(http):
            job = await wait_for_end(jobs, job, max(until - loop.time(), 0.0))
    told = await _shown(http, here, jobs, job)
    if wait_s and not job.status.terminal:
        told["status"] = "starting"
    return reply(told, 201, headers_of(submitted))


async def _wanted(
    http: Request,
    here: Darkroom,
    body: Body,
    name: Meant,
    said: str,
    size: int,
    key: str | None,
) -> Wanted:
    offer = await here.offer_of(name.model)
    asked = _with_own(http, requests.asked_of(body.input))
    native, told = requests.native_of(asked, offer)
    native["model"] = name.model
    webhook, more = requests.webhook_of(body, root_of(http))
    if webhook:
        native["webhook"] = webhook
    if (life_s := requests.life_s(http.headers)) is not None:
        native["deadline_s"] = life_s
    return Wanted(native, size, key, warnings=(*told_of_guess(name, said), *told, *more))


def _with_own(http: Request, asked: Asked) -> Asked:
    """With the ids of pictures in place of their addresses here."""
    files = f"{PREFIX}/files/"

    def named(text: str) -> str:
        return own(http, text).removeprefix(files)

    mask = named(asked.mask) if asked.mask else None
    return Asked(asked.input, tuple(map(named, asked.images)), mask)


async def _shown(http: Request, here: Darkroom, jobs: Jobs, job: Job) -> dict[str, Any]:
    """A job as a prediction, with its pictures as the client wants them."""
    paths = await signed(here, jobs.asker, predictions.paths_of(job))
    told = predictions.prediction(job, root_of(http), paths)
    if told["output"] and http.headers.get(OUTPUT_HEADER, "").strip().lower() == "data":
        told["output"] = [
            f"data:image/{image.format};base64,{await in_base64(here.store, jobs, image)}"
            for image in job.kept
        ]
    return told
