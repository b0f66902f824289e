from pathlib import Path

import numpy as np
import torch
from diffusers import DiffusionPipeline

from darkroom.catalog import Catalog
from darkroom.model_card import ModelCard
from darkroom.request import Request
from darkroom.validation import completed, parse
from tests import tiny_families
from tests.offers import offered
from worker.gathering.gather import Gather
from worker.loading import pipelines
from worker.making import guidance, tasks


def asked(pipeline: str, **body: object) -> Request:
    terms = offered(pipeline, ("text-to-image",))
    body = {"prompt": "a cat", "width": 64, "height": 64, "num_inference_steps": 2, **body}
    return completed(parse(body | {"seed": 3}, terms), terms, None)


def told(name: str, given: dict[str, str] | None = None, **body: object) -> dict[str, object]:
    """What the pipeline of a tiny family is told."""
    pipeline = tiny_families.FAMILIES[name]()
    request = asked(type(pipeline).__name__, **body)
    return guidance.arguments(request, pipeline, given or {})


def test_qwen_image_has_guidance_by_another_name_and_with_a_negative_prompt() -> None:
    assert told("qwen-image", guidance_scale=4.0) == {"true_cfg_scale": 4.0, "negative_prompt": " "}
    assert told("qwen-image", {"negative_prompt": "dogs"}, guidance_scale=4.0) == {
        "true_cfg_scale": 4.0
    }
    assert told("qwen-image", guidance_scale=1.0) == {"true_cfg_scale": 1.0}


def test_a_network_that_is_told_of_guidance_is_told() -> None:
    pipeline = tiny_families.FAMILIES["qwen-image"]()
    pipeline.transformer.register_to_config(guidance_embeds=True)
    request = asked("QwenImagePipeline", guidance_scale=4.0)
    assert guidance.arguments(request, pipeline, {"negative_prompt": "dogs"}) == {
        "true_cfg_scale": 1.0,
        "guidance_scale": 4.0,
    }


def test_flux_keeps_its_second_guidance_off() -> None:
    assert told("flux-kontext", guidance_scale=4.0) == {"guidance_scale": 4.0}


def test_a_part_that_does_guidance_is_the_job_s_own() -> None:
    pipeline = tiny_families.FAMILIES["hunyuan-image"]()
    shared = pipeline.guider
    guidance.arguments(asked("HunyuanImagePipeline", guidance_scale=6.0), pipeline, {})
    assert pipeline.guider is not shared
    assert pipeline.guider.config.guidance_scale == 6.0


def test_a_schedule_makes_way_for_a_scale() -> None:
    def call(self, guidance_scale=None, guidance_schedule=(7.0,) * 48): ...

    cls = type("Ideogram4Pipeline", (), {"__call__": call})
    given = guidance.arguments(asked("Ideogram4Pipeline", guidance_scale=5.0), cls(), {})
    assert given == {"guidance_scale": 5.0, "guidance_schedule": None}


def test_a_picture_is_that_of_the_plain_pipeline_with_true_guidance(tmp_path: Path) -> None:
    torch.manual_seed(3)
    tiny_families.FAMILIES["qwen-image"]().save_pretrained(tmp_path, safe_serialization=True)
    card = ModelCard(name="m", source=str(tmp_path))
    model = pipelines.load(card, Catalog([card], "m", tmp_path), Gather(), torch.device("cpu"))
    plain = DiffusionPipeline.from_pretrained(tmp_path)
    plain.set_progress_bar_config(disable=True)
    request = asked("QwenImagePipeline", guidance_scale=4.0)
    request = request.model_copy(update={"scheduler": model.schedulers.own})
    with torch.no_grad():
        [picture] = tasks.run(request, model, {}).pictures
        expected = plain(
            "a cat",
            negative_prompt=" ",
            true_cfg_scale=4.0,
            num_inference_steps=2,
            width=64,
            height=64,
            generator=torch.Generator().manual_seed(3),
            output_type="np",
        ).images[0]
    assert np.abs(picture / 255 - expected).max() <= 0.5 / 255 + 1e-6
