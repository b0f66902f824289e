import gzip
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from darkroom.errors import ModelLoadError
from darkroom.file_kinds import (
    LORA,
    WEIGHTS,
    header_of,
    kind_of_tensors,
    refuse_file,
    refuse_others,
    what_is,
)
from tests import lora_spellings as spellings

POINTER = """version https://git-lfs.github.com/spec/v1
oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393
size 12345
"""


def torch_zip(path: Path) -> None:
    torch.save({"a": torch.ones(2)}, path)


def torch_legacy(path: Path) -> None:
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)


def cut(path: Path) -> None:
    save_file({"a": torch.ones(100)}, path)
    path.write_bytes(path.read_bytes()[:200])


def cut_in_header(path: Path) -> None:
    save_file({"a": torch.ones(100)}, path)
    path.write_bytes(path.read_bytes()[:40])


FILES = {
    b"": "an empty file",
    b"<!DOCTYPE html>\n<html><head><title>Sign in": "a web page",
    b"\xef\xbb\xbf\r\n  <HTML lang=en>": "a web page",
    b"<!-- login -->\n<html>": "a web page",
    b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>': "an XML document",
    b'{"error": "Repository not found"}': "JSON",
    b'{"error":{"code":403}}': "JSON",
    b'[{"a": 1}]': "JSON",
    POINTER.encode(): "a Git LFS pointer: fetch the file with `git lfs pull`",
    b"Invalid username or password.": "text",
    "Ungültig".encode() * 100: "text",
    b"Moved Permanently. Redirecting to /login\n": "text",
    b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0": "a GGUF file",
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR": "a picture",
    b"Rar!\x1a\x07\x01\0": "a RAR archive",
    gzip.compress(b"a" * 100): "a gzip archive",
    pickle.dumps({"a": 1}, protocol=2): "a pickle, which could run code",
    pickle.dumps({"a": [1] * 50}, protocol=5): "a pickle, which could run code",
    bytes(100): "no safetensors file, nor anything else",
    b"\xff" * 100: "no safetensors file, nor anything else",
}


@pytest.mark.parametrize(("content", "words"), FILES.items(), ids=range(len(FILES)))
def test_a_file_is_named_as_what_it_is(content: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "ink.safetensors"
    file.write_bytes(content)
    assert what_is(file).words.startswith(words)
    with pytest.raises(ModelLoadError, match=rf"^ink\.safetensors is no LoRA, but {words}"):
        refuse_others(file, LORA, WEIGHTS, wanted="LoRA")


def archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("ink.safetensors", b"x")


def picture(path: Path) -> None:
    Image.new("RGB", (8, 8)).save(path, format="webp")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (torch_zip, "a zip archive, as torch.save writes pickles"),
        (torch_legacy, "a pickle"),
        (archive, "a zip archive"),
        (picture, "a picture"),
    ],
)
def test_what_programs_write_is_known(make: object, words: str, tmp_path: Path) -> None:
    make(tmp_path / "file")
    assert what_is(tmp_path / "file").words.startswith(words)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (cut, "bytes are missing at its end; download it again"),
        (cut_in_header, "ends before its header does"),
        (os.mkfifo, "is a pipe"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device"),
    ],
)
def test_what_is_damaged_or_no_file_is_told(make: object, words: str, tmp_path: Path) -> None:
    make(tmp_path / "file")
    with pytest.raises(ModelLoadError, match=words):
        what_is(tmp_path / "file")


UNET = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("lora_unet_down_blocks_0.lora_down.weight", "lora"),
        (f"unet.{UNET.removesuffix('weight')}lora_A.weight", "lora"),
        ("unet.x.attn1.processor.to_q_lora.down.weight", "lora"),
        ("lora_unet_x.hada_w1_a", "lora"),
        ("lycoris_x.lokr_w1", "lora"),
        ("diffusion_model.x.diff_b", "lora"),
        ("emb_params", "embedding"),
        ("clip_g", "embedding"),
        ("<cat-toy>", "embedding"),
        ("string_to_param.*", "embedding"),
        ("image_proj.proj.weight", "ip_adapter"),
        ("ip_adapter.1.to_k_ip.weight", "ip_adapter"),
        ("model.diffusion_model.input_blocks.0.0.weight", "unet"),
        ("model.diffusion_model.double_blocks.0.img_attn.qkv.weight", "transformer"),
        ("double_blocks.0.img_attn.qkv.weight", "transformer"),
        ("layers.0.attention.qkv.weight", "transformer"),
        ("control_model.input_blocks.0.0.weight", "controlnet"),
        ("controlnet_down_blocks.0.weight", "controlnet"),
        ("first_stage_model.decoder.conv_in.weight", "vae"),
        ("decoder.up_blocks.0.resnets.0.conv1.weight", "vae"),
        (UNET, "unet"),
        ("single_transformer_blocks.0.attn.to_q.weight", "transformer"),
        ("text_model.encoder.layers.0.mlp.fc1.weight", "text_encoder"),
        ("encoder.block.0.layer.0.SelfAttention.q.weight", "text_encoder"),
        ("vision_model.embeddings.class_embedding", "image_encoder"),
        ("conv_in.weight", "weights"),
    ],
)
def test_weights_are_told_apart_by_the_names_of_tensors(name: str, kind: str) -> None:
    assert kind_of_tensors([name]).name == kind
    assert kind_of_tensors(["other", name, "another"]).name == kind


@pytest.mark.parametrize(
    "spelling", [spellings.kohya, spellings.peft, spellings.peft_default, spellings.diffusers]
)
def test_every_spelling_of_a_lora_is_one(spelling: spellings.Spelling) -> None:
    assert kind_of_tensors(spelling(spellings.changes("sd15"))).name == "lora"


def test_a_file_where_a_folder_is_needed_is_named(tmp_path: Path) -> None:
    file = tmp_path / "all.safetensors"
    network = {"model.diffusion_model.out.2.weight": torch.ones(1)}
    save_file(network | {"first_stage_model.x": torch.ones(1)}, file)
    with pytest.raises(ModelLoadError, match="is a whole checkpoint in a single file, where a fol"):
        refuse_file(file)
    refuse_file(tmp_path)


def test_only_a_safetensors_file_has_a_header(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    save_file({"a": torch.ones(1)}, file)
    assert set(header_of(file)) == {"a"}
    file.write_text("<html>sign in")
    with pytest.raises(ModelLoadError, match=r"^x\.safetensors is a web page: "):
        header_of(file)
    file.write_bytes(b"")
    with pytest.raises(ModelLoadError, match=r"^x\.safetensors is an empty file"):
        header_of(file)
