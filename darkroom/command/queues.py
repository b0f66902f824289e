"""`darkroom queue`: what waits, and pausing it; a client of any URL."""

from typing import Annotated, Any, Literal

import typer

from darkroom.client.connecting import DEFAULT_URL
from darkroom.command.remote import Key, Url, client_of
from darkroom.command.terminal import AsJson, err, faults, out, print_json, print_rows
from darkroom.text import plain

queue = typer.Typer(help="List, pause and resume queues.", no_args_is_help=True)

Model = Annotated[
    str | None, typer.Argument(metavar="[MODEL]", help="Whose queues; left out: those of all.")
]

_HEADINGS = ("queue", "queued", "running", "oldest", "work", "workers", "state")


@queue.command("ls")
def queue_ls(url: Url = DEFAULT_URL, key: Key = None, as_json: AsJson = False) -> None:
    """List the queues: one for each model and priority."""
    with faults(), client_of(url, key) as client:
        found = client.queues()
    if as_json:
        print_json(found)
        return
    if found["data"]:
        print_rows([_HEADINGS, *map(_row, found["data"])])
    else:
        err.print("No queue has had a job yet.")
    err.print(plain(_said(found.get("paused", _NOTHING))))


@queue.command("pause")
def queue_pause(
    model: Model = None, url: Url = DEFAULT_URL, key: Key = None, as_json: AsJson = False
) -> None:
    """Let the jobs of a model, or of all, wait.

    New ones are accepted, those that run go on. It lasts until `darkroom queue resume`."""
    _switch("pause", model, url, key, as_json=as_json)


@queue.command("resume")
def queue_resume(
    model: Model = None, url: Url = DEFAULT_URL, key: Key = None, as_json: AsJson = False
) -> None:
    """Let the jobs of a model, or of all, go on.

    Without MODEL every pause ends. With it, a pause of all stays."""
    _switch("resume", model, url, key, as_json=as_json)


_NOTHING: dict[str, Any] = {"all": False, "models": []}


def _switch(
    verb: Literal["pause", "resume"], model: str | None, url: str, key: str | None, *, as_json: bool
) -> None:
    with faults(), client_of(url, key) as client:
        state = client.switch_queue(verb, model)
    print_json(state) if as_json else out.print(plain(_said(state)))


def _said(paused: dict[str, Any]) -> str:
    if paused["all"]:
        return "All queues are paused. They go on with: darkroom queue resume"
    return f"Paused: {', '.join(paused['models']) or 'nothing'}."


def _row(state: dict[str, Any]) -> tuple[str, ...]:
    seconds = (f"{state[name]:.1f} s" for name in ("oldest_age_s", "backlog_s"))
    counts = (str(state[name]) for name in ("queued", "running"))
    paused = "paused" if state.get("paused") else ""
    return state["name"], *counts, *seconds, str(state["workers"]), paused
