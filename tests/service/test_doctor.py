"""The doctor as a child of the service: what it is told of secrets, and that it ends."""

import asyncio
from pathlib import Path

import pytest

from darkroom.settings import Settings
from service import doctor
from tests.running import wait_until_gone


def examine(settings: Settings, **more: float) -> list[doctor.Check]:
    return asyncio.run(doctor.examine(settings, **more))


def settings(folder: Path, **more: object) -> Settings:
    return Settings(_env_file=None, state_dir=folder, **more)


def test_what_it_finds_holds_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "s3cret")
    away = settings(tmp_path, redis_url="redis://user:s3cret@127.0.0.1:1/0")
    found = {check.name: check for check in examine(away)}
    assert found["Redis"].state == "fault"
    assert found["image store"].state == "ok"
    assert "s3cret" not in str(found)


@pytest.mark.parametrize(
    ("program", "found"),
    [
        ("import time; print(flush=True); time.sleep(600)", "It did not end within 0.3 s."),
        ("print('[]x')", "It ended with status 0 and told nothing."),
        ("raise SystemExit(3)", "It ended with status 3 and told nothing."),
    ],
)
def test_one_that_hangs_or_breaks_is_a_finding(
    program: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "COMMAND", ("-S", "-c", program))
    longest_s = 0.3 if "sleep" in program else 30.0
    (check,) = examine(settings(tmp_path), longest_s=longest_s)
    assert (check.name, check.state, check.found) == ("doctor", "fault", found)
    assert "darkroom doctor" in check.remedy


def test_whoever_leaves_ends_it_with_the_children_that_it_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = tmp_path / "ids"
    program = f"import os, time; os.fork(); open({str(ids)!r}, 'a').write(f'{{os.getpid()}}\\n')"
    monkeypatch.setattr(doctor, "COMMAND", ("-S", "-c", f"{program}; time.sleep(600)"))

    async def leave_once_it_runs() -> None:
        examining = asyncio.create_task(doctor.examine(settings(tmp_path)))
        while not ids.exists() or ids.read_text().count("\n") < 2:
            await asyncio.sleep(0.01)
        examining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await examining

    asyncio.run(leave_once_it_runs())
    assert not wait_until_gone(set(map(int, ids.read_text().split())))
