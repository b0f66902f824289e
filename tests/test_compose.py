"""docker-compose.yml and the Docker files: valid, complete, and in step with the settings."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from darkroom.settings import Settings

ROOT = Path(__file__).parents[1]
COMPOSE_ONLY = {"DARKROOM_BIND"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def settings_variables() -> set[str]:
    return {f"DARKROOM_{name.upper()}" for name in Settings.model_fields}


def dockerfile(name: str) -> list[tuple[str, str]]:
    """Instructions and arguments, continued lines joined, comments left out."""
    text = (ROOT / "docker" / f"{name}.Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines()]


def test_compose_file_follows_the_compose_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]
    command += ["vendor.compose-spec", str(ROOT / "docker-compose.yml")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_compose_itself_accepts_the_file(profile: str) -> None:
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode
    ):
        pytest.skip("docker compose is not installed here")
    command = ["docker", "compose", "--profile", profile, "config", "--format", "json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {"valkey", "api", "keeper"} < set(json.loads(done.stdout)["services"])


def test_queue_is_durable_and_never_evicts(compose: dict[str, Any]) -> None:
    command = " ".join(compose["services"]["valkey"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert "queue:/data" in compose["services"]["valkey"]["volumes"]
    assert "ports" not in compose["services"]["valkey"]


def test_every_service_is_hardened_and_waits_for_the_queue(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        if name != "valkey":
            assert service["depends_on"]["valkey"]["condition"] == "service_healthy", name


def test_workers_can_be_scaled(compose: dict[str, Any]) -> None:
    for name in ("worker", "worker-cpu"):
        assert not {"container_name", "ports", "hostname"} & set(compose["services"][name])
        assert "DARKROOM_WORKER_NAME" not in compose["services"][name]["environment"]


def test_gpu_is_reserved_for_the_gpu_worker_alone(compose: dict[str, Any]) -> None:
    reserved = {n for n, service in compose["services"].items() if "deploy" in service}
    assert reserved == {"worker"}
    [device] = compose["services"]["worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert compose["services"]["worker-cpu"]["environment"]["DARKROOM_DEVICE"] == "cpu"


def test_api_workers_and_keeper_share_the_pictures(compose: dict[str, Any]) -> None:
    for name in ("api", "keeper", "worker", "worker-cpu"):
        assert "images:/data" in compose["services"][name]["volumes"], name


def test_variables_are_settings() -> None:
    example = (ROOT / ".env.example").read_text()
    texts = [example, (ROOT / "docker-compose.yml").read_text()]
    texts += [path.read_text() for path in (ROOT / "docker").glob("*.Dockerfile")]
    used = set(re.findall(r"DARKROOM_[A-Z_]*[A-Z]", "\n".join(texts)))
    assert used - COMPOSE_ONLY <= settings_variables()


@pytest.mark.parametrize("name", ["service", "worker"])
def test_image_runs_as_a_user_and_gets_signals(name: str) -> None:
    last = dict(dockerfile(name))
    assert last["USER"] == "10001"
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(last["CMD"])[0] == "darkroom"
    assert json.loads(last["HEALTHCHECK"].partition("CMD ")[2])


@pytest.mark.parametrize("name", ["service", "worker"])
def test_image_is_made_of_files_that_are_sent_to_docker(name: str) -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    for word, rest in dockerfile(name):
        if word == "COPY" and not rest.startswith("--from"):
            *sources, _target = rest.split()
            assert set(sources) <= sent
            assert [s for s in sources if not (ROOT / s).exists()] == []


def test_service_image_holds_no_torch() -> None:
    [install] = [rest for word, rest in dockerfile("service") if "pip install" in rest]
    assert install.endswith('pip install --no-cache-dir -c constraints.txt ".[service]"')
