import json
from pathlib import Path

import pytest
import torch
import transformers

from darkroom.catalog import Catalog
from darkroom.errors import ModelLoadError
from darkroom.model_card import ModelCard
from tests import tiny, tiny_families
from worker.gathering.gather import Gather
from worker.loading import pipelines
from worker.loading.absent import is_empty


def test_a_processor_that_nothing_needs_may_be_missing(tmp_path: Path) -> None:
    index = tiny.write("sd15", tmp_path) / "model_index.json"
    named = {"feature_extractor": ["transformers", "CLIPImageProcessor"]}
    index.write_text(json.dumps(json.loads(index.read_text()) | named))
    assert tiny.load("sd15", tmp_path, Gather()).components["feature_extractor"] is None


def test_a_model_whose_tokenizer_has_no_words_is_refused(tmp_path: Path) -> None:
    pipeline = tiny_families.chroma()
    pipeline.register_modules(tokenizer=transformers.T5Tokenizer())
    pipeline.save_pretrained(tmp_path, safe_serialization=True)
    card = ModelCard(name="m", source=str(tmp_path))
    with pytest.raises(ModelLoadError, match="tokenizer: its vocabulary is missing"):
        pipelines.load(card, Catalog([card], "m", tmp_path), Gather(), torch.device("cpu"))


@pytest.mark.parametrize("kind", ["T5", "CLIP", "Qwen2", "Gemma"])
def test_marks_are_no_words(kind: str) -> None:
    assert is_empty(getattr(transformers, f"{kind}Tokenizer")())


def test_nor_is_the_beginning_of_one_where_there_are_few_marks() -> None:
    assert is_empty(transformers.T5Tokenizer(extra_ids=0))


def test_bytes_need_no_vocabulary() -> None:
    assert not is_empty(transformers.ByT5Tokenizer())
    assert not any(is_empty(each) for each in (tiny.tokenizer(), tiny.t5_tokenizer()))
    assert not is_empty(tiny_families.tokenizer())
