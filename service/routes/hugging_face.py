"""Hugging Face's inference endpoint for each model, as its clients speak it: a picture from a
prompt, or from a picture.

The answer to a call waits for its job. Unknown fields and query parameters are ignored, as there.
"""

import base64
from dataclasses import replace

from fastapi import APIRouter, Request, Response

from darkroom.foreign_names import meant, told_of_guess
from darkroom.job import Job
from service.bodies import read_body, require_json, require_uncompressed
from service.dependencies import Here, IdempotencyKey, Place, TheirJobs
from service.dialects import hugging_face as dialect
from service.dialects.calls import about, answer_of, headers_of, is_repeat
from service.dialects.hugging_face import Asked, Parameters
from service.dialects.pictures import in_bytes
from service.errors import answer
from service.negotiation import no_picture
from service.submission import Wanted, submit

PREFIX = "/hf"
router = APIRouter(prefix=PREFIX, include_in_schema=False)
write_error = dialect.write_error


@router.post("/{model_id:path}", dependencies=[Place])
async def infer(
    http: Request,
    here: Here,
    jobs: TheirJobs,
    model_id: str,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """One picture, as the bytes of a file in the format that `Accept` names first."""
    asked, size = await _asked(http, int(here.settings.max_json_kb * 2**10))
    name = meant(here.catalog, model_id)
    offer = await here.offer_of(name.model)
    output = dialect.format_of(http.headers.get("accept", ""))
    with dialect.by_their_names(asked):
        native, told = dialect.native_of(asked, offer, output)
        wanted = Wanted(
            native | {"model": name.model},
            size,
            idempotency_key,
            is_repeat=is_repeat(http.headers),
            warnings=(*told_of_guess(name, model_id), *told),
        )
        submitted = await submit(here, jobs, http, wanted)

    async def write(job: Job) -> Response:
        if not job.kept:
            fault = no_picture(job)
            # 502 and 503 ask to come again.
            fault = replace(fault, status=min(fault.status, 500))
            return answer(http, about(fault, job, is_final=True))
        content = await in_bytes(here.store, jobs, job.kept[0])
        kind = f"image/{job.kept[0].format}"
        return Response(content, 200, headers_of(submitted), kind)

    return await answer_of(http, jobs, submitted.job, write)


async def _asked(http: Request, most_text: int) -> tuple[Asked, int]:
    """What a body asks for, and its bytes: JSON, or a picture as it is where there is nothing
    to say of it; clients do not always say which. Raises HTTPException 415, and what reading JSON
    raises."""
    kind, raw = http.headers.get("content-type", "").lower(), await http.body()
    is_bare = kind.startswith(("image/", "application/octet-stream"))
    if is_bare or not (kind or raw.lstrip().startswith(b"{")):
        require_uncompressed(http)
        return Asked(None, base64.b64encode(raw).decode(), Parameters()), len(raw)
    require_json(http)
    fields, size = await read_body(http, most_text, dialect.PICTURES)
    return dialect.asked_of(fields), size
