"""`darkroom doctor`: looks at this machine and says what to do about each fault; knows no torch.

What needs torch is asked of child processes, so that a broken installation is a finding too.
"""

import importlib.metadata
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from darkroom.catalog import Catalog
from darkroom.command.checking import check_models, last_line
from darkroom.command.valkey import embedded_url, server_binary
from darkroom.errors import DarkroomError, QueueUnavailableError
from darkroom.images import ImageStore
from darkroom.model_record import ModelRecord
from darkroom.queue.server import ServerFacts, read_facts, try_writing
from darkroom.settings import Settings

State = Literal["ok", "note", "fault"]
SIGNS = {"ok": "ok", "note": "note", "fault": "FAULT"}

OLDEST_PYTHON = (3, 11)
OLDEST_REDIS = (6, 2)
OLDEST_VALKEY = (7, 2)
LITTLE_DISK = 2 * 2**30

ASK_TORCH = """
import json, torch
count = torch.cuda.device_count() if torch.cuda.is_available() else 0
cards = [torch.cuda.get_device_properties(n) for n in range(count)]
print(json.dumps({
    "torch": torch.__version__,
    "built_for": torch.version.cuda or torch.version.hip,
    "cards": [f"{card.name}, {card.total_memory / 2**30:.0f} GiB" for card in cards],
}))
"""


@dataclass(frozen=True)
class Check:
    """One thing looked at. `remedy` says what to do; empty when nothing has to be done."""

    name: str
    state: State
    found: str
    remedy: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine(settings: Settings, *, load: bool = True) -> list[Check]:
    """All checks in the order a person would make them. None of them raises."""
    checks: list[Check] = [_python(), *_torch(settings)]
    checks += _redis(settings.redis_url) if settings.redis_url else [_embedded_valkey()]
    checks += [] if settings.redis_url else [_up(settings.state_dir)]
    checks += [_store(settings), _disk(settings), *_models(settings, load=load)]
    return checks


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        return Check("Python", "fault", found, "Darkroom needs Python 3.11, 3.12 or 3.13.")
    return Check("Python", "ok", found)


def _torch(settings: Settings) -> Iterator[Check]:
    try:
        importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        yield Check(
            "torch",
            "note",
            "not installed",
            "Enough for API and keeper. A worker needs it: pip install 'darkroom[worker]'.",
        )
        return
    done = _ask([sys.executable, "-c", ASK_TORCH], settings, 120)
    if done.returncode:
        remedy = "Install it again; `make clean` and `make install` do so in a checkout."
        yield Check("torch", "fault", f"cannot be imported: {last_line(done.stderr)}", remedy)
        return
    found = json.loads(done.stdout.splitlines()[-1])
    yield Check("torch", "ok", found["torch"])
    yield cuda(found, settings.device)


def cuda(found: dict[str, Any], device: str) -> Check:
    """What `ASK_TORCH` found, for a worker that is to run on `device`."""
    named = int(device.partition(":")[2] or 0)
    missing = f"; it has no {device}" if device.startswith("cuda") else ""
    if cards := found["cards"]:
        if missing and named >= len(cards):
            remedy = f"The last is cuda:{len(cards) - 1}: --device, DARKROOM_DEVICE."
            return Check("CUDA", "fault", f"{'; '.join(cards)}; there is no {device}", remedy)
        return Check("CUDA", "ok", "; ".join(cards))
    wanted: State = "fault" if missing else "note"
    if not found["built_for"]:
        return Check(
            "CUDA",
            wanted,
            f"this torch is built for the CPU{missing}",
            "To use a GPU, install a build of torch for it: see README.",
        )
    if shutil.which("nvidia-smi") is None:
        remedy = "Install the NVIDIA driver; in a container, the NVIDIA container toolkit."
    else:
        remedy = "See whether `nvidia-smi` lists the card and the driver is new enough for torch."
    return Check("CUDA", wanted, "no card is visible; workers run on the CPU, slowly", remedy)


def _embedded_valkey() -> Check:
    try:
        binary = server_binary()
        done = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=20)
    except (DarkroomError, OSError, subprocess.TimeoutExpired) as error:
        return Check("embedded Valkey", "fault", str(error), "Or set DARKROOM_REDIS_URL.")
    if done.returncode:
        return Check("embedded Valkey", "fault", last_line(done.stderr), "Set DARKROOM_REDIS_URL.")
    words = dict(w.split("=", 1) for w in done.stdout.split() if "=" in w)
    return Check("embedded Valkey", "ok", f"{words.get('v', 'works')}, used by `darkroom up`")


