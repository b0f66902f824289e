"""Tools of the Model Context Protocol: what each is called and takes, and the native body that
comes of a call; in the service, knows no jobs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from darkroom.errors import FieldError, InvalidRequestError
from darkroom.offers import Offer
from darkroom.request import MAX_EDITED
from service.dialects.edits import edit_by

LONGEST_WAIT_S = 50
"""Clients give a call up after a minute, as most are made."""
IMAGES, FILES = "darkroom://images/", "darkroom://files/"
"""What addresses of finished pictures and of kept files begin with."""
OWN_IMAGES = "/api/v1/images/"
PICTURES = frozenset({"image", "images", "mask_image"})
"""Arguments whose texts are pictures."""

_PICTURE = (
    "the uri or id of a picture that was made here (darkroom://images/img_..., img_...), the id of "
    "an uploaded file (file_...), a data URI, base64, or an https address"
)


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _whole(description: str, least: int, most: int | None = None) -> dict[str, Any]:
    bounds = {"minimum": least} | ({} if most is None else {"maximum": most})
    return {"type": "integer", **bounds, "description": description}


_WAIT = _whole(
    f"Seconds to wait for the end of the job, {LONGEST_WAIT_S} at most, which is what is taken "
    "where it is left out. 0 answers at once; get_job reads the job later.",
    0,
    LONGEST_WAIT_S,
)
_JOB_ID = _text("The id of a job, job_...")
_NEGATIVE = _text("What the picture should not show.")
_MAKING = {
    "model": _text("A name from list_models; left out: one that does the task."),
    "negative_prompt": _NEGATIVE,
    "num_images": _whole("How many pictures to make.", 1),
    "width": _whole("Pixels, within the limits of the model.", 1),
    "height": _whole("Pixels, within the limits of the model.", 1),
    "num_inference_steps": _whole("Denoising steps; left out: the model's usual number.", 1),
    "guidance_scale": {"type": "number", "description": "How strongly to follow the prompt."},
    "seed": _whole("The same seed with the same arguments makes the same picture.", 0),
    "scheduler": _text("A noise scheduler from list_models."),
    "loras": {
        "type": "array",
        "description": "LoRAs of the model to work with.",
        "items": {
            "type": "object",
            "properties": {"name": _text("From list_models."), "scale": {"type": "number"}},
            "required": ["name"],
        },
    },
}


@dataclass(frozen=True)
class Tool:
    """A tool. `makes`: the tasks that it makes pictures by, the wanted one first; none where it
    makes no pictures."""

    name: str
    title: str
    description: str
    arguments: Mapping[str, Any]
    required: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    hints: Mapping[str, bool] = field(default_factory=dict)

    @property
    def told(self) -> dict[str, Any]:
        """As clients are told of it."""
        schema = {"type": "object", "properties": dict(self.arguments)}
        if self.required:
            schema["required"] = list(self.required)
        hints = {"openWorldHint": False} | dict(self.hints)
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": schema,
            "annotations": hints,
        }


_MAKES = {"readOnlyHint": False, "destructiveHint": False}
_READS = {"readOnlyHint": True}

TOOLS = {
    tool.name: tool
    for tool in (
        Tool(
            "generate_image",
            "Generate a picture",
            "Make pictures from a prompt. The answer holds them, smaller where they are large, and "
            "links to the whole files; or the job, if it takes longer than wait_s.",
            {
                "prompt": _text("What the picture shows."),
                **_MAKING,
                "wait_s": _WAIT,
            },
            ("prompt",),
            ("text-to-image",),
            _MAKES,
        ),
        Tool(
            "edit_image",
            "Edit a picture",
            "Make a picture from others. Models that edit follow an instruction, such as 'make it "
            "night'; others need the whole result described, and warnings say so.",
            {
                "prompt": _text("What to change, or what the result shows."),
                "images": {
                    "type": "array",
                    "items": {"type": "string"},
                    "minItems": 1,
                    "maxItems": MAX_EDITED,
                    "description": f"The pictures, the one to change first; each is {_PICTURE}.",
                },
                "mask_image": _text(
                    f"A mask for the first picture, white where it may change: {_PICTURE}."
                ),
                "strength": {
                    "type": "number",
                    "minimum": 0,
                    "maximum": 1,
                    "description": "Of models that do not edit: 0 keeps the picture, 1 makes all "
                    "of it new.",
                },
                **_MAKING,
                "wait_s": _WAIT,
            },
            ("prompt", "images"),
            ("edit", "inpaint", "image-to-image"),
            _MAKES,
        ),
        Tool(
            "upscale_image",
            "Upscale a picture",
            "Make a picture four times larger on each side, by a model for that.",
            {
                "image": _text(f"The picture: {_PICTURE}."),
                "prompt": _text("What it shows, which helps some models."),
                **{
                    name: _MAKING[name]
                    for name in ("model", "negative_prompt", "num_inference_steps")
                },
                **{name: _MAKING[name] for name in ("guidance_scale", "seed", "scheduler")},
                "wait_s": _WAIT,
            },
            ("image",),
            ("upscale",),
            _MAKES,
        ),
        Tool(
            "list_models",
            "List models",
            "The models on offer: what each can do, its sizes, steps, schedulers and LoRAs.",
            {},
            hints=_READS,
        ),
        Tool(
            "get_job",
            "Get a job",
            "How far a job is, and its pictures once it has succeeded.",
            {"job_id": _JOB_ID, "wait_s": _WAIT},
            ("job_id",),
            hints=_READS,
        ),
        Tool(
            "cancel_job",
            "Cancel a job",
            "Stop a job that has not ended; one that runs stops at its next step.",
            {"job_id": _JOB_ID},
            ("job_id",),
            hints={"readOnlyHint": False, "destructiveHint": True, "idempotentHint": True},
        ),
    )
}


def known(tool: Tool, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The arguments that count, and what is to be told of others. Null is as good as left out.
    Raises InvalidRequestError where one is missing."""
    given = {name: value for name, value in arguments.items() if value is not None}
    errors = [
        FieldError(f"/{name}", "This argument is required.", "missing")
        for name in tool.required
        if name not in given
    ]
    if errors:
        raise InvalidRequestError(errors)
    strange = sorted(given.keys() - tool.arguments.keys())
    told = [f"Arguments that {tool.name} does not have are ignored: {', '.join(strange)[:200]}."]
    return {name: given[name] for name in tool.arguments if name in given}, told if strange else []


