"""docker-compose.yml and the Docker files: valid, complete, and in step with the settings."""

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis.exceptions import NoPermissionError

from darkroom.command.valkey import server_binary
from darkroom.queue.connection import connect
from darkroom.queue.server import answers, read_facts
from darkroom.settings import Settings
from tests.deployment import Deployment

ROOT = Path(__file__).parents[1]
COMPOSE_ONLY = {"DARKROOM_BIND", "DARKROOM_QUEUE_PASSWORD", "DARKROOM_WORKER_MEMORY"}
OF_THE_IMAGE = {"HOST", "PORT", "STATE_DIR", "STORE", "MODELS", "LORA_DIR"}
OF_ONE_WORKER = {"DEVICE", "WORKER_MODELS", "WORKER_NAME"}


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
    command = compose_command()
    if command is None:
        pytest.skip("neither docker compose nor docker-compose is installed here")
    environment = os.environ | {"COMPOSE_PROFILES": profile, "DARKROOM_METADATA": "none"}
    done = subprocess.run(
        [*command, "config"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert {"valkey", "api", "keeper"} < set(services)
    for name in services.keys() - {"valkey"}:
        passed = services[name]["environment"]
        assert passed["DARKROOM_METADATA"] == "none"
        assert passed["DARKROOM_REDIS_URL"] == "redis://darkroom:darkroom@valkey:6379/0"


def compose_command() -> list[str] | None:
    """Compose as a plugin of docker, or as the program of its first version."""
    for command in (["docker", "compose"], ["docker-compose"]):
        with contextlib.suppress(FileNotFoundError):
            if subprocess.run([*command, "version"], capture_output=True).returncode == 0:
                return command
    return None


def test_every_setting_reaches_every_container(compose: dict[str, Any]) -> None:
    expected = settings_variables() - {f"DARKROOM_{name}" for name in OF_THE_IMAGE | OF_ONE_WORKER}
    for name in ("api", "keeper", "worker", "worker-cpu"):
        passed = compose["services"][name]["environment"]
        assert expected - passed.keys() == set(), name
        # A value of the file's own would hide that of .env.
        fixed = {each for each in expected if not (passed[each] or "${").startswith("${")}
        assert fixed == {"DARKROOM_LOG_FORMAT"}, name
    for name in ("DARKROOM_DEVICE", "DARKROOM_WORKER_MODELS"):
        assert name in compose["services"]["worker"]["environment"]


def test_every_variable_of_the_example_is_used(compose: dict[str, Any]) -> None:
    example = set(re.findall(r"^# ([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    passed = {name for each in compose["services"].values() for name in each.get("environment", {})}
    used = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
    assert example - passed - used == set()


def test_every_service_has_bounds(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["mem_limit"], name
        assert service["pids_limit"], name
        assert all("size=" in mount for mount in service["tmpfs"]), name
        assert service["logging"]["options"]["max-size"], name


def test_the_queue_has_no_way_out_and_the_keeper_has_one_for_webhooks(
    compose: dict[str, Any],
) -> None:
    assert compose["networks"]["queue"]["internal"] is True
    assert compose["services"]["valkey"]["networks"] == ["queue"]
    assert compose["services"]["keeper"]["networks"] == ["queue", "default"]


def test_what_is_published_elsewhere_asks_for_keys(compose: dict[str, Any]) -> None:
    """The container itself listens on all addresses: that of its port decides."""
    api = compose["services"]["api"]
    published, default = re.match(r"(\$\{DARKROOM_BIND:-(.*?)\})", api["ports"][0]).groups()
    assert api["environment"]["DARKROOM_PUBLISHED"] == published
    inside = {"host": "0.0.0.0", "_env_file": None}
    assert "DARKROOM_HOST=0.0.0.0" in dict(dockerfile("service"))["ENV"]
    assert not Settings(published=default, **inside).asks_for_keys
    assert Settings(published="0.0.0.0", **inside).asks_for_keys
    assert Settings(**inside).asks_for_keys


@pytest.mark.long
def test_darkroom_runs_as_the_user_that_the_queue_lets_in(
    compose: dict[str, Any], tmp_path: Path
) -> None:
    """With the server's command as it stands, but for where the server listens."""
    command = [
        re.sub(r"\$\{\w+:-(\w+)\}", r"\1", word)
        for word in compose["services"]["valkey"]["command"]
    ]
    socket = tmp_path / "queue.sock"
    with Deployment(
        tmp_path / "d", ROOT / "models.toml", redis_url=f"unix://darkroom:darkroom@{socket}"
    ) as all_of_it:
        server = [server_binary(), *command[1:], "--port", "0", "--unixsocket", str(socket)]
        process = subprocess.Popen([*server, "--dir", str(tmp_path)], stdout=subprocess.DEVNULL)
        try:
            all_of_it.until(lambda: answers(f"unix://{socket}"), "the queue answers")
            with connect(f"unix://{socket}") as stranger, pytest.raises(NoPermissionError):
                stranger.get("darkroom:ticket")
            with connect(f"unix://darkroom:darkroom@{socket}") as user:
                with pytest.raises(NoPermissionError):
                    user.flushall()
                with pytest.raises(NoPermissionError):
                    user.config_set("maxmemory", 0)
            facts = read_facts(f"unix://darkroom:darkroom@{socket}")
            assert facts.memory["maxmemory_policy"] == "noeviction"
            assert facts.appendfsync == "everysec"
            all_of_it.start_api()
            all_of_it.start_worker()
            all_of_it.start("keeper", "darkroom.command.cli", "keeper")
            job = all_of_it.submit(prompt="a red apple", num_inference_steps=1)
            followed = all_of_it.http.get(job["urls"]["events"]).text
            assert "event: done" in followed
            assert all_of_it.finished(job["id"])["status"] == "succeeded"
            all_of_it.http.delete(f"/api/v1/jobs/{job['id']}").raise_for_status()
            assert all_of_it.processes["keeper"].poll() is None
        finally:
            process.terminate()
            process.wait()


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
        # Each has its own name, from its container's.
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
