"""The task that makes pictures from others by an instruction; runs in a job's greenlet, knows no
other jobs."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from PIL import Image

from darkroom.edit_pictures import alike, unfit
from darkroom.errors import UnsupportedError
from darkroom.families import entry
from darkroom.input_images import MASK, edited
from darkroom.prompt_syntax import unescaped
from darkroom.request import Edit
from worker.loading.editors import ARGUMENTS, EDITORS, IMAGE_GUIDANCE, as_json, is_edit
from worker.loading.vaes import RepeatedVAE
from worker.making import sizes
from worker.making.canvas import canvas, fit
from worker.making.pipeline_call import parameters_of
from worker.making.work import Outcome, Work, call_with_prompt, view


def edit(work: Work[Edit]) -> Outcome:
    request, pipeline = work.request, view(work.request, work.model)
    is_one = len(request.images) == 1
    if MASK in work.inputs and is_one and EDITORS[type(pipeline).__name__].inpaints:
        return _within_mask(work)
    images = [work.inputs[edited(index)] for index in range(len(request.images))]
    told = arguments(request, pipeline, images, work.model.record.size_multiple or 1)
    made = call_with_prompt(work, pipeline, **told)
    made = replace(made, warnings=(*made.warnings, *_unlike(request, pipeline)))
    if MASK not in work.inputs:
        return made
    begun = canvas(request, images[0], work.inputs[MASK])
    return replace(made, pictures=tuple(begun.compose(picture) for picture in made.pictures))


def _within_mask(work: Work[Edit]) -> Outcome:
    """The edit as the model inpaints: it knows what stays, and goes on from there."""
    request, pipeline = work.request, view(work.request, work.model, "inpaint")
    image = work.inputs[edited(0)]
    _refuse_unfit(request, pipeline, [image], 1)
    begun = canvas(request, image, work.inputs[MASK])
    start = {
        "image": sizes.start(begun.picture, request.num_images, pipeline),
        "mask_image": begun.blocks(pipeline.vae_scale_factor),
        "strength": 1.0,
    }
    made = call_with_prompt(work, pipeline, **start)
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
    _refuse_unfit(request, pipeline, images, multiple)
    size = (request.width, request.height)
    brought = {
        "to its size": lambda image: fit(image, size),
        "to its pixels": lambda image: fit(image, alike(image.size, size, multiple)),
        "not": lambda image: image.convert("RGB"),
    }[editor.brought]
    given = [brought(image) for image in images]
    if editor.transparent:
        given = [image.convert("RGBA") for image in given]
    [name] = [each for each in ARGUMENTS if each in accepted]
    told: dict[str, Any] = {name: given if editor.most > 1 else given[0]}
    if request.layers is not None:
        told["layers"] = request.layers
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


def _refuse_unfit(
    request: Edit, pipeline: Any, images: Sequence[Image.Image], multiple: int
) -> None:
    """Raises UnsupportedError for pictures of shapes that the pipeline cannot work from."""
    size, rules = (request.width, request.height), entry(type(pipeline).__name__).get("edit_rules")
    for image in images:
        if why := unfit(image.size, size, multiple, rules or {}):
            raise UnsupportedError(why)


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
