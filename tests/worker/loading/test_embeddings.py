import json
import re
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from tests import tiny
from tests import tiny_adapters as shelf
from tests.adapter_kit import (
    FAMILIES,
    TOKEN,
    Kit,
    asked,
    latents,
    save,
)
from worker.gathering.gather import Gather


@pytest.mark.parametrize(
    ("token", "spoil", "words"),
    [
        ("a", "", "a word of the tokenizer already"),
        ("<new>", "width", "vectors of 1 x 20, the text encoder's have 16"),
        ("<new>", "encoders", "no vectors"),
        ("<new>", "pickle", "could run code"),
        ("<new>", "damaged", "damaged"),
        ("<new>", "nowhere", "is missing: there is no such file or folder"),
    ],
)
def test_a_textual_inversion_that_cannot_be_used_is_named_and_harms_no_other(
    token: str, spoil: str, words: str, kits: dict[str, Kit], tmp_path: Path
) -> None:
    kit, bad = kits["sdxl"], tmp_path / "bad"
    shelf.write_embedding("sdxl", bad, 1)
    file = bad / shelf.EMBEDDING
    if spoil == "width":
        save(bad, load_file(file) | {"clip_g": torch.zeros(1, 20)}, shelf.EMBEDDING)
    elif spoil == "encoders":
        shelf.write_embedding("sd15", bad, 1)
    elif spoil == "pickle":
        file.rename(file.with_suffix(".pt"))
    elif spoil == "damaged":
        file.write_bytes(file.read_bytes()[:20])
    elif spoil == "nowhere":
        bad = tmp_path / "nowhere"
    words_of = [{"token": token, "source": str(bad)}, *kit.card["embeddings"]]
    model = kit.load(embeddings=words_of)
    assert model.record.embeddings == (TOKEN,)
    assert words in model.record.faults[f"embedding:{token}"]
    for request in (asked(model), asked(model, prompt=f"a {TOKEN}")):
        assert torch.equal(latents(model, request), latents(kit.model, request))


def test_vectors_are_known_by_the_names_of_dreambooth_too(
    kits: dict[str, Kit], tmp_path: Path
) -> None:
    kit = kits["sdxl"]
    vectors = load_file(kit.folder / "tabby" / shelf.EMBEDDING)
    named = {"text_encoders_0": vectors["clip_l"], "text_encoders_1": vectors["clip_g"]}
    source = save(tmp_path / "tabby", named, shelf.EMBEDDING)
    model = kit.load(embeddings=[{"token": TOKEN, "source": str(source)}])
    assert model.record.faults == {}
    request = asked(model, prompt=f"a {TOKEN}")
    assert torch.equal(latents(model, request), latents(kit.model, request))


TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)


@pytest.mark.parametrize("family", FAMILIES)
@settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    prompt=st.lists(
        TEXTS | st.sampled_from(["<tabby", "tabby>", "<TABBY>", "x<tabby>y", "<tabby>_1", "_1"])
    ).map(" ".join)
)
def test_prompts_without_the_token_are_read_as_before(
    family: str, prompt: str, kits: dict[str, Kit]
) -> None:
    kit = kits[family]
    assume(not re.search(r"(?<!\w)<tabby>(_1)?(?!\w)", prompt))
    for name in ("tokenizer", "tokenizer_2"):
        if (tokenizer := kit.model.components.get(name)) is not None:
            ids = kit.plain.components[name](prompt).input_ids
            assert tokenizer(prompt).input_ids == ids


def test_a_token_stands_for_all_its_vectors(kits: dict[str, Kit]) -> None:
    kit = kits["sd15"]
    view = kit.model.view("text-to-image", "DDIMScheduler")
    prompt = view.maybe_convert_prompt(f"a {TOKEN}, asleep", view.tokenizer)
    ids = view.tokenizer(prompt).input_ids
    table = view.text_encoder.get_input_embeddings().weight
    vectors = load_file(kit.folder / "tabby" / shelf.EMBEDDING)["emb_params"]
    assert torch.equal(table[ids[2:4]], vectors.double())
    assert len(table) == len(kit.plain.components["tokenizer"]) + 2


def test_a_new_word_does_not_move_the_end_of_old_encoders(tmp_path: Path) -> None:
    tiny.write("sdxl", tmp_path / "model")
    config = tmp_path / "model" / "text_encoder_2" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"eos_token_id": 2}))
    source = shelf.write_embedding("sdxl", tmp_path / "tabby", 5)
    words = [{"token": TOKEN, "source": str(source)}]
    old = tiny.load("sdxl", tmp_path / "model", Gather())
    new = tiny.load("sdxl", tmp_path / "model", Gather(), embeddings=words)
    ids = old.components["tokenizer_2"]("a cat").input_ids
    other = new.components["tokenizer_2"](f"a {TOKEN} cat").input_ids
    with torch.no_grad():
        before = old.components["text_encoder_2"](torch.tensor([ids]))
        after = new.components["text_encoder_2"](torch.tensor([ids]))
        encoder = new.components["text_encoder_2"]
        moved = encoder(torch.tensor([other]))
        end = encoder.text_projection(moved.last_hidden_state[:, -1])
    assert torch.equal(before.text_embeds, after.text_embeds)
    assert torch.allclose(moved.text_embeds, end)


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        (torch.full((1, 16), torch.nan), "not finite in float64"),
        (torch.ones(1, 16, dtype=torch.int32), "no floating-point numbers"),
        (torch.ones(0, 16), "vectors of 0 x 16"),
        (torch.ones(1, 1, 16), "vectors of 1 x 1 x 16"),
        (torch.ones(15, 16), "has 15 vectors, and a chunk of a prompt holds 14"),
    ],
)
def test_vectors_that_no_prompt_can_use_are_refused(
    vectors: torch.Tensor, words: str, kits: dict[str, Kit], tmp_path: Path
) -> None:
    save(tmp_path / "bad", {"emb_params": vectors}, shelf.EMBEDDING)
    model = kits["sd15"].load(embeddings=[{"token": "<bad>", "source": str(tmp_path / "bad")}])
    assert model.record.embeddings == ()
    assert words in model.record.faults["embedding:<bad>"]
