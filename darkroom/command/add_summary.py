"""What became of a folder of loose files, in a few lines; of the command line only."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from darkroom.command.finds import NAMES
from darkroom.errors import DarkroomError, cut

if TYPE_CHECKING:
    from darkroom.command.adding import Added, Wishes


def summary(
    results: Sequence[tuple[Path, "Added | DarkroomError"]], wishes: "Wishes"
) -> Iterator[str]:
    """Of a folder how many were added of each kind, and how many left out for each reason, the
    most frequent first."""
    done = "would be added" if wishes.dry_run else "added"
    counted = Counter(_summed_up(place, result, done) for place, result in results)
    if len(results) > 1:
        yield "In all:"
        for (_, what), count in sorted(counted.items(), key=lambda each: (each[0][0], -each[1])):
            yield f"{count:>8}  {what}"


def _summed_up(place: Path, result: "Added | DarkroomError", done: str) -> tuple[int, str]:
    """What of a result is the same for others: where it stands in a summary, and in words."""
    if isinstance(result, DarkroomError):
        return 2, f"left out: {cut(_of_any(str(result), place), 200)}"
    return (0, f"{done}: {NAMES[result.find.field]}") if result.is_new else (1, "there already")


def _of_any(reason: str, place: Path) -> str:
    """What is said of a file or folder as if of another. Names without an ending may be words, and
    count only where a sentence begins with them."""
    if place.suffix:
        reason = reason.replace(place.name, "it")
    for name in (place.name, place.stem):
        if reason.startswith(f"{name} "):
            return f"it{reason.removeprefix(name)}"
    return reason
