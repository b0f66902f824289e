"""Messages of the Model Context Protocol, JSON-RPC: read, checked and answered; in the service,
knows no tool.

Two generations are spoken: the current one, whose requests each say all there is to know of their
client, and the earlier one, which begins with `initialize`. Neither is remembered from one request
to the next: https://modelcontextprotocol.io/specification/2026-07-28
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from fastapi.sse import format_sse_event
from starlette.datastructures import Headers

from darkroom import __version__
from darkroom.errors import MalformedRequestError
from service.errors import Fault

CURRENT = "2026-07-28"
EARLIER = ("2025-11-25", "2025-06-18")
"""Those of the earlier generation, newest first."""
TASKS = "io.modelcontextprotocol/tasks"
"""The extension by which calls become tasks."""
SERVER = {"name": "darkroom", "title": "Darkroom", "version": __version__}

PARSE_ERROR, INVALID_REQUEST, NO_METHOD, INVALID_PARAMS = -32700, -32600, -32601, -32602
INTERNAL = -32603
HEADER_MISMATCH, LACKS_CAPABILITY, UNKNOWN_VERSION = -32020, -32021, -32022

_STATUS = {INTERNAL: 200, NO_METHOD: 404}
"""Of answers of the current generation, by the code of their error; others are 400."""
_VERSION, _CAPABILITIES, _SERVER = (
    f"io.modelcontextprotocol/{name}"
    for name in ("protocolVersion", "clientCapabilities", "serverInfo")
)
_NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""Methods whose requests repeat this parameter in the header `Mcp-Name`."""

Id = str | int


