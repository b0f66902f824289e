"""The tables of docs/schedulers.md, as docs/tables.py puts them there."""

from collections.abc import Callable

from darkroom.scheduler_table import FAR, STEPS, layouts, table
from darkroom.schedulers import short


def of_schedulers() -> dict[str, str]:
    return {
        "schedulers from noise": _rows(lambda row: row[0]),
        "schedulers from a picture": _rows(lambda row: max(filter(None, row[1:]), default=0)),
    }


def _rows(levels: Callable[[list[int | None]], int | None]) -> str:
    """A row for each way to lay out steps, a column for each number of them; how far off they are,
    as `levels` makes one number of those measured."""
    rows = dict[tuple[str, ...], list[str]]()
    for layout in layouts():
        cells = [levels(row) or 0 for row in table()[layout.name]]
        words = (f"**{each}**" if each > FAR else str(each) for each in cells)
        key = (short(layout.scheduler), layout.sigmas or "", *words)
        rows.setdefault(key, []).append(layout.spacing or "")
    heads = ("scheduler", "sigmas", "timestep_spacing", *map(str, STEPS))
    lines = [" | ".join(heads), " | ".join(["---"] * 3 + ["--:"] * len(STEPS))]
    for (name, sigmas, *cells), spacings in sorted(rows.items()):
        spacing = "any" if len(spacings) == 3 else ", ".join(spacings)
        lines.append(" | ".join((name, sigmas, spacing, *cells)))
    return "".join(f"| {line} |\n" for line in lines)
