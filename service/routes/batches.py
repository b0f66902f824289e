"""Batches: jobs that are asked for together, read, canceled and deleted as one."""

from typing import Any

from fastapi import APIRouter, Request, Response

from darkroom.batch import Batch
from service.batch_documentation import BATCH_BODY, BATCH_OR_DRY_RUN
from service.batch_submission import submit_batch
from service.bodies import read_body, require_json
from service.conditions import require_match
from service.dependencies import (
    BatchId,
    Here,
    IdempotencyKey,
    IfMatch,
    IfNoneMatch,
    IsDryRun,
    TheirBatches,
)
from service.dry_run import foresee_batch
from service.negotiation import unless_known
from service.problems import Responses, problems
from service.rates import note
from service.responses import POLL_AFTER_S, etag
from service.routes.submissions import REFUSALS
from service.submission import Wanted

router = APIRouter(tags=["jobs"])

_GONE = ("batch_not_found", "queue_unavailable", "precondition_failed")
_AS_YOU_HAVE_IT: Responses = {304: {"description": "It is as you have it."}}
_ENDED_ALREADY: Responses = {200: {"model": Batch, "description": "All of it had ended already."}}
_NOT_OF_A_BATCH = ("model_not_found",)
"""A field of a job, there."""


@router.post(
    "/jobs/batch",
    status_code=202,
    response_model=Batch,
    responses=BATCH_OR_DRY_RUN | problems(*(c for c in REFUSALS if c not in _NOT_OF_A_BATCH)),
    openapi_extra=BATCH_BODY,
)
async def create_batch(
    http: Request,
    here: Here,
    batches: TheirBatches,
    dry_run: IsDryRun = False,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Ask for several jobs: a list of requests (`jobs`), or one request with lists of values for
    some of its fields (`grid`), of which each combination becomes a job. All are accepted, or none.

    The jobs come in the order of the list, or with the last field of the grid changing fastest. In
    a grid all else is the same in all jobs, the seed too, drawn once if none is given; a null in
    `grid.seed` draws one for that job. Each job counts for the limits of a key, as a request too.
    A request sent again with the same `Idempotency-Key` within 24 hours returns the same batch.

    With `dry_run=true` nothing is stored: the answer tells what would come of it, job by job.
    """
    require_json(http)
    body, size = await read_body(http, int(here.settings.max_json_kb * 2**10))
    wanted = Wanted(body, size, idempotency_key)
    if dry_run:
        told = await foresee_batch(here, batches, http, wanted)
        headers = {"Cache-Control": "private, no-store"}
        return Response(told.model_dump_json(), 200, headers, "application/json")
    submitted = await submit_batch(here, batches, http, wanted)
    if submitted.rate:
        note(http.scope, submitted.rate)
    headers = {"Location": submitted.batch.urls.self_}
    if submitted.replayed:
        headers["Idempotency-Replayed"] = "true"
    return _response(submitted.batch, 202, **headers)


@router.get(
    "/batches/{batch_id}",
    response_model=Batch,
    responses=_AS_YOU_HAVE_IT | problems(*_GONE),
)
async def read_batch(
    http: Request,
    batches: TheirBatches,
    batch_id: BatchId,
    if_none_match: IfNoneMatch = None,  # noqa: ARG001
) -> Response:
    """A batch: how many of its jobs are in which status, and each of them in short. `ETag` names
    this state of it."""
    return unless_known(http, _response(await batches.fetch(batch_id)))


@router.post(
    "/batches/{batch_id}/cancel",
    status_code=202,
    response_model=Batch,
    responses=_ENDED_ALREADY | problems(*_GONE),
)
async def cancel_batch(
    http: Request,
    batches: TheirBatches,
    batch_id: BatchId,
    if_match: IfMatch = None,  # noqa: ARG001
) -> Response:
    """Cancel what of a batch has not ended. Asking again changes nothing."""
    batch = await batches.fetch(batch_id)
    require_match(http.headers, _etag(batch))
    return _response(await batches.cancel(batch_id), 200 if batch.done else 202)


@router.delete("/batches/{batch_id}", status_code=204, responses=problems(*_GONE))
async def delete_batch(
    http: Request,
    batches: TheirBatches,
    batch_id: BatchId,
    if_match: IfMatch = None,
) -> Response:
    """Delete the jobs of a batch and their pictures; what has not ended is canceled first."""
    if if_match is not None:
        require_match(http.headers, _etag(await batches.fetch(batch_id)))
    await batches.delete(batch_id)
    return Response(status_code=204)


def _response(batch: Batch, status: int = 200, **headers: str) -> Response:
    """A batch with its ETag and, until it is done, a hint when to ask again."""
    more: dict[str, Any] = {"ETag": _etag(batch), "Cache-Control": "private, no-cache"}
    if not batch.done:
        more["Retry-After"] = str(POLL_AFTER_S)
    return Response(_body(batch), status, headers | more, "application/json")


def _etag(batch: Batch) -> str:
    return etag(_body(batch))


def _body(batch: Batch) -> bytes:
    return batch.model_dump_json(by_alias=True).encode()