def _up(state_dir: Path) -> Check:
    """Neither is a fault: a doctor is asked before the first start too."""
    runs = embedded_url(state_dir) is not None
    found = f"{'one runs' if runs else 'none runs'} with the state directory {state_dir}"
    return Check("darkroom up", "ok", found)


def _redis(url: str) -> Iterator[Check]:
    try:
        facts = read_facts(url)
    except QueueUnavailableError as error:
        remedy = "Start it, or correct DARKROOM_REDIS_URL; without it `darkroom up` brings one."
        yield Check("Redis", "fault", str(error), remedy)
        return
    yield _redis_version(facts.server)
    yield _eviction(facts.memory)
    yield _persistence(facts)
    yield _writable(url)


def _redis_version(server: dict[str, Any]) -> Check:
    valkey = server.get("valkey_version")
    found = str(valkey or server["redis_version"])
    oldest = OLDEST_VALKEY if valkey else OLDEST_REDIS
    name = f"{'Valkey' if valkey else 'Redis'} {found}"
    if tuple(int(part) for part in found.split(".")[:2]) < oldest:
        return Check("Redis", "fault", name, f"Use {oldest[0]}.{oldest[1]} or later.")
    return Check("Redis", "ok", name)


def _eviction(memory: dict[str, Any]) -> Check:
    policy, limit = memory.get("maxmemory_policy", "?"), int(memory.get("maxmemory", 0))
    if policy == "noeviction" or not limit:
        return Check("Redis eviction", "ok", f"maxmemory-policy {policy}")
    return Check(
        "Redis eviction",
        "fault",
        f"maxmemory-policy {policy}: accepted jobs can be thrown away",
        "Set maxmemory-policy noeviction; a full Redis then refuses jobs (503) and loses none.",
    )


def _persistence(facts: ServerFacts) -> Check:
    if not int(facts.persistence.get("aof_enabled", 0)):
        return Check(
            "Redis persistence",
            "fault",
            "no append-only file: accepted jobs are lost when Redis restarts",
            "Set appendonly yes and appendfsync everysec.",
        )
    if facts.persistence.get("aof_last_write_status") == "err":
        remedy = "See its log; most often its disk is full."
        return Check("Redis persistence", "fault", "its last write of the file failed", remedy)
    if facts.appendfsync == "no":
        remedy = "Set appendfsync everysec, or a crash of the machine loses many seconds of jobs."
        return Check("Redis persistence", "note", "appendfsync no", remedy)
    return Check("Redis persistence", "ok", f"append-only file, appendfsync {facts.appendfsync}")


def _writable(url: str) -> Check:
    try:
        try_writing(url)
    except QueueUnavailableError as error:
        remedy = "Name the primary and not a replica; give it memory and disk."
        return Check("Redis writes", "fault", str(error), remedy)
    return Check("Redis writes", "ok", "accepted")


def _store(settings: Settings) -> Check:
    store = ImageStore.of(settings)
    try:
        store.check()
    except DarkroomError as error:
        remedy = "Make the folder writable for this user, or name another: DARKROOM_STORE."
        return Check("image store", "fault", f"{store}: {error}", remedy)
    return Check("image store", "ok", f"{store} is writable")


def _disk(settings: Settings) -> Check:
    free = ImageStore.of(settings).free_bytes()
    found = f"{free / 2**30:.1f} GiB free"
    if free < LITTLE_DISK:
        remedy = "Jobs are repeated while the disk is full; free some, or shorten the retention."
        return Check("disk", "note", found, remedy)
    return Check("disk", "ok", found)


def _models(settings: Settings, *, load: bool) -> Iterator[Check]:
    try:
        catalog = Catalog.read(settings.models)
    except DarkroomError as error:
        yield Check("models", "fault", str(error), "Correct the file, or name it: DARKROOM_MODELS.")
        return
    yield Check("models", "ok", f"{settings.models}: {', '.join(catalog.cards)}")
    if not load:
        return
    try:
        own = settings.model_copy(update={"redis_url": None})
        for each in check_models(own, (), load_only=True):
            yield _model(each.record)
    except DarkroomError as error:
        yield Check("models load", "fault", str(error), "See the finding on torch above.")


def _model(record: ModelRecord) -> Check:
    name = f"model {record.name}"
    if record.error:
        remedy = "See its entry in models.toml; `darkroom models check` shows only this."
        return Check(name, "fault", record.error, remedy)
    return Check(name, "ok", f"{', '.join(record.tasks)}; loads in {record.load_s or 0:.1f} s")


def _ask(
    command: Sequence[str], settings: Settings, timeout_s: float
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            env=settings.environment_of_models(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        why = f"no answer within {timeout_s:g} s"
        return subprocess.CompletedProcess(command, 1, "", why)
