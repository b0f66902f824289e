"""What a Darkroom, or what stands in its place, refuses a client; knows HTTP, sends nothing."""

from collections.abc import Mapping
from typing import Any, TypeVar, cast

import httpx2

from darkroom import errors, webhook
from darkroom.errors import DarkroomError, FieldError

Base = TypeVar("Base", bound=DarkroomError)

PASSING = frozenset({429, 502, 503, 504})
"""Statuses after which a repeat may succeed, where nothing else is said: proxies have no codes."""


class NoServiceError(DarkroomError):
    """Nothing that is a Darkroom answers at the URL."""

    code: str = "no_service"


class UnreachableError(NoServiceError):
    """Nothing answers there at all. `retryable` if something has before: it may be restarting."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class ConnectionLostError(NoServiceError):
    """It broke before the answer came: the request may or may not have been carried out."""

    retryable = True


class RefusedError(DarkroomError):
    """The service refused: `code` and `retryable` are those of the problem document.

    Where `darkroom.errors` has a class with that code, the error is one of it, too, so that
    `except QueueFullError` catches it."""

    status: int
    """Of HTTP."""
    errors: tuple[FieldError, ...]
    """What is wrong in the request, field by field."""
    near: tuple[str, ...]
    """Of a name that nothing has: those most like it, best first."""
    retry_s: float | None
    """Seconds after which to ask again, as the service said; null if it did not."""
    request_id: str
    """What to quote where the service runs."""
    job_id: str | None
    """The job that it is about, if it is about one that exists."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "http_error",
        status: int = 0,
        problem: Mapping[str, Any] | None = None,
        retry_s: float | None = None,
    ) -> None:
        """Raises KeyError, TypeError, AttributeError for what is no problem document."""
        Exception.__init__(self, message)  # a class of the tree may ask for other arguments
        told = problem or {}
        self.code = code
        self.status = status
        self.retryable = bool(told.get("retryable", status in PASSING))
        self.errors = tuple(
            FieldError(str(each["pointer"]), str(each["detail"]), str(each.get("code", "")))
            for each in told.get("errors", ())
        )
        self.near = tuple(map(str, told.get("near", ())))
        self.retry_s = retry_s
        self.request_id = str(told.get("request_id", ""))
        self.job_id = told.get("job")


def refusal(answer: httpx2.Response, key_from: str = "") -> RefusedError:
    """The answer as an error: what its problem document (RFC 9457) says, or that it has none.
    `key_from`: where the key that was sent comes from; empty where none was, or nobody said."""
    status, retry_s = answer.status_code, _seconds(answer.headers.get("retry-after", ""))
    try:
        problem = answer.json()
        code = str(problem.get("code", "http_error"))
        detail = str(problem.get("detail") or problem["title"])
        if code == "not_found":  # a client asks for nothing else than this
            detail = (
                f"{answer.url} is no path of a Darkroom. Is the address right? It ends at the port."
            )
        if status == 401 and key_from:
            detail += f" The key that was sent is from {key_from}."
        kind: type[RefusedError] = of_code(code, RefusedError)
        return kind(detail, code=code, status=status, problem=problem, retry_s=retry_s)
    except (ValueError, KeyError, TypeError, AttributeError):
        said = f"{status} {answer.reason_phrase}".strip()
        detail = f"The service answered {said}, and not as a Darkroom does. Is the address right?"
        return RefusedError(detail, status=status, retry_s=retry_s)


def of_code(code: str, base: type[Base]) -> type[Base]:
    """`base`, or what is that and the class with this code, if there is one."""
    cls = _BY_CODE.get(code)
    if cls is None:
        return base
    return cast(type[Base], type(cls.__name__, (base, cls), {"__module__": __name__}))


def _seconds(retry_after: str) -> float | None:
    """A date, which HTTP allows too, is nothing that a Darkroom sends."""
    return float(retry_after) if retry_after.isdecimal() else None


_BY_CODE = {
    cls.code: cls
    for module in (errors, webhook)
    for cls in vars(module).values()
    if isinstance(cls, type) and issubclass(cls, DarkroomError) and cls.code != DarkroomError.code
}
