"""Which queues an operator has paused; asked by the service, sends nothing itself.

Their jobs are accepted and wait, what runs goes on."""

from dataclasses import dataclass
from typing import Literal

from pydantic import ConfigDict

from darkroom.queue.exchange import Exchange, run, send

_PAUSED = "darkroom:paused"
_ALL = "*"


@dataclass(frozen=True)
class Paused:
    """What waits until an operator resumes it."""

    __pydantic_config__ = ConfigDict(use_attribute_docstrings=True)

    all: bool
    """Whether the queues of all models do."""
    models: tuple[str, ...]
    """Models that were paused by name."""

    def holds(self, model: str) -> bool:
        """Whether the jobs of a model wait."""
        return self.all or model in self.models

    def __str__(self) -> str:
        """A sentence; empty where nothing is paused."""
        if self.all:
            return "All queues are paused; jobs wait until an operator resumes them."
        if self.models:
            names = ", ".join(self.models)
            return f"An operator paused the queues of {names}; their jobs wait."
        return ""


def switch(verb: Literal["pause", "resume"], model: str | None) -> Exchange[Paused]:
    """Let the queues of a model, or of all for None, wait or go on. Going on with all ends every
    pause; going on with one does not end that of all. Returns what is paused then."""
    return _read((yield from run("pause", verb, model or _ALL)))


def paused() -> Exchange[Paused]:
    """What is paused now."""
    return _read((yield from send("SMEMBERS", _PAUSED)))


def _read(members: list[bytes] | set[bytes]) -> Paused:
    names = {member.decode() for member in members}
    return Paused(_ALL in names, tuple(sorted(names - {_ALL})))
