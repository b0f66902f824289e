"""What owners of jobs chose for requests that come later, in APIs that have such options; sends
nothing itself.

Each function is an exchange (`exchange.py`).
"""

from collections.abc import Mapping

from darkroom.queue.exchange import Exchange, Send, Word

KEPT_S = 90 * 86400
"""From the last time that an owner chose or asked."""


def choices(owner: str) -> Exchange[dict[str, str]]:
    """What an owner chose, by its name."""
    key = _key(owner)
    found, _ = yield Send((("HGETALL", key), ("EXPIRE", key, KEPT_S)))
    return {name.decode(): value.decode() for name, value in found.items()}


def choose(owner: str, chosen: Mapping[str, str]) -> Exchange[None]:
    """Keep these beside what was chosen before; "" takes one back."""
    key = _key(owner)
    commands: list[tuple[Word, ...]] = [
        ("HSET", key, name, value) if value else ("HDEL", key, name)
        for name, value in chosen.items()
    ]
    if commands:
        yield Send((*commands, ("EXPIRE", key, KEPT_S)), atomic=True)


def _key(owner: str) -> str:
    return f"darkroom:choices:{owner}"
