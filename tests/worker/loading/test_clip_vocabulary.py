from pathlib import Path

import pytest

from darkroom.single_files import CONFIGS
from worker.loading.clip_vocabulary import tokenizer

CAT = [49406, 320, 1125, 539, 320, 2368, 49407]
""""a photo of a cat" as OpenAI's CLIP and transformers' documentation of it have it."""


@pytest.mark.parametrize(("family", "padding"), [("sd1", 49407), ("sd2", 0), ("sdxl", 49407)])
def test_words_have_the_numbers_that_models_were_trained_with(family: str, padding: int) -> None:
    made = tokenizer(CONFIGS / family / "tokenizer")
    assert len(made) == 49408
    assert made("a photo of a cat").input_ids == CAT
    assert made("A  Photo\nof a CAT").input_ids == CAT
    padded = made("a photo of a cat", padding="max_length").input_ids
    assert padded == CAT + [padding] * (77 - len(CAT))


def test_what_no_merge_knows_is_read_by_its_bytes() -> None:
    made = tokenizer(Path("none"))
    ids = made("日本語 🦊 ~é").input_ids
    assert made.decode(ids, skip_special_tokens=True).split() == ["日本語", "🦊", "~", "é"]
    assert max(ids) == 49407
