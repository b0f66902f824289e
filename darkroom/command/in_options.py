"""What a service refused, in the words of the options of `darkroom generate`; sends nothing but to
ask for the names of models."""

from darkroom.client.client import Client
from darkroom.client.refusals import RefusedError
from darkroom.command.refusals import told
from darkroom.text import plain

_OPTIONS = {
    "prompt": "PROMPT",
    "model": "--model",
    "num_inference_steps": "--steps",
    "guidance_scale": "--guidance",
    "width": "--size",
    "height": "--size",
    "seed": "--seed",
    "scheduler": "--scheduler",
    "negative_prompt": "--negative",
    "style": "--style",
    "num_images": "--number",
    "task": "--task",
    "image": "--image",
    "images": "--image",
    "strength": "--strength",
    "mask_image": "--mask",
    "controls": "--control",
    "loras": "--lora",
    "reference_images": "--reference",
    "output.format": "--format",
}
"""The options that stand for fields of the request; `--field` for all others."""


def in_options(error: RefusedError, client: Client) -> str:
    """What the service refused, in the words of the command line."""
    if error.code == "model_not_found":
        names = ", ".join(model["id"] for model in client.models())
        return f"--model: {error} There are: {names}."
    lines = []
    for each in error.errors:
        option = _option(*each.pointer.lstrip("/").split("/"))
        lines.append(plain(f"{option}: {each.detail}"))
    return "\n       ".join(dict.fromkeys(lines)) or told(error)


def _option(name: str, *inner: str) -> str:
    path = ".".join([name, *inner])
    if name == "grid" and inner:
        return f"--grid {inner[0]}"
    return _OPTIONS.get(path if name == "output" else name) or f"--field {path}"
