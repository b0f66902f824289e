"""The task that makes pictures from others by an instruction; runs in a job's greenlet, knows no
other jobs."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from PIL import Image

from darkroom.errors import UnsupportedError
from darkroom.input_images import MASK, edited
from darkroom.prompt_syntax import unescaped
from darkroom.request import Edit
from worker.loading.editors import ARGUMENTS, EDITORS, IMAGE_GUIDANCE, as_json, is_edit
from worker.loading.vaes import RepeatedVAE
from worker.making.canvas import canvas, fit
from worker.making.pipeline_call import parameters_of
from worker.making.work import Outcome, Work, call_with_prompt, view

_LONGEST = 100
"""How many times as long as the other a side of a picture may be. Pipelines bring pictures to their
own number of pixels and round sides to 32; transformers' processors take 200 after that."""


def edit(work: Work[Edit]) -> Outcome:
    request, pipeline = work.request, view(work.request, work.model)
    images = [work.inputs[edited(index)] for index in range(len(request.images))]
    told = arguments(request, pipeline, images, work.model.record.size_multiple or 1)
    made = call_with_prompt(work, pipeline, **told)
    made = replace(made, warnings=(*made.warnings, *_unlike(request, pipeline)))
    if MASK not in work.inputs:
        return made
    begun = canvas(request, images[0], work.inputs[MASK])
    return replace(made, pictures=tuple(begun.compose(picture) for picture in made.pictures))


def arguments(
    request: Edit, pipeline: Any, images: Sequence[Image.Image], multiple: int
) -> dict[str, Any]:
    """The arguments of its call that carry `images`, whose sides are brought to a `multiple` where
    their shape is kept. Raises UnsupportedError for more than the pipeline can work from."""
    editor, accepted = EDITORS[type(pipeline).__name__], parameters_of(pipeline)
    if len(images) > editor.most:
        most = "one" if editor.most == 1 else editor.most
        raise UnsupportedError(f"This model can work from {most} of the images, no more.")
    _refuse_strips(images)
    size = (request.width, request.height)
    brought = {
        "to its size": lambda image: fit(image, size),
        "to its pixels": lambda image: fit(image, _alike(image.size, size, multiple)),
        "not": lambda image: image.convert("RGB"),
    }[editor.brought]
    given = [brought(image) for image in images]
    [name] = [each for each in ARGUMENTS if each in accepted]
    told: dict[str, Any] = {name: given if editor.most > 1 else given[0]}
    if editor.says is not None:
        told["prompt"] = editor.says(unescaped(request.prompt), len(images))
    if type(pipeline).__name__ == "LongCatImageEditPipeline":
        _refuse_long(request, pipeline)
    if type(pipeline).__name__ == "Kandinsky5I2IPipeline":
        pipeline.vae = RepeatedVAE(pipeline.vae, request.num_images)
    for name in IMAGE_GUIDANCE & accepted.keys():
        told[name] = request.image_guidance_scale or accepted[name].default
        pipeline._image_guidance_scale = told[name]  # as its call is about to do
    return told


def _refuse_strips(images: Sequence[Image.Image]) -> None:
    """Raises UnsupportedError for pictures of which, brought to a size, a side would be none."""
    for width, height in (image.size for image in images):
        if max(width, height) > _LONGEST * min(width, height):
            raise UnsupportedError(
                f"A picture of {width} x {height} is no use: one side is more than {_LONGEST} "
                "times the other."
            )


def _refuse_long(request: Edit, pipeline: Any) -> None:
    """Raises UnsupportedError for prompts of which LongCat's pipeline would leave out the end: it
    stumbles over saying so. What stands in quotes it reads letter by letter."""
    from diffusers.pipelines.longcat_image.pipeline_longcat_image_edit import split_quotation

    most = pipeline.tokenizer_max_length
    for field in ("prompt", "negative_prompt"):
        parts = split_quotation(unescaped(getattr(request, field)))
        pieces = [each for part, quoted in parts for each in (part if quoted else [part])]
        read = pipeline.tokenizer(pieces, add_special_tokens=False).input_ids if pieces else []
        if (tokens := sum(map(len, read))) > most:
            raise UnsupportedError(f"{field} has {tokens} tokens; this model reads {most}.")


def _unlike(request: Edit, pipeline: Any) -> Iterator[str]:
    """What of the prompt is not as the model knows prompts."""
    says = EDITORS[type(pipeline).__name__].says
    if says is as_json and not is_edit(unescaped(request.prompt)):
        yield (
            "This model was trained on prompts that are JSON and describe the picture, too; it was "
            "given the prompt as `edit_instruction`, and nothing else."
        )


def _alike(of: tuple[int, int], size: tuple[int, int], multiple: int) -> tuple[int, int]:
    """A size of the shape `of`, with as many pixels as `size`."""
    scale = float((size[0] * size[1] / (of[0] * of[1])) ** 0.5)
    width, height = (max(round(side * scale / multiple), 1) * multiple for side in of)
    return width, height
