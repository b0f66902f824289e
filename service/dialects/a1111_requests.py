"""From a body of AUTOMATIC1111's API to one of the native API; in the service, knows no jobs.

Names, values and bounds are those of https://github.com/AUTOMATIC1111/stable-diffusion-webui, 1.10.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from darkroom.cards import StyleCard
from darkroom.catalog import Catalog
from darkroom.errors import FieldError, InvalidRequestError
from darkroom.families import diffusers_table
from darkroom.field_errors import field_errors
from darkroom.hires import LANCZOS, LATENT
from darkroom.offers import Offer
from darkroom.others_requests import file_stem
from darkroom.schedulers import layout, resolve
from darkroom.styles import apply
from service.dialects import a1111_undone
from service.dialects.edits import edit_by
from service.pictures.messages import Fit

TAG = "a1111"
"""Of all jobs that come this way: those that `progress` and `interrupt` are about."""
PICTURES = frozenset({"init_images", "mask", "image", "input_image", "mask_image", "data"})
"""Fields of a body whose texts are pictures."""

_TAKEN_WHERE_THERE = ("negative_prompt", "guidance_scale", "clip_skip")
"""Clients send these whatever the model is."""
_FORMATS = {"jpg": "jpeg"}
PLAIN_UPSCALERS = {"none": LANCZOS, "nearest": LANCZOS, "lanczos": LANCZOS}
"""Those that are no models."""
CONTROLNET = "controlnet"
"""The one of its scripts that there is here."""

Model = TypeVar("Model", bound=BaseModel)


class Options(BaseModel):
    """The options that count, of those that are kept and of those that one request overrides."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    model: str | None = Field(None, alias="sd_model_checkpoint", max_length=200)
    stops_at: int | None = Field(None, alias="CLIP_stop_at_last_layers", ge=1, le=12)
    format: Literal["png", "jpg", "jpeg", "webp"] | None = Field(None, alias="samples_format")

    def with_those_of(self, other: "Options") -> "Options":
        """These, and for what they leave open the others."""
        return other.model_copy(update=self.model_dump(exclude_none=True))

    @classmethod
    def names(cls) -> list[str]:
        """As clients call them."""
        return [str(field.alias) for field in cls.model_fields.values()]

    def by_alias(self) -> dict[str, Any]:
        """Those that are set, as clients call them."""
        return self.model_dump(by_alias=True, exclude_none=True)