class MessageError(MalformedRequestError):
    """What is wrong with a message, by the protocol's own code."""

    def __init__(self, rpc: int, text: str, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(text)
        self.rpc = rpc
        self.data = data


@dataclass(frozen=True)
class Message:
    """A request, or a notification, which has no id."""

    method: str
    id: Id | None
    params: Mapping[str, Any]
    version: str
    capabilities: Mapping[str, Any]
    """What its client says that it can; of the earlier generation nothing."""

    @property
    def is_current(self) -> bool:
        return self.version == CURRENT

    @property
    def takes_tasks(self) -> bool:
        extensions = self.capabilities.get("extensions")
        return isinstance(extensions, Mapping) and TASKS in extensions

    @property
    def progress_token(self) -> Id | None:
        """By which its client wants to be told how far it is."""
        token = _meta(self.params).get("progressToken")
        return token if _is_id(token) else None

    def text(self, name: str) -> str:
        """A parameter that must be there. Raises MessageError."""
        value = self.params.get(name)
        if not isinstance(value, str):
            raise MessageError(INVALID_PARAMS, f"The parameter {name!r} must be text.")
        return value

    def require_tasks(self) -> None:
        """Raises MessageError."""
        if not self.takes_tasks:
            text = f"The client does not declare the extension {TASKS}."
            lacking: dict[str, Any] = {"extensions": {TASKS: {}}}
            raise MessageError(LACKS_CAPABILITY, text, {"requiredCapabilities": lacking})


def id_of(body: Mapping[str, Any]) -> Id | None:
    """The id of a message, even if all else of it is wrong."""
    found = body.get("id")
    return found if _is_id(found) else None


def read_message(body: Mapping[str, Any], headers: Headers) -> Message:
    """Raises MessageError."""
    method, params = body.get("method"), body.get("params", {})
    if body.get("jsonrpc") != "2.0" or not isinstance(method, str):
        raise MessageError(INVALID_REQUEST, "This is no request or notification of JSON-RPC 2.0.")
    if "id" in body and id_of(body) is None:
        raise MessageError(INVALID_REQUEST, "The id must be text or a whole number.")
    if not isinstance(params, Mapping):
        raise MessageError(INVALID_REQUEST, "The parameters must be an object.")
    said, header = _meta(params).get(_VERSION), headers.get("mcp-protocol-version")
    if said is None and header in (None, *EARLIER):
        return Message(method, id_of(body), params, header or EARLIER[0], {})
    if said is None or "id" not in body:
        _require_version(header)
    if "id" not in body:
        return Message(method, None, params, CURRENT, {})
    capabilities = _meta(params).get(_CAPABILITIES)
    if not isinstance(said, str) or not isinstance(capabilities, Mapping):
        lacking = f"Each request must have {_VERSION} and {_CAPABILITIES} in its _meta."
        raise MessageError(INVALID_PARAMS, lacking)
    _check_headers(method, params, said, headers)
    _require_version(said)
    return Message(method, id_of(body), params, CURRENT, capabilities)


def _meta(params: Mapping[str, Any]) -> Mapping[str, Any]:
    found = params.get("_meta")
    return found if isinstance(found, Mapping) else {}


def _is_id(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _require_version(version: str | None) -> None:
    if version != CURRENT:
        known = {"supported": [CURRENT], "requested": version}
        raise MessageError(UNKNOWN_VERSION, "This version of the protocol is not spoken.", known)


def _check_headers(method: str, params: Mapping[str, Any], version: str, headers: Headers) -> None:
    """What stands in the head of a request for those on the way must be what its body says."""
    expected: dict[str, Any] = {"Mcp-Protocol-Version": version, "Mcp-Method": method}
    if method in _NAMED:
        expected["Mcp-Name"] = params.get(_NAMED[method])
    elif "taskId" in params and "mcp-name" in headers:
        expected["Mcp-Name"] = params["taskId"]
    for name, value in expected.items():
        given = headers.getlist(name)
        if isinstance(value, str) and [_decoded(each) for each in given] != [value]:
            detail = f"The header {name} must be there once and say what the body says."
            raise MessageError(HEADER_MISMATCH, detail)


def _decoded(value: str) -> str | None:
    """The text of a header, which may be written in base64."""
    if not (value.startswith("=?base64?") and value.endswith("?=")):
        return value
    try:
        return base64.b64decode(value[9:-2], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def result(message: Message, told: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a request."""
    if message.is_current:
        told = {"resultType": "complete", "_meta": {_SERVER: SERVER}} | dict(told)
    return {"jsonrpc": "2.0", "id": message.id, "result": told}


def cacheable(message: Message, told: dict[str, Any], seconds: int, scope: str) -> dict[str, Any]:
    """What a client may keep for so long; `public`: the same for all, or `private`."""
    hints = {"ttlMs": seconds * 1000, "cacheScope": scope}
    return told | (hints if message.is_current else {})


def error(rpc_id: Id | None, fault: MessageError) -> dict[str, Any]:
    """The answer to a message that is wrong."""
    about: dict[str, Any] = {"code": fault.rpc, "message": str(fault)}
    if fault.data:
        about["data"] = dict(fault.data)
    return {"jsonrpc": "2.0", "id": rpc_id, "error": about}


def error_response(message: Message | None, rpc_id: Id | None, fault: MessageError) -> Response:
    """The same with its status: clients of the earlier generation read no other than 200."""
    is_earlier = message is not None and not message.is_current
    status = 200 if is_earlier else _STATUS.get(fault.rpc, 400)
    return written(error(rpc_id, fault), status)


def of_fault(fault: Fault) -> MessageError:
    """A fault in the words of this protocol."""
    if fault.code == "malformed_request":
        rpc = PARSE_ERROR
    elif fault.code in ("not_found", "method_not_allowed"):
        rpc = INVALID_REQUEST
    else:
        rpc = INTERNAL if fault.status >= 429 else INVALID_PARAMS
    told = " ".join(f"{e.pointer.strip('/')}: {e.detail}" for e in fault.errors)
    return MessageError(rpc, told or fault.detail, {"code": fault.code})


def write_error(_: Request, fault: Fault) -> Response:
    """A fault of a request of which nothing was read, or whose id no longer matters."""
    return written(error(None, of_fault(fault)), fault.status)


def written(told: Mapping[str, Any], status: int = 200, headers: Any = None) -> Response:
    return Response(json.dumps(told), status, headers, "application/json")


def event(told: Mapping[str, Any]) -> bytes:
    """A message of a stream."""
    return format_sse_event(event="message", data_str=json.dumps(told))


def notification(method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": params}
