"""Words of the vocabulary are one token each, and captions fill the encoder's length."""

import re

import pytest
import torch
from transformers import CLIPTokenizer

from training.data import load_pictures
from training.text import caption_corpus, make_text_encoder, tokenize, train_tokenizer

LENGTH = 12

pytestmark = pytest.mark.usefixtures("font")


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return train_tokenizer(LENGTH)


def test_each_word_has_a_token_of_its_own(tokenizer):
    names = " ".join(name for picture in load_pictures() for name in picture.names)
    words = {word for word in names.split() if word.isalpha()} | {"large", "an", "background"}
    assert len(words) > 400
    tokens = {word: tokenizer.tokenize(word) for word in words}
    assert tokens == {word: [f"{word}</w>"] for word in words}


def test_other_words_are_spelt_out(tokenizer):
    tokens = tokenizer.tokenize("xylophonic señor")
    assert len(tokens) > 4
    assert tokenizer.unk_token not in tokens
    assert tokenizer.decode(tokenizer.encode("xylophonic señor")[1:-1]) == "xylophonic señor"


def test_captions_are_padded_and_cut(tokenizer):
    ids = tokenize(tokenizer, ["", "a rocket", "a rocket " * 20], torch.device("cpu"))
    assert ids.shape == (3, LENGTH)
    assert (ids[:, 0] == tokenizer.bos_token_id).all()
    assert (ids[0, 1:] == tokenizer.pad_token_id).all()
    assert ids[1, 3] == ids[2, -1] == tokenizer.eos_token_id


def test_encoder_fits_the_tokenizer(tokenizer):
    shape = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    encoder = make_text_encoder(tokenizer, shape)
    ids = tokenize(tokenizer, ["a rocket", "a cat"], torch.device("cpu"))
    assert encoder(ids)[0].shape == (2, LENGTH, 16)
    assert ids.max() < encoder.config.vocab_size == len(tokenizer)


def test_corpus_is_the_same_each_time():
    first, again = (next(iter(caption_corpus())) for _ in range(2))
    assert first == again
    assert re.fullmatch(r"[\w\- ]+", first)