def wait_of(arguments: Mapping[str, Any]) -> float:
    """For how many seconds to wait. Raises InvalidRequestError."""
    wait_s = arguments.get("wait_s", LONGEST_WAIT_S)
    if isinstance(wait_s, bool) or not isinstance(wait_s, int | float) or not wait_s >= 0:
        detail = "Must be a number of seconds, 0 or more."
        raise InvalidRequestError([FieldError("/wait_s", detail, "wrong_type")])
    return min(wait_s, LONGEST_WAIT_S)


def native_of(
    tool: Tool, given: Mapping[str, Any], offer: Offer, own: Callable[[str], str]
) -> tuple[dict[str, Any], list[str]]:
    """The native body, and what is to be told of how it is made. `own` takes off an address what
    leads to this service. Raises InvalidRequestError."""
    body = {name: value for name, value in given.items() if name not in (*PICTURES, "wait_s")}
    if tool.makes[0] == "text-to-image":
        return body | {"task": "text-to-image"}, []
    if tool.makes[0] == "upscale":
        return body | {"task": "upscale", "image": _picture(given["image"], "/image", own)}, []
    images = [_picture(each, "/images", own) for each in _listed(given["images"])]
    mask = given.get("mask_image")
    mask = mask and _picture(mask, "/mask_image", own)
    by, told = edit_by(offer, images, mask, body.pop("strength", None))
    return body | by, told


def pick(tool: Tool, offers: Sequence[Offer]) -> Offer | None:
    """The first that does what the tool is there for; None where none is known to."""
    able = (each for each in offers if each.is_known and not each.refused)
    return next((each for each in able if tool.makes[0] in each.tasks), None)


def _listed(images: Any) -> list[Any]:
    """Models often write one picture where a list is asked for."""
    listed = images if isinstance(images, list) else [images]
    if not 1 <= len(listed) <= MAX_EDITED:
        detail = f"Must have 1 to {MAX_EDITED} entries."
        raise InvalidRequestError([FieldError("/images", detail, "out_of_range")])
    return listed


def _picture(given: Any, where: str, own: Callable[[str], str]) -> str:
    if not isinstance(given, str):
        raise InvalidRequestError([FieldError(where, "Must be text.", "wrong_type")])
    text = own(given)
    for scheme in (IMAGES, FILES, OWN_IMAGES):
        if text.startswith(scheme):  # behind it may stand a size, or a signature
            return text.removeprefix(scheme).partition("?")[0]
    return text
