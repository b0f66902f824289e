"""What libraries say while they load something, and what they raise when they cannot; used by all
that reads files in the worker, knows neither models nor jobs."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError

from darkroom.errors import ModelLoadError

DAMAGED = (AttributeError, SafetensorError)
UNREADABLE = (OSError, ValueError, ImportError, RuntimeError, LookupError, TypeError, *DAMAGED)
"""What is raised over files that are missing, damaged, or of something else."""


class Complaints(logging.Handler):
    """What a library said while it loaded."""

    def __init__(self) -> None:
        super().__init__()
        self._said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record.getMessage())

    def about(self, phrase: str) -> str:
        return next((said.splitlines()[0] for said in self._said if phrase in said), "")

    def refuse_missing(self) -> None:
        """Both libraries only warn about weights that are not in the files, and fill in noise.

        Raises ModelLoadError."""
        if missing := self.about("newly initialized"):
            raise ModelLoadError(f"some weights are missing: {missing}")


@contextmanager
def strict_logs() -> Iterator[Complaints]:
    """Listen to the libraries instead of letting them print; silent ever after."""
    import diffusers  # takes seconds, and who only words an error needs neither
    import transformers

    complaints = Complaints()
    libraries = (diffusers.utils.logging, transformers.utils.logging)
    roots = [logging.getLogger(name) for name in ("diffusers", "transformers")]
    for library, root in zip(libraries, roots, strict=True):
        library.disable_default_handler()
        library.disable_progress_bar()
        library.set_verbosity_warning()
        root.addHandler(complaints)
    try:
        yield complaints
    finally:
        for library, root in zip(libraries, roots, strict=True):
            root.removeHandler(complaints)
            library.set_verbosity_error()


def reason_of(error: BaseException) -> str:
    """Why something could not be loaded, in words."""
    lines = first_lines(error)
    return f"damaged: {lines}" if isinstance(error, DAMAGED) else lines


def first_lines(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"
