"""Models tried in a process of its own, each told as soon as it is known."""

import json
from pathlib import Path

import pytest
from redis import Redis

from darkroom.checked import Loading
from darkroom.command.checking import check_models
from darkroom.command.valkey import RedisServer
from darkroom.errors import DarkroomError, ModelNotFoundError
from darkroom.queue.model_records import ModelRecords
from darkroom.settings import Settings
from tests import tiny
from tests.running import darkroom

CARD = '[[models]]\nname = "{0}"\nsource = "{0}"\n'
NAMES = ("gone", "good", "page", "heavy", "last")


@pytest.fixture(scope="module")
def models_toml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny.write("sd15", folder / "good")
    for name in ("heavy", "last"):
        (folder / name).symlink_to(folder / "good")
    (folder / "page").write_text("<html>")
    (folder / "models.toml").write_text("".join(map(CARD.format, NAMES)))
    return folder / "models.toml"


def in_place_of_torch(folder: Path, code: str) -> dict[str, str]:
    """The environment of processes that run this code when they import torch."""
    (folder / "torch.py").write_text(code)
    return {"PYTHONPATH": str(folder)}


def settings(models_toml: Path, **own: object) -> Settings:
    return Settings(models=models_toml, device="cpu", torch_threads=1, **own)


def test_each_model_is_told_in_a_line_of_its_own_and_to_the_api(
    models_toml: Path, redis: Redis, valkey: RedisServer
) -> None:
    done = darkroom(
        *("models", "check", "good", "gone", "--json", "--device", "cpu"),
        *("--models", models_toml, "--redis-url", valkey.url),
    )
    assert done.returncode == 1, done.stderr
    gone, good = map(json.loads, done.stdout.splitlines())
    assert (gone["name"], good["name"], good["error"]) == ("gone", "good", None)
    assert "gone is no folder" in gone["error"]
    assert (good["picture_width"], good["width"]) == (64, 16)
    assert good["picture_s"] > 0
    records = ModelRecords(redis).all()
    assert records["gone"].error == gone["error"]
    assert "text-to-image" in records["good"].tasks


def test_files_of_no_use_are_told_before_torch_is_imported(
    models_toml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in in_place_of_torch(tmp_path, "raise OSError('imported')").items():
        monkeypatch.setenv(name, value)
    own = settings(models_toml)
    told = {each.record.name: each.record.error for each in check_models(own, ["gone", "page"])}
    assert "gone is no folder" in told["gone"]
    assert "page is a web page" in told["page"]
    with pytest.raises(ModelNotFoundError, match="There are: gone, good"):
        next(check_models(own, ["gone", "bad"]))
    checked = check_models(own, ["good", "gone"])
    assert next(checked).record.name == "gone"
    with pytest.raises(DarkroomError, match="cannot be loaded: OSError: imported"):
        next(checked)


TRIES = """
import json, os, signal, sys, time
names = [name for name in sys.argv[sys.argv.index("--") + 1 :]]
for name in names:
    print(json.dumps({"name": name, "share": 0.5}), flush=True)
    if name == "heavy":
        HEAVY
    print(json.dumps({"record": {"name": name}, "picture_s": 1.0}), flush=True)
sys.exit(0)
"""


@pytest.mark.parametrize(
    ("heavy", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "ended by SIGKILL, as systems do that run out"),
        ("sys.exit('no room')", "no room"),
        ("signal.pause()", "no answer within 2 s"),
    ],
)
def test_a_model_that_takes_its_process_down_is_told_and_others_go_on(
    heavy: str,
    reason: str,
    models_toml: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stand_in = TRIES.replace("HEAVY", heavy)
    for name, value in in_place_of_torch(tmp_path, stand_in).items():
        monkeypatch.setenv(name, value)
    heard: list[Loading] = []
    own = settings(models_toml, load_timeout_s=2)
    names = ["good", "heavy", "last"]
    told = [each.record for each in check_models(own, names, tell=heard.append)]
    assert [each.name for each in told] == names
    assert [each.error is None for each in told] == [True, False, True]
    assert reason in told[1].error
    assert [(each.name, each.share) for each in heard] == [(name, 0.5) for name in names]
