"""How a pipeline is told how strongly to follow the prompt; runs in a job's greenlet, knows no
models."""

from collections.abc import Mapping
from typing import Any

from darkroom.request import Prompted
from worker.loading.calls import guidance_argument
from worker.making.pipeline_call import parameters_of

EMPTY = " "
"""The negative prompt that stands for none, as the pages of Qwen-Image's models write it."""
_GUIDERS = ("guider", "ocr_guider")


def arguments(request: Prompted, pipeline: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of its call that say it, beside those `given` for the prompts.

    Qwen-Image's pipelines have no guidance without a negative prompt. Of HunyuanImage's a part
    does it, which counts steps: the job gets its own."""
    scale, accepted = request.guidance_scale, parameters_of(pipeline)
    name = guidance_argument(type(pipeline)) or "guidance_scale"
    told: dict[str, Any] = {name: scale}
    if name == "true_cfg_scale":
        if scale > 1 and "negative_prompt" not in given:
            told["negative_prompt"] = EMPTY
        if "guidance_scale" in accepted and _is_told(pipeline):
            told |= {"guidance_scale": scale, name: 1.0}
    if "guidance_schedule" in accepted:  # it stands in place of a scale
        told["guidance_schedule"] = None
    for part in _GUIDERS:
        if (guider := getattr(pipeline, part, None)) is not None:
            setattr(pipeline, part, guider.new(guidance_scale=scale))
    return told


def _is_told(pipeline: Any) -> bool:
    """Whether its network was distilled to be told the scale of guidance."""
    return bool(pipeline.transformer.config.get("guidance_embeds"))
