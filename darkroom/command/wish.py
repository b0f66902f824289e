"""From the options of `darkroom generate` to a request, and to the names of its files; knows no
service."""

import base64
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from darkroom.images import SUFFIXES
from darkroom.job import IMAGE_ID, INPUT_ID, ImageRecord
from darkroom.provenance import request_of

_SIZE = re.compile(r"([0-9]+)(?:[xX]([0-9]+))?")
_URL = re.compile(r"https?://", re.IGNORECASE)
"""Of a picture, which the service fetches if it may."""
_OF_A_DARKROOM = re.compile(rf"://.*/api/v1/images/({IMAGE_ID.pattern})$", re.ASCII)
_FORMATS = {suffix: name for name, suffix in SUFFIXES.items()} | {".jpeg": "jpeg"}
LONGEST_NAME = 60


@dataclass(frozen=True)
class Wish:
    """The request and where its pictures go."""

    body: dict[str, Any]
    output: str | None

    @classmethod
    def of(
        cls,
        prompt: str | None,
        *,
        size: str | None = None,
        images: Sequence[str] = (),
        mask: str | None = None,
        controls: Sequence[str] = (),
        preprocess: str | None = None,
        loras: Sequence[str] = (),
        references: Sequence[str] = (),
        fields: Sequence[str] = (),
        output: str | None = None,
        image_format: str | None = None,
        replay: str | None = None,
        **values: Any,
    ) -> Self:
        """What is left out is for the service or, with `replay`, as it was for that picture.

        Raises ValueError for what cannot be right, DarkroomError for a file to replay that does
        not say how it was made."""
        body = request_of(_read("--replay", replay)) if replay else {}
        body |= {k: v for k, v in {"prompt": prompt, **values}.items() if v is not None}
        if image_format := image_format or _format_of(output):
            body["output"] = {**body.get("output", {}), "format": image_format}
        if size is not None:
            if not (match := _SIZE.fullmatch(size)):
                raise ValueError(f"--size is WIDTHxHEIGHT, such as 512x768, not {size!r}")
            body |= {"width": int(match[1]), "height": int(match[2] or match[1])}
        if images:
            pictures = [_picture("--image", each) for each in images]
            is_edit = body.get("task") == "edit" or len(pictures) > 1
            body |= {"images": pictures} if is_edit else {"image": pictures[0]}
        if mask is not None:
            body["mask_image"] = _picture("--mask", mask)
        if controls:
            body["controls"] = [_control(each, preprocess) for each in controls]
        if loras:
            body["loras"] = [_lora(each) for each in loras]
        if references:
            body["reference_images"] = [_picture("--reference", each) for each in references]
        for each in fields:
            set_field(body, each)
        for option, name in {"--strength": "strength", "--mask": "mask_image"}.items():
            if name in body and not {"image", "images"} & body.keys():
                raise ValueError(f"{option} needs --image")
        if preprocess and not controls:
            raise ValueError("--preprocess needs --control")
        check_format(output, body.get("output", {}).get("format", "png"))
        if output == "-" and body.get("num_images", 1) > 1:
            raise ValueError("standard output holds one picture, not several: leave out -o -")
        return cls(body, output)

    def files(self, images: Sequence[ImageRecord]) -> list[Path]:
        """A path for each picture. Chosen names never replace a file; a name that was asked for
        does."""
        folder = Path(self.output or ".")
        suffixes = [SUFFIXES[image.format] for image in images]
        if self.output is None or folder.is_dir() or self.output.endswith("/"):
            name = named(self.body.get("prompt", ""))
            return [
                unused_path(folder / f"{name}-{image.seed}{suffix}")
                for image, suffix in zip(images, suffixes, strict=True)
            ]
        if len(images) == 1:
            return [folder]
        suffix = folder.suffix or suffixes[0]
        return [folder.with_name(f"{folder.stem}-{n}{suffix}") for n in range(1, len(images) + 1)]


def _format_of(output: str | None) -> str | None:
    """What the ending of a file says; None where it says nothing, as that of a folder.

    Raises ValueError for the ending of no format."""
    if output in (None, "-", os.devnull) or output.endswith("/") or Path(output).is_dir():
        return None
    suffix = Path(output).suffix.lower()
    if suffix and suffix not in _FORMATS:
        raise ValueError(f"--output {output}: pictures end in {', '.join(sorted(_FORMATS))}")
    return _FORMATS.get(suffix)


def check_format(output: str | None, image_format: Any) -> None:
    """Raises ValueError for the name of a file that is not for pictures of this format."""
    named = _format_of(output)
    if named and named != image_format:
        raise ValueError(f"--output {output} is to hold {named}, but the format is {image_format}")


def _picture(option: str, file: str) -> str:
    named = INPUT_ID.fullmatch(file) or IMAGE_ID.fullmatch(file) or _URL.match(file)
    if made := _OF_A_DARKROOM.search(file):
        raise ValueError(
            f"{option} {file}: what the service made need not be fetched; name its id: {made[1]}"
        )
    return file if named else base64.b64encode(_read(option, file)).decode()


def _control(text: str, preprocess: str | None) -> dict[str, Any]:
    name, given, file = text.partition("=")
    if not given:
        raise ValueError(f"--control is NAME=FILE, such as canny=edges.png, not {text!r}")
    control = {"name": name, "image": _picture("--control", file)}
    return control | ({"preprocess": preprocess} if preprocess else {})


def _lora(text: str) -> dict[str, Any]:
    name, _, scale = text.partition(":")
    try:
        return {"name": name, "scale": float(scale)} if scale else {"name": name}
    except ValueError:
        raise ValueError(f"--lora is NAME or NAME:SCALE, such as ink:0.8, not {text!r}") from None


def set_field(body: dict[str, Any], text: str) -> None:
    """`scheduler_options.sigmas=karras`: a value is JSON or, where it is none, text.

    Raises ValueError."""
    path, given, value = text.partition("=")
    if not given:
        raise ValueError(f"--field is FIELD=VALUE, such as clip_skip=1, not {text!r}")
    *parents, name = path.split(".")
    for parent in parents:
        inner = body.get(parent)
        body[parent] = body = dict(inner) if isinstance(inner, dict) else {}
    body[name] = value_of(value)


def value_of(text: str) -> Any:
    """JSON or, where it is none, text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _read(option: str, file: str) -> bytes:
    if "://" in file:
        raise ValueError(f"{option} {file}: nothing is fetched from such a URL; name a file")
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise ValueError(f"{option} {file}: {error.strerror}") from error


def named(prompt: str) -> str:
    """A name for files of what a prompt shows."""
    return re.sub(r"\W+", "-", prompt.lower()).strip("-")[:LONGEST_NAME] or "picture"


def unused_path(path: Path) -> Path:
    if not path.exists():
        return path
    numbers = (path.with_stem(f"{path.stem}-{n}") for n in range(2, 1_000_000))
    return next(candidate for candidate in numbers if not candidate.exists())
