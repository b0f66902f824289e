"""The Model Context Protocol at `/mcp`, as agents speak it: tools that make pictures, tasks that
are jobs, pictures as resources.

Nothing is remembered between requests: any service answers any of them, before and after a restart.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request, Response

from darkroom.errors import DarkroomError, ExpiredError, ImageNotFoundError, NotFoundError
from darkroom.job import IMAGE_ID, Job
from service.bodies import read_body, require_json
from service.dependencies import Here, TheirJobs
from service.dialects import mcp_answers as answers
from service.dialects import mcp_messages as messages
from service.dialects.mcp_calls import Asking, call_tool
from service.dialects.mcp_listening import listen
from service.dialects.mcp_messages import CURRENT, EARLIER, SERVER, TASKS, Message, MessageError
from service.dialects.mcp_tools import IMAGES, PICTURES, TOOLS
from service.errors import fault_of
from service.gallery import image_page
from service.routes.images import LARGEST_WIDTH, LEAST_WIDTH

PREFIX = "/mcp"
router = APIRouter(prefix=PREFIX, include_in_schema=False)
write_error = messages.write_error

INSTRUCTIONS = (
    "Darkroom makes pictures with latent diffusion models. generate_image, edit_image and "
    "upscale_image queue a job and answer with its pictures, or with its job_id where it takes "
    "longer: then call get_job. Nothing is lost meanwhile. Pictures are named by their uri, "
    "darkroom://images/..., wherever a tool takes one; list_models tells what each model can do."
)
CURSOR = re.compile(r"[1-9][0-9]{0,14}(\.[0-9]{1,3})?", re.ASCII)
"""Of a page of resources, as `image_page` takes it."""
_PICTURE = re.compile(rf"{re.escape(IMAGES)}({IMAGE_ID.pattern})(?:\?w=([0-9]{{1,5}}))?", re.ASCII)
LISTED = 50
"""Pictures on a page of resources."""
SAME_FOR_S, KEPT_FOR_S = 3600, 86400
"""For how long clients may keep what only a new version changes, and a picture."""


@router.post("")
@router.post("/")
async def take_message(http: Request, here: Here, jobs: TheirJobs) -> Response:
    """One message; the answer is one, or a stream of them that ends with it."""
    require_json(http)
    body, size = await read_body(http, int(here.settings.max_json_kb * 2**10), PICTURES)
    message = None
    try:
        message = messages.read_message(body, http.headers)
        if message.id is None:  # nothing depends on one: who leaves closes the connection
            return Response(status_code=202)
        return await _method(message)(Asking(http, here, jobs, message, size))
    except DarkroomError as error:
        wrong = error if isinstance(error, MessageError) else messages.of_fault(fault_of(error))
        return messages.error_response(message, messages.id_of(body), wrong)


def _method(message: Message) -> "Method":
    methods = _METHODS | (_OF_CURRENT if message.is_current else _OF_EARLIER)
    if message.method not in methods:
        raise MessageError(messages.NO_METHOD, "There is no such method.")
    return methods[message.method]


async def _discover(asking: Asking) -> Response:
    told = _about() | {"supportedVersions": [CURRENT]}
    told["capabilities"] |= {"extensions": {TASKS: {}}}
    return _cacheable(asking, told, SAME_FOR_S, "public")


async def _initialize(asking: Asking) -> Response:
    """The version that its client asks for, or the newest of its generation."""
    wanted = asking.message.params.get("protocolVersion")
    version = wanted if wanted in EARLIER else EARLIER[0]
    return asking.answer(_about() | {"protocolVersion": version, "serverInfo": SERVER})


def _about() -> dict[str, Any]:
    return {"capabilities": {"tools": {}, "resources": {}}, "instructions": INSTRUCTIONS}


async def _ping(asking: Asking) -> Response:
    return asking.answer({})


async def _list_tools(asking: Asking) -> Response:
    told = {"tools": [tool.told for tool in TOOLS.values()]}
    return _cacheable(asking, told, SAME_FOR_S, "public")


async def _list_resources(asking: Asking) -> Response:
    """The newest pictures first."""
    cursor = asking.message.params.get("cursor")
    if cursor is not None and not (isinstance(cursor, str) and CURSOR.fullmatch(cursor)):
        raise MessageError(messages.INVALID_PARAMS, "This is no cursor of a list.")
    page = await image_page(asking.jobs, model=None, limit=LISTED, cursor=cursor)
    told: dict[str, Any] = {"resources": [answers.listed(image) for image in page.data]}
    if page.next_cursor:
        told["nextCursor"] = page.next_cursor
    return _cacheable(asking, told, 0, "private")


async def _list_templates(asking: Asking) -> Response:
    template = {
        "uriTemplate": f"{IMAGES}{{image_id}}{{?w}}",
        "name": "picture",
        "description": f"A finished picture; with w no wider, {LEAST_WIDTH} to {LARGEST_WIDTH}.",
    }
    return _cacheable(asking, {"resourceTemplates": [template]}, SAME_FOR_S, "public")


async def _read_resource(asking: Asking) -> Response:
    uri = asking.message.text("uri")
    image_id, width = _asked_picture(uri)
    try:
        image = await asking.jobs.find_image(image_id)
    except ImageNotFoundError:
        raise _no_resource(uri) from None
    told = {"contents": [await answers.contents(asking.here, uri, image, width)]}
    return _cacheable(asking, told, KEPT_FOR_S, "private")


def _asked_picture(uri: str) -> tuple[str, int | None]:
    """The id of a picture, and how wide it may be. Raises MessageError."""
    found = _PICTURE.fullmatch(uri)
    width = int(found[2]) if found and found[2] else None
    if not found or (width is not None and not LEAST_WIDTH <= width <= LARGEST_WIDTH):
        raise _no_resource(uri)
    return found[1], width


def _no_resource(uri: str) -> MessageError:
    about = {"uri": uri[:200]}
    return MessageError(messages.INVALID_PARAMS, "There is no such resource.", about)


async def _get_task(asking: Asking) -> Response:
    return asking.answer(await asking.task(await _task(asking)))


async def _update_task(asking: Asking) -> Response:
    """Tasks ask nothing of clients, so that no answer of theirs is waited for."""
    await _task(asking)
    return asking.answer({})


async def _cancel_task(asking: Asking) -> Response:
    job = await _task(asking)
    await asking.jobs.cancel(job.id)
    return asking.answer({})


async def _task(asking: Asking) -> Job:
    """The job that a request about a task is about. Raises MessageError."""
    asking.message.require_tasks()
    try:
        return await asking.fetch(asking.message.text("taskId"))
    except (NotFoundError, ExpiredError) as error:
        raise MessageError(messages.INVALID_PARAMS, f"No task: {error}") from None


def _cacheable(asking: Asking, told: dict[str, Any], seconds: int, scope: str) -> Response:
    return asking.answer(messages.cacheable(asking.message, told, seconds, scope))


Method = Callable[[Asking], Awaitable[Response]]
_METHODS: dict[str, Method] = {
    "tools/list": _list_tools,
    "tools/call": call_tool,
    "resources/list": _list_resources,
    "resources/templates/list": _list_templates,
    "resources/read": _read_resource,
}
_OF_CURRENT: dict[str, Method] = {
    "server/discover": _discover,
    "tasks/get": _get_task,
    "tasks/update": _update_task,
    "tasks/cancel": _cancel_task,
    "subscriptions/listen": listen,
}
_OF_EARLIER: dict[str, Method] = {"initialize": _initialize, "ping": _ping}
