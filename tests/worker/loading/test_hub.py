"""What `darkroom models pull` downloads, from a small server that answers as the hub does."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest

from darkroom.catalog import Catalog, ModelCard
from darkroom.errors import ModelLoadError
from tests import tiny
from worker.loading.hub import cached_folder, repositories

COMMIT = "c0ffee" * 6 + "c0ff"
BESIDES = (
    "sd-pruned.safetensors",
    "text_encoders/clip_l.safetensors",
    "unet/diffusion_pytorch_model.bin",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "text_encoder/model.onnx",
    "pipeline.py",
    "picture.png",
)


class Hub:
    """Repositories by name, as folders."""

    def __init__(self, folders: dict[str, Path]) -> None:
        self.folders = folders
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, to: BaseHTTPRequestHandler) -> None:
        path = urlsplit(to.path).path
        for name, folder in self.folders.items():
            if path.startswith(f"/api/models/{name}/tree/{COMMIT}"):
                return self._send(to, json.dumps(list(map(self._entry, *self._files(folder)))))
            if path.startswith(f"/api/models/{name}"):
                about = {"id": name, "sha": COMMIT, "siblings": [], "private": False}
                return self._send(to, json.dumps(about))
            if path.startswith(f"/{name}/resolve/{COMMIT}/"):
                file = folder / path.split(f"{COMMIT}/")[1]
                if to.command == "GET":
                    self.asked.append(str(file.relative_to(folder)))
                return self._send(to, file.read_bytes())
        to.send_error(404)
        return None

    def _files(self, folder: Path) -> tuple[list[Path], list[Path]]:
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return files, [folder] * len(files)

    def _entry(self, file: Path, folder: Path) -> dict[str, object]:
        data = file.read_bytes()
        name = str(file.relative_to(folder))
        oid = hashlib.sha1(data).hexdigest()
        return {"type": "file", "path": name, "size": len(data), "oid": oid}

    def _send(self, to: BaseHTTPRequestHandler, body: str | bytes) -> None:
        data = body.encode() if isinstance(body, str) else body
        to.send_response(200)
        to.send_header("Content-Length", str(len(data)))
        to.send_header("Content-Type", "application/json")
        to.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        to.send_header("X-Repo-Commit", COMMIT)
        to.end_headers()
        if to.command == "GET":
            to.wfile.write(data)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("repository")
    tiny.write("sd15", folder)
    for name in BESIDES:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("nobody asked for this")
    hub = Hub({"someone/sd15": folder})
    thread = Thread(target=hub.server.serve_forever, daemon=True)
    thread.start()
    yield hub
    hub.server.shutdown()
    hub.server.server_close()


def run(module: str, *arguments: str, folder: Path, **environment: str):
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=os.environ
        | {"DARKROOM_MODELS": str(folder / "models.toml"), "HF_HOME": str(folder / "cache")}
        | {"DARKROOM_DEVICE": "cpu", "OMP_NUM_THREADS": "1"}
        | environment,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    card = '[[models]]\nname = "{}"\nsource = "{}"\n'
    (tmp_path / "models.toml").write_text(
        card.format("sd15", "someone/sd15") + card.format("none", "someone/none")
    )
    return tmp_path


def test_what_is_pulled_can_be_loaded_and_nothing_else_is_pulled(hub: Hub, folder: Path) -> None:
    pulled = run(
        "worker.loading.hub", "sd15", folder=folder, HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="0"
    )
    assert pulled.returncode == 0, pulled.stderr
    own = {str(path) for path in hub.asked}
    assert "unet/diffusion_pytorch_model.safetensors" in own
    assert "tokenizer/tokenizer.json" in own
    assert not own & set(BESIDES)
    after = json.loads(run("worker.check", "sd15", folder=folder, HF_HUB_OFFLINE="1").stdout)
    assert after["record"]["error"] is None
    assert after["picture_s"] > 0


def test_what_cannot_be_pulled_is_named(hub: Hub, folder: Path) -> None:
    done = run("worker.loading.hub", "none", folder=folder, HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="0")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: someone/none: ")
    done = run("worker.loading.hub", "nun", folder=folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert "none" in done.stderr


def test_folders_need_no_download(folder: Path) -> None:
    (folder / "someone" / "sd15").mkdir(parents=True)
    done = run("worker.loading.hub", "sd15", folder=folder)
    assert (done.returncode, "nothing to do" in done.stdout) == (0, True)


def test_a_single_file_is_named_instead(folder: Path) -> None:
    (folder / "someone").mkdir()
    (folder / "someone" / "sd15").write_bytes(b"GGUF\x03" + bytes(50))
    done = run("worker.loading.hub", "sd15", folder=folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: sd15: sd15 is a GGUF file")


def test_every_source_of_a_card_is_wanted() -> None:
    card = ModelCard(
        name="all",
        source="a/model",
        revision="abc",
        variant="fp16",
        text_encoders=False,
        vae="b/vae",
        safety={"source": "c/checker"},
        controlnets=[{"name": "canny", "source": "d/net", "revision": "def"}],
        loras=[
            {"name": "ink", "source": "e/lora", "weight_name": "ink.safetensors"},
            {"name": "oil", "source": "h/lora"},
        ],
        embeddings=[{"token": "<cat>", "source": "f/cat"}],
        ip_adapter={
            "source": "g/ip",
            "subfolder": "models",
            "weight_name": "ip.safetensors",
            "image_encoder": "models/image_encoder",
        },
    )
    all_ = {
        each.source: each for each in repositories(card, Catalog([card], "all", Path("/nowhere")))
    }
    assert "".join(source[0] for source in all_) == "abcdehfg"
    assert (all_["a/model"].revision, all_["d/net"].revision) == ("abc", "def")
    assert "*/diffusion_pytorch_model*.fp16*.safetensors" in all_["a/model"].files
    assert all_["a/model"].besides == ("text_encoder_3/*", "tokenizer_3/*")
    assert all_["e/lora"].files == ("ink.safetensors",)
    assert all_["h/lora"].files == ("*.safetensors", "*adapter_config.json")
    assert "models/ip.safetensors" in all_["g/ip"].files
    assert "models/image_encoder/*.safetensors" in all_["g/ip"].files
    patterns = [name for each in all_.values() for name in each.files]
    assert {Path(name).suffix for name in patterns} == {".safetensors", ".json", ".txt", ".model"}


@pytest.mark.parametrize("source", ["loras/ink.safetensors", "a.ckpt", "/gone", "./gone", "../a/b"])
def test_a_file_that_is_missing_is_not_looked_for_in_repositories(source: str) -> None:
    with pytest.raises(ModelLoadError, match="is missing: there is no such file or folder"):
        cached_folder(source, None, "model_index.json")


@pytest.mark.parametrize("source", ["nobody/none", "models/deep/down", "no such thing"])
def test_what_was_not_pulled_is_a_clear_error(source: str) -> None:
    with pytest.raises(ModelLoadError, match="models pull"):
        cached_folder(source, None, "model_index.json")
