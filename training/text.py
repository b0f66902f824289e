"""The text side: a byte-pair tokenizer made from the captions, and a small CLIP text encoder."""

import json
import random
from collections.abc import Iterable

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from training.data import describe, draw_composition, load_pictures

END_OF_WORD = "</w>"
CORPUS_SEED = 2
CORPUS_SIZE = 40_000  # captions; every word of the vocabulary comes up many times


def caption_corpus() -> Iterable[str]:
    rng = random.Random(CORPUS_SEED)
    pictures = load_pictures()
    for _ in range(CORPUS_SIZE):
        composition = draw_composition(rng, pictures)
        yield describe(composition, pictures[composition.picture].names, rng)


def train_tokenizer(length: int) -> CLIPTokenizer:
    """A tokenizer that gives each word of the grammar one token and spells out every other one."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = Tokenizer(models.BPE(end_of_word_suffix=END_OF_WORD))
    bpe.pre_tokenizer = CLIPTokenizer().backend_tokenizer.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=8000,
        min_frequency=1,
        end_of_word_suffix=END_OF_WORD,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    bpe.train_from_iterator(caption_corpus(), trainer)
    merges = [tuple(merge) for merge in json.loads(bpe.to_str())["model"]["merges"]]
    tokens = alphabet + [byte + END_OF_WORD for byte in alphabet]
    tokens += [first + second for first, second in merges]
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: number for number, token in enumerate(tokens)},
        merges=merges,
        model_max_length=length,
    )


def make_text_encoder(tokenizer: CLIPTokenizer, model: dict) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            **model,
        )
    )


def tokenize(tokenizer: CLIPTokenizer, captions: list[str], device: torch.device) -> Tensor:
    """Token numbers exactly as diffusers makes them: padded to the full length, cut beyond it."""
    batch = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt")
    return batch.input_ids.to(device)
