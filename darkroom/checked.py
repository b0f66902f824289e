"""What a process that tries models tells of them, a line of JSON each time; used by `worker.check`
and the commands that start it, knows no torch."""

from pydantic import BaseModel, ConfigDict, TypeAdapter

from darkroom.model_record import ModelRecord


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Loading(_Told):
    """A model is being loaded."""

    name: str
    share: float = 0.0
    """0 to 1: how much of its weights has been read; 1: and what follows may take long as well."""


class Checked(_Told):
    """What came of loading a model and making a picture with it."""

    record: ModelRecord
    picture_s: float | None = None
    """Seconds that a picture of few steps took; null if none was made."""
    picture_width: int | None = None
    """Of that picture, in pixels: on a CPU a small one."""
    picture_height: int | None = None
    peak_bytes: int | None = None
    """The most memory in use: of the device, or of the process on a CPU."""


_LINE: TypeAdapter[Checked | Loading] = TypeAdapter(Checked | Loading)


def parse(line: bytes) -> Checked | Loading:
    """Raises pydantic.ValidationError for anything else."""
    return _LINE.validate_json(line)
