"""Errors without the frames they passed through, which hold tensors; knows no jobs."""

from collections.abc import Iterator
from typing import TypeVar

Error = TypeVar("Error", bound=BaseException)


def drop_frames(error: Error) -> Error:
    """The same error, and all that it came from, without tracebacks: each keeps every frame it
    passed alive, and with them their tensors, for as long as somebody keeps the error."""
    for each in _chain(error):
        each.__traceback__ = None
    return error


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            waiting += [each.__cause__, each.__context__]
            yield each
