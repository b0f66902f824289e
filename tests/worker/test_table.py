import json

from worker.table import TABLE, table, text


def test_the_committed_table_is_what_diffusers_says() -> None:
    assert TABLE.read_text() == text(table()), "run: python -m worker.table --write"


def test_the_table_knows_the_families_by_task() -> None:
    content = json.loads(TABLE.read_text())
    xl = content["pipelines"]["StableDiffusionXLPipeline"]
    assert xl["tasks"] == ["text-to-image", "image-to-image"]
    assert xl["classes"]["image-to-image"] == "StableDiffusionXLImg2ImgPipeline"
    assert "negative_prompt" in xl["fields"]["text-to-image"]
    assert "image-to-image" not in content["pipelines"]["PixArtSigmaPipeline"]["tasks"]
    assert "StableDiffusionControlNetPipeline" not in content["pipelines"]
    assert "EulerDiscreteScheduler" in content["schedulers"]["PNDMScheduler"]
