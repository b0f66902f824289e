"""Folders that are hostile or broken, and what comes of a model that has one."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from darkroom.catalog import Catalog
from darkroom.errors import ModelLoadError
from darkroom.inspection import inspect_model
from darkroom.model_card import ModelCard
from darkroom.model_files import ModelFiles
from darkroom.offers import offer
from tests import tiny
from tests.worker.loading.test_complaints import INVITATIONS
from worker.check import check
from worker.gathering.gather import Gather

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.write("sd15", tmp_path / "model")


def indexed(name: str, shard: object, part: str = "unet") -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / part / name).write_text(json.dumps({"weight_map": {"a": shard}}))

    return spoil


def written(file: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / file).write_bytes(content)


def configured(file: str, **more: object) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        known = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps(known | more))

    return spoil


def replaced(file: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / file).unlink(missing_ok=True)
        make(folder / file)

    return spoil


DEEP = b"[" * 100_000
INDEX_NAME = f"{WEIGHTS}.index.json"
HOSTILE = [
    (indexed(INDEX_NAME, "evil.bin"), "names 'evil.bin', which could run code"),
    (indexed("model.safetensors.index.json", "evil.pt", "text_encoder"), "names 'evil.pt'"),
    (indexed("model.safetensors.index.fp16.json", "evil.ckpt", "text_encoder"), "'evil.ckpt'"),
    (indexed(INDEX_NAME, "../vae/" + WEIGHTS), "lies outside its folder"),
    (indexed(INDEX_NAME, "/etc/a.safetensors"), "lies outside its folder"),
    (indexed(INDEX_NAME, "..\\a.safetensors"), "lies outside its folder"),
    (indexed(INDEX_NAME, ["a.safetensors"]), "could run code"),
    (written(f"unet/{INDEX_NAME}", b"{}"), "does not say in which files weights lie"),
    (written(f"unet/{INDEX_NAME}", DEEP), "nests objects or lists"),
    (written("model_index.json", DEEP), "model_index.json nests objects"),
    (written("unet/config.json", DEEP), "unet: config.json nests objects"),
    (written("tokenizer/tokenizer.json", DEEP), "tokenizer: tokenizer.json nests objects"),
    (written("scheduler/scheduler_config.json", DEEP), "scheduler_config.json nests"),
    (written("model_index.json", b" " * (2**24 + 1)), "has 16,777,217 bytes"),
    (written(f"unet/{WEIGHTS}", struct.pack("<Q", 2**62) + b"{}"), "unet: .* damaged"),
    (written(f"unet/{WEIGHTS}", b"<!DOCTYPE html>"), "unet: .* damaged"),
    (configured("unet/config.json", num_layers=10**9), "'num_layers' of 1e+09"),
    (configured("text_encoder/config.json", num_hidden_layers=10**9), "num_hidden_layers"),
    (configured("unet/config.json", layers_per_block=[1, 10**9]), "layers_per_block"),
    (configured("unet/config.json", block_out_channels=[8] * 5000), "a list of 5,000 entries"),
    (configured("unet/config.json", sample_size=10**6), "sample_size"),
    (configured("scheduler/scheduler_config.json", num_train_timesteps=10**12), "timesteps"),
    (configured("model_index.json", **{"../../etc": ["diffusers", "VQModel"]}), "is no name"),
    (replaced("model_index.json", os.mkfifo), "model_index.json is a pipe"),
    (replaced("unet/config.json", os.mkfifo), "unet: config.json is a pipe"),
    (replaced(f"unet/{WEIGHTS}", os.mkfifo), "unet: .* is a pipe"),
    (replaced("tokenizer/vocab.json", lambda p: p.symlink_to("/dev/zero")), "is a device"),
]


@pytest.mark.parametrize(("spoil", "words"), HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_folder_is_refused_before_anything_reads_it(
    spoil: Callable[[Path], None], words: str, folder: Path
) -> None:
    spoil(folder)
    with pytest.raises(ModelLoadError, match=words.replace("+", r"\+")):
        inspect_model(ModelFiles(folder), None)


@pytest.mark.parametrize("spoil", [spoil for spoil, _ in HOSTILE[::4]])
def test_it_is_that_model_s_fault_in_every_process(
    spoil: Callable[[Path], None], folder: Path
) -> None:
    spoil(folder)
    card = ModelCard(name="bad", source="model", limits={"min_size": 8})
    catalog = Catalog([card], "bad", folder.parent)
    assert offer(catalog, card, None).tasks
    found = check(catalog, card, torch.device("cpu"), load_only=True, output=None).record
    assert found.error is not None
    assert not any(word in found.error for word in INVITATIONS)


def test_what_is_not_read_does_not_matter(folder: Path) -> None:
    indexed("pytorch_model.bin.index.json", "pytorch_model-00001-of-00001.bin", "text_encoder")(
        folder
    )
    (folder / "unet" / "diffusion_pytorch_model.non_ema.safetensors").write_text("version https")
    (folder / "notes.json").write_text("{ not json")
    (folder / "unet" / "gone.json").symlink_to("nowhere")
    inspect_model(ModelFiles(folder), None)
    assert tiny.load("sd15", folder, Gather()).record.error is None


def test_a_single_file_as_a_source_says_what_to_do(tmp_path: Path) -> None:
    names = ("model.diffusion_model.input_blocks.0.0.weight", "first_stage_model.quant_conv.bias")
    save_file({name: torch.ones(1) for name in names}, tmp_path / "all.safetensors")
    torch.save({"a": torch.ones(1)}, tmp_path / "old.ckpt")
    (tmp_path / "new.gguf").write_bytes(b"GGUF\x03" + bytes(50))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "all.safetensors").symlink_to(tmp_path / "all.safetensors")
    for source, words in (
        ("all.safetensors", "is a checkpoint of a family that its header does not tell; name a fo"),
        ("old.ckpt", "a zip archive, as torch.save writes pickles, which could run code"),
        ("new.gguf", "a GGUF file"),
        ("folder", r"all\.safetensors is a whole checkpoint .*: name the file, and not its fo"),
    ):
        card = ModelCard(name="one", source=source)
        catalog = Catalog([card], "one", tmp_path)
        found = check(catalog, card, torch.device("cpu"), load_only=True, output=None).record
        with pytest.raises(ModelLoadError, match=words):
            raise ModelLoadError(found.error)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (configured("unet/config.json", cross_attention_dim=10**8), "expected shape"),
        (configured("text_encoder/config.json", vocab_size=10**9), "another shape than the conf"),
        (configured("unet/config.json", attention_head_dim=0), "ZeroDivisionError"),
    ],
)
def test_a_configuration_that_lies_is_told_without_advice_how_to_go_on(
    spoil: Callable[[Path], None], words: str, folder: Path
) -> None:
    spoil(folder)
    card = ModelCard(name="bad", source="model")
    catalog = Catalog([card], "bad", folder.parent)
    found = check(catalog, card, torch.device("cpu"), load_only=True, output=None).record
    assert words in found.error
    assert "ignore_mismatched_sizes" not in found.error


def test_weights_that_are_not_used_are_told(folder: Path) -> None:
    weights = folder / "unet" / WEIGHTS
    save_file(load_file(weights) | {"more.weight": torch.ones(2)}, weights)
    record = tiny.load("sd15", folder, Gather()).record
    assert record.error is None
    assert (
        "were not used when initializing UNet2DConditionModel: ['more.weight']"
        in (record.faults["files"])
    )
