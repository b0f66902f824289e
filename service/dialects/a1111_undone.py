"""Fields of AUTOMATIC1111's API that change a picture there and do nothing here; in the service,
knows no jobs. Who asks for one is told so; values that change nothing there either are let pass."""

from collections.abc import Iterator, Mapping
from typing import Any

_UNDONE: Mapping[str, tuple[object, ...]] = {
    "restore_faces": (),
    "tiling": (),
    "script_name": (),
    "subseed_strength": (),
    "seed_resize_from_w": (-1,),
    "seed_resize_from_h": (-1,),
    "refiner_checkpoint": (),
    "disable_extra_networks": (),
    "initial_noise_multiplier": (1,),
    "s_churn": (),
    "s_min_uncond": (),
    "s_noise": (1,),
    "latent_mask": (),
    "firstpass_image": (),
    "infotext": (),
    "distilled_cfg_scale": (),
}
_OF_HIRES: Mapping[str, tuple[object, ...]] = {
    "hr_checkpoint_name": ("Use same checkpoint",),
    "hr_sampler_name": ("Use same sampler",),
    "hr_scheduler": ("Use same scheduler",),
    "hr_prompt": (),
    "hr_negative_prompt": (),
    "hr_cfg": (),
    "hr_distilled_cfg": (),
    "firstphase_width": (),
    "firstphase_height": (),
}
"""Of those that count where `enable_hr` does."""
_OF_EXTRAS: Mapping[str, tuple[object, ...]] = {
    "upscaler_2": (),
    "gfpgan_visibility": (),
    "codeformer_visibility": (),
}
_OF_UNITS: Mapping[str, tuple[object, ...]] = {
    "control_mode": ("Balanced",),
    "resize_mode": ("Just Resize",),
    "hr_option": ("Both",),
    "mask": (),
    "mask_image": (),
    "effective_region_mask": (),
}
_NOTHING = ("", "None", 0)
"""Beside null, what says nothing of any field; false is 0."""
_UNSET = (*_NOTHING, "Automatic")
_MOST = 20
_LONGEST = 60
"""Characters of a name that a client wrote."""


def of_pictures(fields: Mapping[str, Any], done: tuple[str, ...], settings: list[str]) -> list[str]:
    """What is to be told of a body that asks for pictures. `done`: the scripts that there are;
    `settings`: those that may be overridden."""
    names = [*_said(fields, _UNDONE)]
    names += _said(fields, _OF_HIRES) if fields.get("enable_hr") else ()
    names += _blurs(fields) if fields.get("mask") else ()
    names += (
        f"override_settings/{name}"
        for name, value in _object(fields.get("override_settings")).items()
        if name not in settings and _says(value, _UNSET)
    )
    names += (
        name
        for name, said in _object(fields.get("alwayson_scripts")).items()
        if name.casefold() not in done and _is_on(said)
    )
    return _sentence(names)


def of_extras(fields: Mapping[str, Any]) -> list[str]:
    """What is to be told of a body that asks for larger pictures."""
    return _sentence([*_said(fields, _OF_EXTRAS)])


def of_unit(unit: Mapping[str, Any]) -> list[str]:
    """What is to be told of a unit of ControlNet."""
    return _sentence([f"ControlNet/{name}" for name in _said(unit, _OF_UNITS)])


def _said(fields: Mapping[str, Any], names: Mapping[str, tuple[object, ...]]) -> Iterator[str]:
    return (name for name, usual in names.items() if _says(fields.get(name), (*_NOTHING, *usual)))


def _says(given: Any, nothing: tuple[object, ...]) -> bool:
    return isinstance(given, str | int | float) and given not in nothing


def _blurs(fields: Mapping[str, Any]) -> Iterator[str]:
    """Sides of a blur that are not alike, for which `mask_blur` stands, and no hard edge."""
    across, down = fields.get("mask_blur_x"), fields.get("mask_blur_y")
    if fields.get("mask_blur") is None and None not in (across, down) and across != down:
        yield "mask_blur_y"
    if fields.get("mask_round") is False:
        yield "mask_round"


def _is_on(said: Any) -> bool:
    """Whether a script is asked for: clients send those that they know, switched off."""
    args = _object(said).get("args")
    first = args[0] if isinstance(args, list) and args else None
    return bool(args) and first is not False


def _object(given: Any) -> Mapping[str, Any]:
    return given if isinstance(given, dict) else {}


def _sentence(names: list[str]) -> list[str]:
    told = ", ".join(name[:_LONGEST] for name in names[:_MOST])
    return [f"Not done here: {told}."] if names else []
