"""What went wrong, in sentences for people at the command line; knows no HTTP."""

from darkroom.client.refusals import RefusedError, UnreachableError
from darkroom.errors import DarkroomError


def told(error: DarkroomError) -> str:
    """The error with a line per wrong field, and what to do about it here."""
    if isinstance(error, UnreachableError):
        return f"{error} Start one with `darkroom up`, or name another with --url or DARKROOM_URL."
    if not isinstance(error, RefusedError):
        return str(error)
    lines = [f"{e.pointer.lstrip('/') or 'the request'}: {e.detail}" for e in error.errors]
    lines = lines or [str(error)]
    if error.status == 401:
        lines.append(
            "Give one with --key or DARKROOM_KEY; where Darkroom runs, `darkroom keys create NAME` "
            "makes one."
        )
    if error.retry_s is not None:
        lines.append(f"Try again in {error.retry_s:g} s.")
    return "\n".join(lines)
