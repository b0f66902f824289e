import json
import struct
from pathlib import Path
from typing import Any

import pytest

from darkroom.model_files import ModelFiles, PartFiles, cached_folder, read_json, snapshot

INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "scheduler": ["diffusers", "DDIMScheduler"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "safety_checker": [None, None],
    "requires_safety_checker": False,
}
VAE = {"block_out_channels": [8, 16, 16]}


def model(folder: Path, index: Any, **configs: Any) -> ModelFiles:
    """Files of a model whose parts have these configurations."""
    (folder / "model_index.json").write_text(json.dumps(index))
    for name, config in configs.items():
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(config))
    return ModelFiles(folder)


def write_weights(file: Path, **tensors: tuple[str, list[int], int]) -> None:
    """A safetensors file whose tensors are holes of the file system: dtype, shape, bytes."""
    header, at = {}, 0
    for name, (dtype, shape, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    content = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    file.write_bytes(struct.pack("<Q", len(content)) + content)
    with file.open("r+b") as opened:
        opened.truncate(8 + len(content) + at)


def test_an_index_tells_what_a_model_is_made_of(tmp_path: Path) -> None:
    files = model(tmp_path, INDEX)
    assert files.pipeline == "StableDiffusionPipeline"
    assert files.scheduler == "DDIMScheduler"
    assert files.parts == {
        "scheduler": ("diffusers", "DDIMScheduler"),
        "unet": ("diffusers", "UNet2DConditionModel"),
        "safety_checker": (None, None),
    }


@pytest.mark.parametrize(
    "index", [[], {}, {"scheduler": 5, "_class_name": 5}, {"scheduler": []}, {"scheduler": ["a"]}]
)
def test_nonsense_tells_nothing(index: Any, tmp_path: Path) -> None:
    files = model(tmp_path, index)
    assert (files.pipeline, files.scheduler, files.native_size()) == (None, None, None)
    assert files.classes is None


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", None])
def test_a_file_that_cannot_be_read_is_empty(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    assert read_json(tmp_path / "config.json") == PartFiles(tmp_path).config == {}


def test_a_size_is_that_of_the_latents_times_what_the_vae_makes_of_them(tmp_path: Path) -> None:
    files = model(tmp_path, INDEX, unet={"sample_size": [8, 16]}, vae=VAE)
    assert files.native_size() == (16 * 4, 8 * 4)
    other = tmp_path / "other" / "config.json"
    other.parent.mkdir()
    other.write_text(json.dumps({"block_out_channels": [8, 8]}))
    assert files.native_size(PartFiles(other.parent)) == (16 * 2, 8 * 2)


@pytest.mark.parametrize(
    "configs",
    [
        {"transformer": {"sample_size": 64}},
        {"transformer": {"sample_size": 64}, "vae": {"encoder_block_out_channels": [8] * 6}},
        {"transformer": {"sample_size": 64}, "vae": {"block_out_channels": 5}},
        {"transformer": {"sample_size": 64}, "vae": {"block_out_channels": [8] * 100_000}},
        {"unet": {"sample_size": [1, 2, 3]}, "vae": VAE},
        {"unet": {"sample_size": True}, "vae": VAE},
        {"unet": {"sample_size": -64}, "vae": VAE},
        {"unet": {}, "vae": VAE},
    ],
)
def test_a_size_that_the_files_do_not_surely_tell_is_none(
    configs: dict[str, Any], tmp_path: Path
) -> None:
    assert model(tmp_path, INDEX, **configs).native_size() is None


def test_classes_are_those_of_a_transformer(tmp_path: Path) -> None:
    assert model(tmp_path, INDEX, transformer={"num_embeds_ada_norm": 10}).classes == 10


def test_floats_take_the_width_that_they_are_loaded_with(tmp_path: Path) -> None:
    write_weights(
        tmp_path / "model.safetensors",
        a=("F32", [10, 2], 80),
        ids=("I64", [4], 32),
        b=("F8_E4M3", [3], 3),
    )
    assert PartFiles(tmp_path).size(2) == 20 * 2 + 32 + 3 * 2
    assert PartFiles(tmp_path / "nowhere").size(2) == 0


def test_what_could_run_code_is_told_from_what_cannot(tmp_path: Path) -> None:
    for name in ("b.safetensors", "a.safetensors", "c.bin", "d.pt", "e.json"):
        (tmp_path / name).touch()
    (tmp_path / "folder.bin").mkdir()
    assert PartFiles(tmp_path).safetensors == ["a.safetensors", "b.safetensors"]
    assert PartFiles(tmp_path).pickles == ["c.bin", "d.pt"]


def test_weights_of_a_variant_and_in_shards_are_found(tmp_path: Path) -> None:
    names = [
        "model.safetensors",
        "model.fp16.safetensors",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "diffusion_pytorch_model.bf16-00001-of-00001.safetensors",
        "lora.safetensors",
        "model.bin",
    ]
    for name in names:
        (tmp_path / name).touch()
    assert [p.name for p in PartFiles(tmp_path).weights("fp16")] == [names[1]]
    assert [p.name for p in PartFiles(tmp_path).weights("bf16")] == [names[4]]
    assert {p.name for p in PartFiles(tmp_path).weights()} == {names[0], names[2], names[3]}
    assert PartFiles(tmp_path).weights("fp8") == PartFiles(tmp_path).weights()


def test_a_scheduler_s_configuration_tells_how_steps_are_laid_out(tmp_path: Path) -> None:
    files = model(tmp_path, INDEX)
    assert (files.sigmas, files.timestep_spacing) == (None, None)
    (tmp_path / "scheduler").mkdir()
    configured = {"use_karras_sigmas": True, "timestep_spacing": "leading"}
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(json.dumps(configured))
    files = ModelFiles(tmp_path)
    assert (files.sigmas, files.timestep_spacing) == ("karras", "leading")


def weights(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize(
    ("names", "variant"),
    [
        (("unet/model.fp16.safetensors", "vae/model.fp16.safetensors"), "fp16"),
        (("unet/model.fp16.safetensors", "vae/model.safetensors"), "fp16"),
        (("unet/model.fp16.safetensors", "unet/model.safetensors"), None),
        (("unet/model.fp16-00001-of-00002.safetensors",), "fp16"),
        (("unet/model.fp16.safetensors", "vae/model.bf16.safetensors"), None),
        (("unet/model.safetensors",), None),
    ],
)
def test_files_of_a_variant_alone_are_what_is_read(
    names: tuple[str, ...], variant: str | None, tmp_path: Path
) -> None:
    parts = {part: ["diffusers", "X"] for part in ("unet", "vae")}
    (tmp_path / "model_index.json").write_text(json.dumps(parts))
    weights(tmp_path, *names)
    assert ModelFiles(tmp_path).variant(None) == variant
    assert ModelFiles(tmp_path).variant("bf16") == "bf16"


def test_a_repository_s_own_folder_in_the_cache_stands_for_its_files(tmp_path: Path) -> None:
    place = tmp_path / "models--owner--name"
    for commit in ("aaa", "bbb"):
        (place / "snapshots" / commit).mkdir(parents=True)
    assert snapshot(place) == place  # nothing says which
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("bbb")
    assert snapshot(place) == place / "snapshots" / "bbb"
    assert snapshot(place / "snapshots" / "aaa") == place / "snapshots" / "aaa"


def test_the_beginning_of_a_commit_is_enough_where_it_is_the_only_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    commits = [letter * 40 for letter in "ab"] + ["a" * 20 + "c" * 20]
    for commit in commits:
        weights(tmp_path / "models--owner--name" / "snapshots" / commit, "model_index.json")
    found = cached_folder("owner/name", "b" * 8, "model_index.json")
    assert found is not None
    assert found.name == "b" * 40
    assert cached_folder("owner/name", "a" * 8, "model_index.json") is None  # of two
