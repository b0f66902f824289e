"""A process of `darkroom up`: its last words are about what went wrong."""

import json
from pathlib import Path

import pytest

from darkroom.command import child
from darkroom.command.child import Child
from darkroom.settings import Settings


def line(level: str, event: str) -> str:
    return json.dumps({"event": event, "level": level, "timestamp": "2026-01-02T03:04:05Z"})


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (
            [line("info", f"job_{n}") for n in range(9)],
            [f"  03:04:05 info job_{n}" for n in (7, 8)],
        ),
        (
            [line("error", "broken"), *[line("info", "job")] * 9, "Killed"],
            ["  03:04:05 error broken", "  Killed"],
        ),
        ([], [""]),
    ],
)
def test_last_words(
    written: list[str], told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = f"print({chr(10).join(written)!r})"
    monkeypatch.setitem(child.COMMANDS, "api", [child.sys.executable, "-c", says])
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "api.log").write_text("what an earlier process wrote\n")
    one = Child("api", Settings(state_dir=tmp_path), "")
    one.process.wait()
    assert one.last_words(lines=2).splitlines() == [each for each in told if each]
