import inspect
from pathlib import Path

import pytest
import torch
from transformers import CLIPTokenizer

from darkroom.prompt_syntax import parse
from tests import tiny
from worker.making.text_encoders import Encoder, encoders_of


@pytest.mark.parametrize(
    ("family", "count"), [("sd15", 1), ("sdxl", 2), ("lcm", 1), ("sd3", 0), ("flux", 0), ("dit", 0)]
)
def test_the_encoders_that_are_joined_to_one_embedding(family: str, count: int) -> None:
    pipeline = (tiny.FAMILIES | tiny.SPECIAL)[family]()
    accepted = inspect.signature(pipeline.__call__).parameters
    assert len(encoders_of(pipeline, accepted)) == count


def test_chunks_are_counted_of_words_as_the_weights_part_them() -> None:
    tokenizer = CLIPTokenizer.from_pretrained(Path(__file__).parents[3] / "models/emoji/tokenizer")
    encoder = Encoder(None, tokenizer, lambda text, _: text, torch.device("cpu"), False)
    [whole], [parted] = parse("banana " * 20), parse("(b)anana " * 20)
    assert encoder.chunks(whole) == 1
    assert encoder.chunks(parted) > 1
