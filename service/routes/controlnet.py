"""Routes of A1111's extension ControlNet beside those of AUTOMATIC1111's API itself: which models
there are, and maps of pictures.

What depends on the model is told of the one that who asks has chosen there.
"""

import base64
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from darkroom.errors import FieldError, InvalidRequestError
from service.bodies import read_body, require_json
from service.departure import unless_gone
from service.dependencies import Here, Place, TheirJobs
from service.dialects import a1111_answers
from service.dialects import a1111_requests as requests
from service.dialects.a1111_controlnet import MODULES
from service.pictures.messages import ControlMap
from service.routes.a1111 import chosen, offer_of

PREFIX = "/controlnet"
router = APIRouter(prefix=PREFIX, include_in_schema=False)
write_error = a1111_answers.write_error

_PICTURES = frozenset({"controlnet_images", "controlnet_input_images"})


class _Detect(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    module: str = Field("none", alias="controlnet_module")
    images: list[str] = Field([], alias="controlnet_images", max_length=8)
    input_images: list[str] = Field([], alias="controlnet_input_images", max_length=8)


@router.get("/version")
async def read_version() -> dict[str, int]:
    """Of the API of the extension."""
    return {"version": 3}


@router.get("/model_list")
async def list_models(here: Here, jobs: TheirJobs) -> dict[str, list[str]]:
    """ControlNets of the model."""
    _, offer = await offer_of(here, await chosen(jobs))
    return {"model_list": list(offer.controlnets)}


@router.get("/module_list")
async def list_modules() -> dict[str, list[str]]:
    """What makes maps of pictures."""
    return {"module_list": list(MODULES)}


@router.get("/control_types")
async def list_types(here: Here, jobs: TheirJobs) -> dict[str, Any]:
    """Both, together."""
    models = ["None", *(await list_models(here, jobs))["model_list"]]
    everything = {
        "module_list": list(MODULES),
        "model_list": models,
        "default_option": "none",
        "default_model": "None",
    }
    return {"control_types": {"All": everything}}


@router.post("/detect", dependencies=[Place])
async def detect(http: Request, here: Here, jobs: TheirJobs) -> dict[str, Any]:
    """The maps of pictures; nothing is kept."""
    require_json(http)
    fields, _ = await read_body(http, int(here.settings.max_json_kb * 2**10), _PICTURES)
    asked = requests.checked(_Detect, fields)
    if asked.module not in MODULES[1:]:
        detail = f"Must be one of: {', '.join(MODULES[1:])}."
        raise InvalidRequestError([FieldError("/controlnet_module", detail, "not_one_of")])
    maps = []
    for image in (*asked.images, *asked.input_images):
        made = jobs.control_map(image, "#ffffff", ControlMap(asked.module, None))
        maps.append(base64.b64encode(await unless_gone(http, made)).decode())
    return {"images": maps, "info": "Success"}
