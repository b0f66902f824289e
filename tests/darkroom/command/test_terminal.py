import json
import sys
from pathlib import Path

import pytest
import typer

from darkroom.command.terminal import (
    command_line,
    err,
    faults,
    out,
    print_json,
    print_rows,
    print_rows_and_text,
)
from darkroom.errors import DarkroomError


@pytest.mark.parametrize(
    ("error", "said", "status"),
    [
        (
            DarkroomError("There is no [b]such[/b] model."),
            "Error: There is no [b]such[/b] model.\n",
            1,
        ),
        (KeyboardInterrupt(), "Stopped.\n", 130),
    ],
)
def test_what_goes_wrong_on_purpose_is_a_sentence_and_a_status(
    error: BaseException, said: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended, faults():
        raise error
    assert ended.value.exit_code == status
    assert capsys.readouterr() == ("", said)


def test_a_mistake_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), faults():
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("called", "on_path", "expected"),
    [
        (".venv/bin/darkroom", False, ".venv/bin/darkroom"),
        ("{cwd}/.venv/bin/darkroom", False, ".venv/bin/darkroom"),
        ("{cwd}/.venv/bin/darkroom", True, "darkroom"),
        (".venv/bin/darkroom", True, ".venv/bin/darkroom"),
    ],
)
def test_a_hint_can_be_typed_as_it_stands(
    called: str, on_path: bool, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / ".venv/bin/darkroom"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(program.parent) if on_path else "/nowhere")
    monkeypatch.setattr(sys, "argv", [called.format(cwd=tmp_path)])
    assert command_line("generate", "a cat") == f"{expected} generate 'a cat'"


def test_rows_line_up_and_no_cell_breaks_them(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows_and_text([("id", "prompt"), ("猫", "a\nb" + "x" * 99), ("abc", ":cat:")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "id   prompt"
    assert lines[1].startswith("猫   a\\nbxxx")
    assert lines[1].endswith("x…")
    assert lines[2] == "abc  :cat:"


def test_results_and_remarks_go_apart(capsys: pytest.CaptureFixture[str]) -> None:
    out.print("a[red].png  seed 3")
    err.print("denoise  step 3/4")
    assert capsys.readouterr() == ("a[red].png  seed 3\n", "denoise  step 3/4\n")


def test_rows_stand_in_columns_and_are_never_cut_short(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    long = "job_" + "0" * 32
    print_rows([("job", "status", ""), (long, "queued", "x")])
    assert capsys.readouterr().out.splitlines() == [
        f"{'job':36}  status",
        f"{long}  queued  x",
    ]


def test_json_is_for_scripts_and_keeps_every_letter(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"prompt": "猫 [red]", "images": []}
    print_json(value)
    said = capsys.readouterr().out
    assert json.loads(said) == value
    assert "猫 [red]" in said
