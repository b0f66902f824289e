"""`darkroom models pull`, from a small server that answers as the Hub does."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tiny
from tests.hub import COMMIT, Hub, run, served
from worker.loading.pulling import PullError, _refuse_without_room

BESIDES = (
    "sd-pruned.safetensors",
    "text_encoders/clip_l.safetensors",
    "unet/diffusion_pytorch_model.bin",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "text_encoder/model.onnx",
    "pipeline.py",
    "picture.png",
)
PULLING = "worker.loading.pulling"
PRESET = "stable-diffusion-v1-5/stable-diffusion-v1-5"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    whole, half = (tmp_path_factory.mktemp(name) for name in ("whole", "half"))
    tiny.write("sd15", whole)
    for name in BESIDES:
        (whole / name).parent.mkdir(exist_ok=True)
        (whole / name).write_text("nobody asked for this")
    tiny.write("sd15", half)
    for file in half.rglob("*.safetensors"):
        file.rename(file.with_suffix(".fp16.safetensors"))
    folders = {"someone/sd15": whole, "someone/half": half, PRESET: half, "someone/gated": half}
    with served(folders, gated="someone/gated") as hub:
        yield hub


CARD = '[[models]]\nname = "{0}"\nsource = "someone/{0}"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    names = ("sd15", "half", "gated", "none")
    (tmp_path / "models.toml").write_text("\n".join(map(CARD.format, names)))
    return tmp_path


def test_what_is_pulled_can_be_loaded_and_nothing_else_is_pulled(hub: Hub, folder: Path) -> None:
    hub.asked.clear()
    pulled = run(PULLING, "sd15", folder=folder, hub=hub)
    assert pulled.returncode == 0, pulled.stderr
    own = set(hub.asked)
    assert "unet/diffusion_pytorch_model.safetensors" in own
    assert "tokenizer/tokenizer.json" in own
    assert not own & set(BESIDES)
    *_, after = map(json.loads, run("worker.check", "sd15", folder=folder).stdout.splitlines())
    assert after["record"]["error"] is None
    assert after["picture_s"] > 0


def test_a_short_name_writes_a_card_and_says_what_it_takes(hub: Hub, folder: Path) -> None:
    (folder / "models.toml").write_text(CARD.format("half") + f'revision = "{COMMIT[:9]}"\n')
    done = run("darkroom.command.cli", "models", "pull", "sd15", "half", folder=folder, hub=hub)
    assert done.returncode == 0, done.stderr
    card = tomllib.loads((folder / "models.toml").read_text())["models"][1]
    assert (card["name"], card["source"], "revision" in card) == ("sd15", PRESET, False)
    lines = [line.strip() for line in done.stdout.splitlines()]
    begin = lines.index(f"sd15: {PRESET} ...")
    assert lines[:begin] == [f"sd15: a card for it is in {folder / 'models.toml'} now"]
    told = lines[begin + 1 : begin + 5]
    assert told[:2] == [
        f"commit {COMMIT} of {hub.url}/{PRESET}",
        "licence: CreativeML OpenRAIL-M; its page says openrail",
    ]
    assert told[2].startswith("files: 0.00 GB in ")
    assert told[2].endswith(" of disk are free")
    assert told[3] == "its weights take 0.00 GB of memory on a GPU, 0.00 GB on a CPU"
    for source in (PRESET, "someone/half"):  # of fp16 alone, which the second card does not say
        place = folder / "cache" / "hub" / f"models--{source.replace('/', '--')}" / "snapshots"
        assert (place / COMMIT / "unet" / "diffusion_pytorch_model.fp16.safetensors").is_file()
    again = run(PULLING, "half", folder=folder, hub=hub)
    assert (again.returncode, ", of which 0.00 GB are here" in again.stdout) == (0, True)


def test_what_cannot_be_pulled_is_named(hub: Hub, folder: Path) -> None:
    done = run(PULLING, "none", folder=folder, hub=hub)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: someone/none: ")
    done = run(PULLING, "gated", folder=folder, hub=hub)
    assert (done.returncode, "gated: its terms" in done.stdout) == (1, True)
    said = f"someone/gated is gated: accept its terms on {hub.url}/someone/gated, and set HF_TOKEN"
    assert done.stderr.startswith(f"Error: {said}")
    done = run("darkroom.command.cli", "models", "pull", "nun", folder=folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert "There are: sd15, half, gated, none." in done.stderr
    assert "short names: sd15, sdxl" in done.stderr


def test_what_finds_no_room_is_not_begun() -> None:
    with pytest.raises(PullError, match=r"a/b needs 1000000000 GB of disk, and .* HF_HOME"):
        _refuse_without_room("a/b", 10**18)


def test_folders_need_no_download(folder: Path) -> None:
    there = folder / "someone" / "sd15"
    there.mkdir(parents=True)
    done = run(PULLING, "sd15", folder=folder)
    said = f"Error: sd15: the folder {there} is no model, it has no model_index.json: move it away"
    assert (done.returncode, done.stdout, done.stderr.startswith(said)) == (1, "", True)
    (there / "model_index.json").write_text("{}")
    done = run(PULLING, "sd15", folder=folder)
    assert (done.returncode, "nothing to do" in done.stdout) == (0, True)


def test_a_single_file_is_named_instead(folder: Path) -> None:
    (folder / "someone").mkdir()
    (folder / "someone" / "sd15").write_bytes(b"GGUF\x03" + bytes(50))
    done = run(PULLING, "sd15", folder=folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: sd15: sd15 is a GGUF file")
