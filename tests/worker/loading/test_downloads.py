"""Downloads that are cut off, from a small server that answers as the Hub does."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub.constants import DOWNLOAD_CHUNK_SIZE

from tests.hub import COMMIT, Hub, run, served

NAME = "unet/diffusion_pytorch_model.safetensors"
SIZE = 2 * DOWNLOAD_CHUNK_SIZE + 1000


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    file = tmp_path / "repository" / NAME
    file.parent.mkdir(parents=True)
    (file.parents[1] / "model_index.json").write_text("{}")
    file.write_bytes(bytes(DOWNLOAD_CHUNK_SIZE) + b"x" * (SIZE - DOWNLOAD_CHUNK_SIZE))
    (tmp_path / "models.toml").write_text('[[models]]\nname = "m"\nsource = "someone/m"\n')
    with served({"someone/m": file.parents[1]}) as hub:
        yield hub


def pull(hub: Hub, folder: Path):
    hub.asked.clear()
    hub.sent.clear()
    return run("worker.loading.pulling", "m", folder=folder, hub=hub)


def test_a_download_goes_on_where_it_was_cut_off(hub: Hub, tmp_path: Path) -> None:
    hub.cut_at = DOWNLOAD_CHUNK_SIZE + 10
    cut = pull(hub, tmp_path)
    assert (cut.returncode, "Error: someone/m: " in cut.stderr) == (1, True)
    assert hub.sent == {NAME: hub.cut_at}
    hub.cut_at = None
    whole = pull(hub, tmp_path)
    assert whole.returncode == 0, whole.stderr
    assert "of which 0.01 GB are here" in whole.stdout
    assert hub.sent[NAME] == SIZE - DOWNLOAD_CHUNK_SIZE
    folder = tmp_path / "cache" / "hub" / "models--someone--m"
    pulled = folder / "snapshots" / COMMIT / NAME
    assert pulled.read_bytes() == (tmp_path / "repository" / NAME).read_bytes()
    assert not list(folder.rglob("*.incomplete"))


def test_a_file_that_came_damaged_is_thrown_away(hub: Hub, tmp_path: Path) -> None:
    hash_ = hashlib.sha256((tmp_path / "repository" / NAME).read_bytes()).hexdigest()
    begun = tmp_path / "cache" / "hub" / "models--someone--m" / "blobs" / f"{hash_}.incomplete"
    begun.parent.mkdir(parents=True)
    begun.write_bytes(b"y" * DOWNLOAD_CHUNK_SIZE)
    done = pull(hub, tmp_path)
    assert (done.returncode, "came damaged, and was thrown away" in done.stderr) == (1, True)
    assert list(begun.parent.iterdir()) == []
