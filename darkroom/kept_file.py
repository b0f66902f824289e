"""A picture that a client keeps as a file: its fields; used by service and command line."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field

from darkroom.job import Frozen

FileKind = Literal["picture", "mask"]


class AboutFile(Frozen):
    """What a file is, whoever keeps it."""

    kind: FileKind
    """How it was read: picture, its colours; mask, white where to repaint."""
    width: int
    """Pixels, as it is kept: turned upright, and shrunk if it was too large."""
    height: int
    """Pixels."""
    bytes: int
    """Of what is kept, a PNG."""
    warnings: list[str] = Field([])
    """Sentences on what may not be as the client thinks."""


class FileUrls(BaseModel):
    """Where to ask about a file."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    self_: str = Field(alias="self")
    """The file's description."""
    content: str
    """The picture itself."""


class KeptFile(AboutFile):
    """A picture that a client uploaded, to be named wherever a picture is wanted."""

    id: str
    """`file_` and the SHA-256 of what is kept, in hexadecimal digits."""
    object: Literal["file"] = "file"
    """What this is."""
    format: Literal["png"] = "png"
    """How it is kept, however it was sent."""
    created_at: datetime
    """When it was uploaded first."""
    expires_at: datetime
    """When it is deleted, unless it is uploaded again; jobs that use it are not harmed."""

    @computed_field  # type: ignore[prop-decorator]  # as pydantic's documentation has it
    @property
    def sha256(self) -> str:
        """Hash of what is kept, in hexadecimal."""
        return self.id.removeprefix("file_")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def urls(self) -> FileUrls:
        """Where to ask about it."""
        here = f"/api/v1/files/{self.id}"
        return FileUrls(**{"self": here}, content=f"{here}/content")
