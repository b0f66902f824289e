"""What libraries say while they load something, and what they raise when they cannot; used by all
that reads files in the worker, knows neither models nor jobs."""

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError

from darkroom import logs
from darkroom.errors import ModelLoadError

log = logs.get("libraries")

DAMAGED = (AttributeError, SafetensorError)
NO_TORCHVISION = "it needs torchvision, which is not installed: pip install -e '.[vision]'"
UNREADABLE = (
    OSError,
    ValueError,
    ImportError,
    RuntimeError,
    LookupError,
    TypeError,
    MemoryError,
    ArithmeticError,
    AssertionError,
    *DAMAGED,
)
"""What is raised over files that are missing, damaged, or of something else."""

HARMLESS = {
    r"Already found a `peft_config`": "several LoRAs in one network are meant",
    r"with `dtype=torch\.float16` cannot run with `cpu`": "they can",
    r"disabled the safety checker": "cards name the one that is wanted",
    r"should be kept in float32: \[\]": "none are",
    r"has been deprecated and will not receive": "it works in the pinned version",
    r"Attention backends are an experimental": "the card asks for one",
    r"falling back to `\w+ImageProcessorPil`": "it makes the same of pictures, slower",
}
"""What libraries say that means nothing here (regular expressions), and why it does not."""

UNUSED = re.compile(
    r"(^|\.)(position_ids|logit_scale|inv_freq)$"
    r"|^(vision_model|visual_projection|text_projection|decoder|lm_head)\b"
)
"""Weights that may be left over: positions that are counted anyway, and those parts of CLIP and T5
that do not encode text."""

_TIMELY = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ImportWarning)
"""Kinds of Python's warnings that speak of other versions of libraries, or of imports."""
_OF_WEIGHTS = re.compile(
    r"weight|key|param|layer|shape|size|module|adapter|lora|missing|unexpected|ignor|mismatch"
    r"|not used|checkpoint|initiali[sz]|state.?dict|config",
    re.IGNORECASE,
)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_ROW = re.compile(r"^(?P<key>\S+) *\| *(?P<status>[A-Z]+) *\|", re.MULTILINE)
_INVITATION = re.compile(
    r"weights_only|trust_remote_code|allow_pickle|use_safetensors ?= ?False|unpicklingerror",
    re.IGNORECASE,
)


class Complaints(logging.Handler):
    """What a library said while it loaded."""

    def __init__(self) -> None:
        super().__init__()
        self._said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.hear(record.getMessage())

    def hear(self, text: str) -> None:
        if (shown := _readable(text)) and not any(re.search(each, shown) for each in HARMLESS):
            self._said.append(shown)

    def about(self, phrase: str) -> str:
        return next((said for said in self._said if phrase in said), "")

    def of_weights(self) -> str | None:
        """The first that may mean that weights are not, or not all, at work."""
        return next((each for each in self._said if _OF_WEIGHTS.search(each)), None)

    def refuse_missing(self) -> None:
        """Both libraries only warn about weights that are not in the files, and fill in noise.

        Raises ModelLoadError."""
        if missing := self.about("newly initialized") or self.about(" missing"):
            raise ModelLoadError(f"some weights are missing: {missing}")

    def refuse_any(self) -> None:
        """Raises ModelLoadError if anything was said about weights."""
        self.refuse_missing()
        if said := self.of_weights():
            raise ModelLoadError(f"some of its weights may not be at work: {said}")

    def log_others(self) -> None:
        for said in self._said:
            if not _OF_WEIGHTS.search(said):
                log.warning("library_said", text=said)


@contextmanager
def strict_logs() -> Iterator[Complaints]:
    """Listen to the libraries, and to Python's warnings, instead of letting them print; the
    libraries are silent ever after."""
    import diffusers  # takes seconds, and who only words an error needs neither
    import transformers

    complaints = Complaints()
    libraries = (diffusers.utils.logging, transformers.utils.logging)
    roots = [logging.getLogger(name) for name in ("diffusers", "transformers", "peft")]
    for library in libraries:
        library.disable_default_handler()
        library.disable_progress_bar()
        library.set_verbosity_warning()
    for root in roots:
        root.addHandler(complaints)
    try:
        with _warnings_heard_by(complaints):
            yield complaints
    finally:
        for root in roots:
            root.removeHandler(complaints)
        for library in libraries:
            library.set_verbosity_error()
        complaints.log_others()


@contextmanager
def _warnings_heard_by(complaints: Complaints) -> Iterator[None]:
    def hear(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        if not issubclass(category, _TIMELY):
            complaints.hear(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = hear
        yield


def _readable(said: str) -> str:
    """In one line of which the end may be left out; of transformers' tables the rows that matter.
    Empty: none do."""
    said = _COLOURS.sub("", said)
    if "LOAD REPORT" not in said:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        return _shortened(" ".join(lines[: 2 if lines and lines[0].endswith(":") else 1]))
    rows = [row for row in _ROW.finditer(said) if row["key"] not in ("Key", "Status")]
    told = [
        f"{row['key']} {row['status'].lower()}"
        for row in rows
        if row["status"] != "UNEXPECTED" or not UNUSED.search(row["key"])
    ]
    network = said.split(maxsplit=1)[0]
    return _shortened(f"{network}: {', '.join(told)}") if told else ""


def _shortened(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:299]}…"


def reason_of(error: BaseException) -> str:
    """Why something could not be loaded, in words."""
    if isinstance(error, ImportError) and "torchvision" in str(error).lower():
        return NO_TORCHVISION
    lines = first_lines(error)
    return f"damaged: {lines}" if isinstance(error, DAMAGED) else lines


def first_lines(error: BaseException) -> str:
    """An error in one line. What a library raises over files that could run code often says how to
    let them; nobody is told that here."""
    text = _COLOURS.sub("", " ".join(str(error).split()))
    text = text.partition(" If you want to instead overwrite")[0]
    if _INVITATION.search(text):
        return "it could run code when it is read; only safetensors are loaded"
    return f"{type(error).__name__}: {text[:300]}"
