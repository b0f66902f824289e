import json
import os
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from darkroom.errors import ModelLoadError
from darkroom.lora_folder import ABANDONED_S, LoraFolder, state_of


def weights(*names: str) -> bytes:
    """A safetensors file of these tensors, of one number each."""
    entries = {
        name: {"dtype": "F32", "shape": [1], "data_offsets": [4 * i, 4 * i + 4]}
        for i, name in enumerate(names)
    }
    header = json.dumps(entries).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4 * len(names))


PAIR = ("lora_unet_conv_in.lora_down.weight", "lora_unet_conv_in.lora_up.weight")
LORA = weights(*PAIR)


@pytest.fixture
def folder(tmp_path: Path) -> LoraFolder:
    return LoraFolder(tmp_path / "loras")


def put(folder: LoraFolder, name: str, content: bytes = LORA, model: str = "sdxl") -> bool:
    received = folder.begin(model, "mark")
    received.write_bytes(content)
    return folder.keep(received, model, name)


def test_what_is_kept_is_a_card_of_its_model_until_it_is_deleted(folder: LoraFolder) -> None:
    assert folder.cards("sdxl") == ()
    assert put(folder, "oil") is False
    assert put(folder, "a.b-1") is False
    assert put(folder, "oil") is True
    assert [card.name for card in folder.cards("sdxl")] == ["a.b-1", "oil"]
    assert folder.cards("other") == ()
    assert Path(folder.cards("sdxl")[1].source).read_bytes() == LORA
    folder.delete("sdxl", "oil")
    assert [card.name for card in folder.cards("sdxl")] == ["a.b-1"]
    with pytest.raises(FileNotFoundError):
        folder.delete("sdxl", "oil")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (LORA[:-1], "1 byte is missing at its end"),
        (LORA + b"x", "1 byte is there after its end"),
        (b"\x89PNG", "a picture"),
        (weights("emb_params"), "is no LoRA, but an embedding"),
        (weights("first_stage_model.encoder"), "is no LoRA, but a VAE"),
        (weights("a"), "is no LoRA, but weights of something else"),
        (weights(PAIR[0]), "part: some of its weights are missing: a half of lora_unet_conv_in"),
        (weights(*PAIR, "lora_unet_x.oft_blocks"), "is an OFT"),
    ],
)
def test_what_is_no_lora_is_refused(folder: LoraFolder, content: bytes, words: str) -> None:
    put(folder, "oil")
    with pytest.raises(ModelLoadError, match=words):
        put(folder, "oil", content)
    assert Path(folder.cards("sdxl")[0].source).read_bytes() == LORA


def test_only_what_is_new_is_kept_where_that_is_wanted(folder: LoraFolder) -> None:
    for is_there in (False, True):
        received = folder.begin("sdxl", "mark")
        received.write_bytes(LORA)
        with pytest.raises(FileExistsError) if is_there else nullcontext():
            assert folder.keep(received, "sdxl", "oil", only_new=True) is False
    assert [card.name for card in folder.cards("sdxl")] == ["oil"]


def test_what_nobody_receives_any_more_is_deleted(folder: LoraFolder) -> None:
    old, new = folder.begin("sdxl", "old"), folder.begin("sdxl", "new")
    old.touch()
    new.touch()
    os.utime(old, (0, time.time() - ABANDONED_S - 1))
    folder.begin("sdxl", "next")
    assert (old.exists(), new.exists()) == (False, True)
    assert folder.cards("sdxl") == ()


def test_one_upload_is_told_from_the_next(folder: LoraFolder) -> None:
    file = folder.file("sdxl", "oil")
    assert state_of(file) is None
    put(folder, "oil")
    first = state_of(file)
    os.utime(file, ns=(1, 1))
    assert first is not None
    assert state_of(file) != first
