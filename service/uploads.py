"""A picture as the body of a request: itself, or as the file of a form; in the service only."""

from anyio import to_thread
from fastapi import Request
from starlette.exceptions import HTTPException

from darkroom.errors import InvalidImageError
from service.forms import FIELD, file_in, is_form

_RAW = ("application/octet-stream", "image/")

_BYTES = {"schema": {"type": "string", "format": "binary"}}
PICTURE_BODY = {
    "requestBody": {
        "required": True,
        "description": "A picture in PNG, JPEG or WebP: itself, or as the field `file` of a form.",
        "content": {
            "image/png": _BYTES,
            "image/jpeg": _BYTES,
            "image/webp": _BYTES,
            "application/octet-stream": _BYTES,
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {FIELD: {"type": "string", "format": "binary"}},
                    "required": [FIELD],
                    "additionalProperties": False,
                }
            },
        },
    }
}


async def read_picture(http: Request) -> bytes:
    """The bytes of the picture that a request brings, whatever they are. What the body is called
    is not believed.

    Raises HTTPException (415), MalformedRequestError, InvalidRequestError, InvalidImageError."""
    given = http.headers.get("content-type", "")
    declared = given.partition(";")[0].strip().lower()
    from_a_program = not declared and "origin" not in http.headers
    if not (is_form(given) or from_a_program or declared.startswith(_RAW)):
        raise HTTPException(
            415,
            "Send the picture itself as image/png, image/jpeg, image/webp or "
            "application/octet-stream, or as a form, multipart/form-data.",
        )
    if http.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise HTTPException(415, "Send the picture as it is, without the header Content-Encoding.")
    body = await http.body()
    if is_form(given):
        body = await to_thread.run_sync(file_in, body, given)
    if not body:
        raise InvalidImageError("The body is empty; send a picture.")
    return body