class Asked(BaseModel):
    """The fields that count of a body that asks for pictures. Numbers may be texts."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    prompt: str = ""
    negative_prompt: str | None = None
    styles: list[Annotated[str, Field(max_length=200)]] = []
    seed: int | None = Field(None, ge=-1)
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    cfg_scale: float | None = None
    sampler_name: str | None = Field(None, max_length=100)
    sampler_index: str | None = Field(None, max_length=100)
    scheduler: str | None = Field(None, max_length=100)
    batch_size: int = Field(1, ge=1, le=100)
    n_iter: int = Field(1, ge=1, le=100)
    denoising_strength: float | None = None
    enable_hr: bool = False
    hr_scale: float = 2.0
    hr_resize_x: int = Field(0, ge=0)
    hr_resize_y: int = Field(0, ge=0)
    hr_upscaler: str | None = Field(None, max_length=200)
    hr_second_pass_steps: int | None = Field(None, ge=0)
    override_settings: Options = Options()
    send_images: bool = True
    alwayson_scripts: dict[str, Any] = {}
    init_images: list[str] = []
    mask: str | None = None
    mask_blur: int | None = None
    mask_blur_x: int | None = None
    mask_blur_y: int | None = None
    inpainting_fill: int | None = None
    inpainting_mask_invert: bool = False
    inpaint_full_res: bool = True
    inpaint_full_res_padding: int = Field(0, ge=0)
    include_init_images: bool = False
    resize_mode: Literal[0, 1, 2, 3] = 0
    image_cfg_scale: float | None = None
    eta: float | None = None
    # Not A1111's: by the names that all compatible APIs have here.
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    loras: list[Any] | None = None


def checked(cls: type[Model], fields: Mapping[str, Any]) -> Model:
    """The fields that count. What is null, or empty text, is as good as left out, since programs
    send it for what their users did not set. Raises InvalidRequestError."""
    said = {name: value for name, value in fields.items() if value is not None and value != ""}
    try:
        return cls.model_validate(said)
    except ValidationError as error:
        raise InvalidRequestError(field_errors(error, cls)) from None


def model_called(catalog: Catalog, name: str) -> str:
    """A model's name out of a title, which may have the ending of a file and a hash; as it stands
    where that is a name, or none is."""
    if catalog.has(name) or name in catalog.aliases:
        return name
    return stem if catalog.has(stem := file_stem(name)) else name


def ignored(fields: Mapping[str, Any]) -> list[str]:
    """What is to be told of fields that do nothing here."""
    return a1111_undone.of_pictures(fields, (CONTROLNET,), Options.names())


def txt2img(asked: Asked, options: Options, offer: Offer) -> tuple[dict[str, Any], list[str]]:
    """The native body of pictures from a prompt, and what is to be told of it. Raises
    InvalidRequestError."""
    body, told = _common(asked, options, offer, "text-to-image")
    if asked.enable_hr:
        body["hires"], how = _hires(asked, offer)
        told += how
    return body, told


def img2img(asked: Asked, options: Options, offer: Offer) -> tuple[dict[str, Any], list[str]]:
    """The native body of pictures from a picture, of which there is one at least, and what is to be
    told of it. Raises InvalidRequestError."""
    by = {"task": "inpaint" if asked.mask else "image-to-image", "image": asked.init_images[0]}
    also: list[str] = []
    if by["task"] not in offer.tasks and "edit" in offer.tasks:
        by, also = edit_by(offer, asked.init_images)  # all clients send a strength, it says nothing
    elif len(asked.init_images) > 1:
        detail = f"Pictures are made from one, {len(asked.init_images)} came."
        raise InvalidRequestError([FieldError("/init_images", detail, "too_many")])
    body, told = _common(asked, options, offer, str(by["task"]))
    body |= by
    if by["task"] != "edit":
        body |= {} if asked.denoising_strength is None else {"strength": asked.denoising_strength}
    elif asked.image_cfg_scale and "image_guidance_scale" in offer.takes(str(by["task"])):
        body["image_guidance_scale"] = asked.image_cfg_scale
    if asked.mask:
        body["mask_image"] = asked.mask
        blur = _first(asked.mask_blur, asked.mask_blur_x, asked.mask_blur_y)
        body |= {} if blur is None else {"mask_blur": blur}
        if _is_cropped(asked) and by["task"] == "inpaint":
            body["padding_mask_crop"] = asked.inpaint_full_res_padding
    return body, [*told, *also, *_told_of_fits(asked)]


def _told_of_fits(asked: Asked) -> Iterator[str]:
    """What is told of pictures that are brought to size, or filled, otherwise than was asked."""
    if asked.mask and asked.inpainting_fill not in (None, 1):
        yield "inpainting_fill is always 1 here: what is painted anew begins with what was there."
    if asked.resize_mode == 3 and not _is_cropped(asked):
        yield "resize_mode 3 is as 0 here."


def fit_of(asked: Asked) -> Fit | None:
    """How the picture and its mask are brought to size; None: as the native API does it."""
    how: dict[int, Literal["crop", "fill"]] = {1: "crop", 2: "fill"}
    if asked.resize_mode not in how or not (asked.width and asked.height) or _is_cropped(asked):
        return None
    return Fit((asked.width, asked.height), how[asked.resize_mode])


def _is_cropped(asked: Asked) -> bool:
    """Whether only the part around a mask is made, of the picture as it is."""
    return bool(asked.mask) and asked.inpaint_full_res


def _common(
    asked: Asked, options: Options, offer: Offer, task: str
) -> tuple[dict[str, Any], list[str]]:
    scheduling, told = _scheduling(asked, offer)
    given: dict[str, Any] = {
        "prompt": asked.prompt,
        "negative_prompt": asked.negative_prompt,
        "width": asked.width,
        "height": asked.height,
        "num_inference_steps": _first(asked.steps, asked.num_inference_steps),
        "guidance_scale": _first(asked.cfg_scale, asked.guidance_scale),
        "seed": asked.seed,
        "clip_skip": options.stops_at and options.stops_at - 1,  # A1111 counts where it stops
        "loras": asked.loras,
        "num_images": asked.batch_size * asked.n_iter,
        **scheduling,
    }
    body = {name: value for name, value in given.items() if value is not None}
    for name in _TAKEN_WHERE_THERE if task in offer.tasks else ():
        if body.get(name) and name not in offer.takes(task):
            told.append(f"The model takes no {name}; it was left out.")
        if name not in offer.takes(task):
            body.pop(name, None)
    output = {"format": _FORMATS.get(options.format or "", options.format or "png")}
    return body | {"task": task, "output": output, "tags": [TAG], "preview": True}, told


def _first(*values: Any) -> Any:
    return next((each for each in values if each is not None), None)


def _scheduling(asked: Asked, offer: Offer) -> tuple[dict[str, Any], list[str]]:
    """The scheduler and its options. As there, a sampler that knows no schedule types goes without,
    and what no schedule type is called means the sampler's own."""
    name, schedule_type = asked.sampler_name or asked.sampler_index, asked.scheduler or ""
    scheduler, sigmas = (name and resolve(name)) or (name, None)
    if scheduler not in offer.schedulers and f"FlowMatch{scheduler}" in offer.schedulers:
        scheduler = f"FlowMatch{scheduler}"  # one name for both there
    said = {"sigmas": sigmas} if sigmas else {}
    known = layout(schedule_type)
    said |= {**(known or {})}
    able = diffusers_table()["scheduler_options"].get(scheduler or offer.scheduler or "", ())
    options: dict[str, Any] = {
        option: value
        for option, value in said.items()
        if (value if option == "sigmas" else option) in able
        and (option == "sigmas" or offer.is_diffusion)
    }
    told = []
    if known is None or options != said:
        told.append(
            f"The schedule type {schedule_type or sigmas!r} does nothing with this sampler."
        )
    if scheduler and asked.eta is not None and "eta" in able:
        options["eta"] = asked.eta
    elif "Ancestral" in (scheduler or "") and asked.eta not in (None, 1):
        told.append("eta is always 1 with this sampler.")
    scheduling: dict[str, Any] = {"scheduler": scheduler} if scheduler else {}
    return scheduling | ({"scheduler_options": options} if options else {}), told


