"""What `worker.check` prints of each model and the command line reads; knows no torch."""

from pydantic import BaseModel

from darkroom.offers import ModelRecord


class Checked(BaseModel):
    """What came of loading a model and making a picture with it."""

    record: ModelRecord
    picture_s: float | None = None
    """Seconds that a picture of few steps took; null if none was made."""
    peak_bytes: int | None = None
    """The most memory in use: of the device, or of the process on a CPU."""
