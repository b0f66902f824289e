"""The text of models.toml, or why it cannot be read; used by all processes, knows no models."""

from pathlib import Path

from darkroom.errors import DarkroomError
from darkroom.safe_files import refuse_what_waits


class ModelsFileError(DarkroomError):
    """models.toml cannot be read; the message names the entry and the field."""

    code = "models_file"


def text_of(path: Path) -> str:
    """What stands in models.toml. Raises ModelsFileError."""
    try:
        refuse_what_waits(path)
        return path.read_bytes().decode()
    except FileNotFoundError as error:
        raise ModelsFileError(
            f"There is no file {path}. Name the one that lists your models: --models FILE or "
            "DARKROOM_MODELS; docs/models.md says what is in it."
        ) from error
    except OSError as error:
        raise ModelsFileError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ModelsFileError(f"{path} is no text in UTF-8.") from error