def _hires(asked: Asked, offer: Offer) -> tuple[dict[str, Any], list[str]]:
    name = asked.hr_upscaler or ("Latent" if offer.resumes_latents else "Lanczos")
    is_latent = name.casefold().startswith("latent")
    hires: dict[str, Any] = {
        "scale": _scale(asked, offer),
        "strength": asked.denoising_strength,
        "num_inference_steps": asked.hr_second_pass_steps or None,
        "upscaler": LATENT if is_latent else PLAIN_UPSCALERS.get(name.casefold(), name),
    }
    told = []
    if name.casefold() != hires["upscaler"] and hires["upscaler"] in (LATENT, LANCZOS):
        told.append(f"The upscaler {name!r} is as {hires['upscaler']!r} here.")
    return {name: value for name, value in hires.items() if value is not None}, told


def _scale(asked: Asked, offer: Offer) -> float:
    """How many times larger, which a size may say in its place. Raises InvalidRequestError."""
    sides = (
        (asked.hr_resize_x, asked.width or offer.width),
        (asked.hr_resize_y, asked.height or offer.height),
    )
    scales = [wanted / side for wanted, side in sides if wanted and side]
    if not scales:
        return asked.hr_scale
    if max(scales) > 1.01 * min(scales):
        detail = "Must keep the proportions of width and height."
        raise InvalidRequestError([FieldError("/hr_resize_x", detail, "out_of_range")])
    return max(scales)


def styled(
    body: dict[str, Any], names: Sequence[str], cards: Sequence[StyleCard], offer: Offer
) -> tuple[dict[str, Any], list[str]]:
    """A native body with the words of these styles around its prompts, and what is to be told of
    it. Raises InvalidRequestError."""
    told: list[str] = []
    for name in names if body["task"] in offer.tasks else ():
        made = apply(body, name, cards, body["task"], offer)
        if made.errors:
            raise InvalidRequestError(list(made.errors))
        body = made.body
        told += made.warnings
    return body, told
