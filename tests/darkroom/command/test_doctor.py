"""The doctor finds each fault and says what to do about it; against real servers and folders."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from darkroom.command import doctor
from darkroom.command.valkey import RedisServer
from darkroom.settings import Settings
from tests import tiny
from tests.running import RunningUp, darkroom

TORCH = """
from types import SimpleNamespace
__version__ = "2.13.0"
version = SimpleNamespace(cuda=None, hip=None)
cuda = SimpleNamespace(is_available=lambda: False)
"""


@pytest.fixture
def settings(tmp_path: Path, tiny_models: Path) -> Settings:
    return Settings(state_dir=tmp_path / "state", models=tiny_models, device="cpu")


@pytest.fixture
def in_place_of_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What tells its version at once, for tests of other things."""
    (tmp_path / "torch.py").write_text(TORCH)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.fixture
def with_redis(settings: Settings, redis: Redis, valkey: RedisServer) -> Iterator[Settings]:
    before = redis.config_get("*")
    yield settings.model_copy(update={"redis_url": valkey.url})
    for name in ("appendonly", "appendfsync", "maxmemory-policy", "maxmemory"):
        redis.config_set(name, before[name])


def found(settings: Settings) -> dict[str, doctor.Check]:
    return {check.name: check for check in doctor.examine(settings, load=False)}


def test_nothing_is_wrong_here(settings: Settings) -> None:
    checks = found(settings)
    assert {"Python", "torch", "CUDA", "embedded Valkey", "image store", "models"} <= set(checks)
    assert [check for check in checks.values() if check.state == "fault"] == []


@pytest.mark.usefixtures("in_place_of_torch")
def test_every_fault_and_note_comes_with_a_remedy(with_redis: Settings, tmp_path: Path) -> None:
    broken = {
        "redis_url": f"unix://{tmp_path}/none",
        "store": Path("/proc/none"),
        "models": tmp_path / "none.toml",
        "device": "cuda:9",
    }
    checks = found(with_redis.model_copy(update=broken))
    for name in ("Redis", "image store", "models"):
        assert checks[name].state == "fault", name
    assert [c for c in checks.values() if c.state != "ok" and not c.remedy] == []


@pytest.mark.usefixtures("in_place_of_torch")
@pytest.mark.parametrize(
    ("option", "value", "check", "state"),
    [
        ("appendonly", "no", "Redis persistence", "fault"),
        ("appendfsync", "no", "Redis persistence", "note"),
        ("maxmemory-policy", "allkeys-lru", "Redis eviction", "fault"),
    ],
)
def test_redis_that_can_lose_jobs_is_found(
    option: str, value: str, check: str, state: str, with_redis: Settings, redis: Redis
) -> None:
    assert all(check.state != "fault" for check in found(with_redis).values())
    redis.config_set("maxmemory", 10**9)
    redis.config_set(option, value)
    result = found(with_redis)[check]
    assert result.state == state
    assert value in result.found or option in result.remedy


@pytest.mark.long
def test_models_are_loaded_each_by_itself(settings: Settings, tmp_path: Path) -> None:
    tiny.write("sd15", tmp_path / "good")
    (tmp_path / "empty").mkdir()
    (tmp_path / "models.toml").write_text(
        '[[models]]\nname = "empty"\nsource = "empty"\n[[models]]\nname = "good"\nsource = "good"\n'
    )
    own = settings.model_copy(update={"models": tmp_path / "models.toml"})
    checks = {check.name: check for check in doctor.examine(own, load=True)}
    assert checks["model empty"].state == "fault"
    assert checks["model empty"].remedy
    assert checks["model good"].state == "ok"
    assert "text-to-image" in checks["model good"].found


def test_unknown_model_is_named(settings: Settings) -> None:
    done = darkroom("models", "check", "tinny", "--models", settings.models)
    assert done.returncode == 1
    assert "tiny" in done.stderr


def test_status_says_whether_there_is_a_fault(settings: Settings, tmp_path: Path) -> None:
    common = ("doctor", "--no-load", "--state-dir", settings.state_dir, "--models")
    well = darkroom(*common, settings.models, "--json", cwd=tmp_path)
    assert well.returncode == 0, well.stdout
    assert {"name", "state", "found", "remedy"} == set(json.loads(well.stdout)[0])
    ill = darkroom(*common, tmp_path / "none.toml", cwd=tmp_path)
    assert ill.returncode == 1
    assert "FAULT" in ill.stdout


def test_torch_that_cannot_be_imported_is_a_finding(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise OSError('libcudart.so is missing')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    broken = subprocess.run([sys.executable, "-c", "import torch"], capture_output=True)
    assert broken.returncode == 1
    check = found(settings)["torch"]
    assert check.state == "fault"
    assert "libcudart" in check.found


@pytest.mark.parametrize(
    ("device", "cards", "state", "said"),
    [
        ("cuda:3", [], "fault", "built for the CPU; it has no cuda:3"),
        ("cuda", [], "fault", "built for the CPU; it has no cuda"),
        ("auto", [], "note", "built for the CPU"),
        ("cuda:1", ["A", "B"], "ok", "A; B"),
        ("cuda:2", ["A", "B"], "fault", "A; B; there is no cuda:2"),
        ("cpu", ["A"], "ok", "A"),
    ],
)
def test_a_card_that_is_named_and_is_not_there_is_a_fault(
    device: str, cards: list[str], state: str, said: str
) -> None:
    check = doctor.cuda({"cards": cards, "built_for": "12.8" if cards else None}, device)
    assert (check.state, check.found.removeprefix("this torch is ")) == (state, said)


@pytest.mark.usefixtures("in_place_of_torch")
def test_it_is_said_whether_darkroom_up_runs(settings: Settings, shared_up: RunningUp) -> None:
    assert found(settings)["darkroom up"].found.startswith("none runs with the state directory")
    running = settings.model_copy(update={"state_dir": shared_up.state_dir})
    assert found(running)["darkroom up"].found.startswith("one runs with the state directory")
