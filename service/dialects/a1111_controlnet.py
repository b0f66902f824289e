"""Units of the extension ControlNet of A1111 as native controls; in the service, knows no jobs.

Names are those of https://github.com/Mikubill/sd-webui-controlnet.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from darkroom.control_maps import STRONG, WEAK
from darkroom.errors import FieldError, InvalidRequestError
from darkroom.field_errors import field_errors, pointer
from darkroom.offers import Offer
from darkroom.others_requests import file_stem
from service.dialects import a1111_undone

MODULES = ("none", "canny")
"""What makes maps of pictures, by their names there."""
_NONE = ("", "none")


class _Unit(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    enabled: bool = True
    image: str | dict[str, Any] | None = None
    input_image: str | None = None
    module: str = Field("none", max_length=100)
    model: str = Field("None", max_length=200)
    weight: float = 1.0
    guidance_start: float = 0.0
    guidance_end: float = 1.0
    pixel_perfect: bool = False
    processor_res: int = 0
    threshold_a: float = WEAK
    threshold_b: float = STRONG

    @property
    def picture(self) -> str | None:
        """In any of the places where it may stand."""
        given = self.image.get("image") if isinstance(self.image, dict) else self.image
        return given if isinstance(given, str) and given else self.input_image


def controls(
    scripts: Mapping[str, Any], image: str | None, offer: Offer
) -> tuple[list[dict[str, Any]], list[str]]:
    """The native controls of the units of a body's `alwayson_scripts`, and what is to be told of
    them. `image` stands in for that of a unit without one. Raises InvalidRequestError."""
    found: list[dict[str, Any]] = []
    told: list[str] = []
    for where, unit, given in _units(scripts):
        if unit.model.casefold() in _NONE:
            told.append(
                f"A unit of ControlNet names no model, and {unit.module!r} alone does nothing."
            )
            continue
        picture, module = unit.picture or image, unit.module.casefold()
        if picture is None:
            detail = "This field is required."
            raise InvalidRequestError([FieldError(f"{where}/image", detail, "missing")])
        if module not in MODULES:
            detail = f"Must be one of: {', '.join(MODULES)}; or send the map itself."
            raise InvalidRequestError([FieldError(f"{where}/module", detail, "not_one_of")])
        told += a1111_undone.of_unit(given)
        told += _of_canny(unit) if module == "canny" else ()
        stem = file_stem(unit.model)
        found.append(
            {
                "name": stem if stem in offer.controlnets else unit.model,
                "image": picture,
                "preprocess": None if module == "none" else module,
                "scale": unit.weight,
                "start": unit.guidance_start,
                "end": unit.guidance_end,
            }
        )
    return found, told


def _of_canny(unit: _Unit) -> Iterator[str]:
    """-1 leaves it to the module there."""
    is_usual = (unit.threshold_a, unit.threshold_b) in ((-1, -1), (WEAK, STRONG))
    if not is_usual or (unit.processor_res > 0 and not unit.pixel_perfect):
        yield f"canny sees the picture at its full size here, with thresholds of {WEAK}, {STRONG}."


def _units(scripts: Mapping[str, Any]) -> Iterator[tuple[str, _Unit, Mapping[str, Any]]]:
    """Those that are switched on, each with a pointer to it and as it came. Raises
    InvalidRequestError."""
    for name, script in scripts.items():
        args = (
            script.get("args")
            if name.casefold() == "controlnet" and isinstance(script, dict)
            else []
        )
        units = args if isinstance(args, list) else [args]
        for index, given in enumerate(units):
            where = pointer("alwayson_scripts", name, "args", str(index))
            if not isinstance(given, dict):
                continue  # older clients send truth values before the units
            said = {key: value for key, value in given.items() if value is not None}
            try:
                unit = _Unit.model_validate(said)
            except ValidationError as error:
                faults = [
                    FieldError(f"{where}{each.pointer}", each.detail, each.code)
                    for each in field_errors(error, _Unit)
                ]
                raise InvalidRequestError(faults) from None
            if unit.enabled:
                yield where, unit, said
