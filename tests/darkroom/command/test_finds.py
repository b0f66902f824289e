"""What files, folders and repositories are; files have the names and shapes of published ones."""

from pathlib import Path

import pytest

from darkroom.command.finds import Find, find, loose
from darkroom.errors import ModelLoadError
from darkroom.file_families import fits
from tests import published
from tests.darkroom.test_single_files import write

LORA = {
    f"lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k.{name}.weight": shape
    for name, shape in (("lora_down", (4, 768)), ("lora_up", (1280, 4)))
}
FILES = {
    "checkpoint": (published.checkpoint(published.SD1), "source", "sd1"),
    "xl": (published.checkpoint(published.SDXL), "source", "sdxl"),
    "unet": (published.unet(published.SDXL.unet), "transformer", "sdxl"),
    "lora": (LORA, "loras", "sd1"),
    "vae": (published.vae(published.Vae()), "vae", "sd1"),
    "controlnet": (published.controlnet(published.SD1.unet), "controlnets", "sd1"),
    "embedding": ({"emb_params": (2, 768)}, "embeddings", "sd1"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_told_by_its_header(name: str, tmp_path: Path) -> None:
    shapes, field, family = FILES[name]
    found = find(str(write(tmp_path / f"{name}.safetensors", shapes)))
    assert found is not None
    assert (found.field, found.families[0], found.stem) == (field, family, name)
    assert found.is_model == (field in ("source", "transformer"))
    assert fits(found.families, family)
    assert not fits(found.families, "flux-dev")
    assert not fits(found.families, None)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("page.safetensors", b"<!DOCTYPE html>", "is a web page: .*, signed in if need be$"),
        ("old.ckpt", b"PK\x03\x04", "darkroom models convert old.ckpt"),
        ("small.gguf", b"GGUF1234", "quantized: those are not read$"),
        ("cut.safetensors", (2**20).to_bytes(8, "little") + b"{", "ends before its header does"),
        (
            "some.safetensors",
            b"\x02" + bytes(7) + b"{}",
            "a file without any weights, which is not",
        ),
    ],
)
def test_a_file_of_another_kind_is_refused_in_a_sentence(
    name: str, content: bytes, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelLoadError, match=said):
        find(str(tmp_path / name))


def test_weights_of_eight_bits_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "m.safetensors", published.checkpoint(published.SD1), "F8_E4M3")
    with pytest.raises(ModelLoadError, match="eight bits or fewer"):
        find(str(file))


@pytest.mark.parametrize(
    ("what", "source", "revision"),
    [
        ("owner/name", "owner/name", None),
        ("https://huggingface.co/owner/name", "owner/name", None),
        ("https://hf.co/owner/name/tree/main/unet", "owner/name", None),
        ("https://huggingface.co/owner/name/tree/abc123", "owner/name", "abc123"),
        ("sdxl-turbo", "stabilityai/sdxl-turbo", None),
    ],
)
def test_a_repository_is_told_by_its_id_or_address(
    what: str, source: str, revision: str | None
) -> None:
    assert find(what) == Find(source, "source", revision=revision)


@pytest.mark.parametrize("what", ["no-such-thing", "sub/gone.safetensors", "/nowhere/at/all"])
def test_what_is_not_there_is_no_repository(what: str) -> None:
    with pytest.raises(ModelLoadError, match="no file or folder here"):
        find(what)


def test_another_site_s_address_is_refused() -> None:
    with pytest.raises(ModelLoadError, match="no page of the Hub"):
        find("https://civitai.com/models/4384")


def test_a_folder_of_loose_files_is_walked_in_order(tmp_path: Path) -> None:
    for name in (
        "Lora/a.safetensors",
        "Lora/.x/b.safetensors",
        "z.txt",
        "c.ckpt",
        "net/config.json",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    (tmp_path / "circle").symlink_to(tmp_path)
    assert find(str(tmp_path)) is None
    names = [str(each.relative_to(tmp_path)) for each in loose(tmp_path)]
    assert names == ["c.ckpt", "Lora/a.safetensors", "net"]
