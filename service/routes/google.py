"""Google's API of pictures, as its clients speak it: Imagen's `:predict`, Gemini's
`:generateContent`, models.

Google's own client asks for v1, most others for v1beta; both are one here.
The answer to a call waits for its job. Unknown fields and query parameters are ignored, as there.
"""

import json
from typing import Any

from fastapi import APIRouter, Request, Response

from darkroom.errors import NotFoundError
from darkroom.foreign_names import meant, told_of_guess
from darkroom.job import Job
from service.bodies import read_body, require_json
from service.dependencies import Here, IdempotencyKey, Place, TheirJobs
from service.dialects import google_answers as answers
from service.dialects import google_requests as requests
from service.dialects.calls import about, answer_of, headers_of, is_repeat
from service.dialects.pictures import in_base64, own
from service.errors import answer
from service.submission import Wanted, submit

PREFIX = "/google"
router = APIRouter(prefix=PREFIX, include_in_schema=False)
write_error = answers.write_error

_METHODS = {
    "predict": (requests.predicted, answers.predictions),
    "generateContent": (requests.generated, answers.candidates),
}
"""How the body of each is read, and its answer written."""


@router.post("/v1beta/models/{model_id:path}:{method}", dependencies=[Place])
@router.post("/v1/models/{model_id:path}:{method}", dependencies=[Place])
async def make(
    http: Request,
    here: Here,
    jobs: TheirJobs,
    model_id: str,
    method: str,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Pictures, from a prompt or, by `generateContent`, from pictures and a prompt."""
    if method not in _METHODS:
        raise NotFoundError(f"Models have no such method here, but {' and '.join(_METHODS)}.")
    read, written = _METHODS[method]
    require_json(http)
    most_text = int(here.settings.max_json_kb * 2**10)
    fields, size = await read_body(http, most_text, requests.PICTURES)
    asked = read(fields)
    name = meant(here.catalog, model_id)
    offer = await here.offer_of(name.model)
    images = [own(http, image) for image in asked.images]
    native, told = requests.native_of(asked, images, offer)
    wanted = Wanted(
        native | {"model": name.model},
        size,
        idempotency_key,
        is_repeat=is_repeat(http.headers),
        warnings=(*told_of_guess(name, model_id), *told),
    )
    submitted = await submit(here, jobs, http, wanted)

    async def write(job: Job) -> Response:
        if fault := answers.failure(job):
            return answer(http, about(fault, job, is_final=True))
        shown = [(each, await in_base64(here.store, jobs, each)) for each in job.kept]
        body = json.dumps(written(job, shown))
        return Response(body, 200, headers_of(submitted), "application/json")

    return await answer_of(http, jobs, submitted.job, write)


@router.get("/v1beta/models")
@router.get("/v1/models")
async def list_models(here: Here) -> dict[str, Any]:
    """The models that make pictures here, and the names that mean one of them, on one page."""
    offers = await here.all_offers()
    able = {each.card.name: answers.methods_of(each.tasks) for each in offers}
    return answers.models_body(here.catalog, able)


@router.get("/v1beta/models/{model_id:path}")
@router.get("/v1/models/{model_id:path}")
async def read_model(here: Here, model_id: str) -> dict[str, Any]:
    """A model, by any name that it can be asked by."""
    offer = await here.offer_of(meant(here.catalog, model_id).model)
    return answers.model_body(model_id, answers.methods_of(offer.tasks))
