import json
from pathlib import Path

import pytest
import torch
import transformers
from PIL import Image

from tests import tiny_families
from worker.loading.processors import complete_omnigen, for_pictures

SIDE = 28  # of what becomes one token: two by two patches of fourteen pixels
PROMPT = "<|vision_start|><|image_pad|><|vision_end|> a cat"


@pytest.fixture(params=["as transformers 5 writes it", "as it was published"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "as transformers 5 writes it":
        tiny_families.processor().save_pretrained(tmp_path)
        return tmp_path
    tiny_families.tokenizer().save_pretrained(tmp_path)
    said = {"image_processor_type": "Qwen2VLImageProcessorFast", "min_pixels": SIDE * SIDE}
    said |= {"processor_class": "Qwen2_5_VLProcessor", "max_pixels": 16 * SIDE * SIDE}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    videos = {"video_processor_type": "Qwen2VLVideoProcessor"}
    (tmp_path / "video_preprocessor_config.json").write_text(json.dumps(videos))
    return tmp_path


@pytest.mark.parametrize("name", ["Qwen2VLProcessor", "Qwen2_5_VLProcessor", "Qwen3VLProcessor"])
def test_a_processor_of_pictures_and_videos_reads_pictures_by_itself(
    folder: Path, name: str
) -> None:
    cls = for_pictures(getattr(transformers, name))
    assert issubclass(cls, getattr(transformers, name))
    assert (cls.__name__, cls.__module__) == (name, getattr(transformers, name).__module__)
    processor = cls.from_pretrained(folder, local_files_only=True)
    image = Image.linear_gradient("L").resize((4 * SIDE, 3 * SIDE)).convert("RGB")
    read = processor(text=[PROMPT], images=[image], return_tensors="pt")
    alone = transformers.Qwen2VLImageProcessorPil()([image], return_tensors="pt")
    assert torch.allclose(read["pixel_values"], alone["pixel_values"], atol=0.05)
    marks = (read["input_ids"] == processor.tokenizer.convert_tokens_to_ids("<|image_pad|>")).sum()
    assert marks == 4 * 3


def test_omnigen_has_a_processor_whatever_is_installed() -> None:
    from diffusers.pipelines.omnigen import pipeline_omnigen

    complete_omnigen()
    made = pipeline_omnigen.OmniGenMultiModalProcessor(tiny_families.tokenizer())
    image = Image.new("RGB", (40, 33), (255, 0, 51))
    pixels = made.process_image(image)
    assert pixels.shape == (3, 32, 32)
    assert torch.allclose(pixels[:, 5, 7], torch.tensor([1.0, -1.0, -0.6]))
    made.reset_max_image_size(16)
    assert made.process_image(image).shape == (3, 16, 16)
