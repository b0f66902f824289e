"""`darkroom models`: the models of models.toml on this machine; starts a worker's modules as
processes, imports neither service nor worker.

Exit status: 0 done, 1 failed, 2 wrong usage.
"""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from darkroom.catalog import Catalog
from darkroom.command import models_file
from darkroom.command.child import become
from darkroom.command.flags import with_settings
from darkroom.command.remote import models as models
from darkroom.command.terminal import AsJson, command_line, err, faults, out, print_line
from darkroom.errors import DarkroomError, ModelNotFoundError
from darkroom.models_text import ModelsFileError
from darkroom.settings import Settings
from darkroom.text import plain

if TYPE_CHECKING:
    from darkroom.checked import Checked, Loading
    from darkroom.command.adding import Added, Wishes


@models.command("check")
@with_settings("models", "device", "redis_url")
def models_check(
    settings: Settings,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Left out: all of them.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Where to write the pictures."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Load models here and make a small picture with each.

    Says of each what it can do as soon as that is known; with --json in a line of its own. With a
    Redis named, the API learns it too. Exit status 1 if one fails."""
    from darkroom.command import checking

    bad = False
    with faults(), err.status("starts") as waiting:
        checked = checking.check_models(
            settings, names or [], output=output, tell=lambda told: waiting.update(_loads(told))
        )
        for each in checked:
            waiting.stop()  # what follows goes where it belongs, and not where that is drawn
            _say_checked(each, as_json=as_json)
            waiting.start()
            bad = bad or each.record.error is not None
    if bad:
        raise typer.Exit(1)


@models.command("pull")
@with_settings("models")
def models_pull(
    settings: Settings,
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME", help="Models of models.toml, or short names such as sd15."),
    ],
) -> None:
    """Download models of repositories from the Hub.

    What they need goes into the Hugging Face cache (HF_HOME): safetensors and texts only, and goes
    on where it was cut off. Short names get a card first. Nothing else in Darkroom uses the network
    to get models."""
    with faults():
        names = _with_cards(settings.models, names)
    become("worker.loading.pulling", settings, *names)


@models.command("add")
@with_settings("models")
def models_add(
    settings: Settings,
    what: Annotated[
        str,
        typer.Argument(
            metavar="PATH|REPO|FOLDER",
            help="A file, a model's folder, a repository of the Hub, or a folder of loose files.",
        ),
    ],
    name: Annotated[str | None, typer.Option(help="What clients call it.")] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL", help="The model of a LoRA, ...; may be repeated."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="Where the parts are that a transformer's file lacks."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
) -> None:
    """Put a model, LoRA, VAE, ControlNet or embedding into models.toml.

    What it is and for which models is told by its header. Nothing is loaded, copied or moved. A
    running Darkroom offers it within seconds."""
    from darkroom.command import add_summary, adding, finds

    wishes = adding.Wishes(settings.models, name, tuple(to or ()), base, dry_run)
    with faults():
        found = finds.find(what)
        if found is not None:
            _say_added(adding.add(found, wishes), wishes)
            return
        results = []
        for place, result in adding.add_all(Path(what).expanduser(), wishes):
            _say_of_folder(Path(what), place, result, wishes)
            results.append((place, result))
    for line in add_summary.summary(results, wishes):
        out.print(plain(line))
    if not any(isinstance(result, adding.Added) for _, result in results):
        err.print(f"Error: {what} holds nothing that can be used.")
        raise typer.Exit(1)
    if not dry_run:
        _say_check()


@models.command("convert")
@with_settings("models")
def models_convert(
    settings: Settings,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .ckpt, .pt, .pth or .bin.")],
) -> None:
    """Write the weights of a pickle into a .safetensors file beside it.

    Nothing in the file is run: one that needs code is refused."""
    become("worker.loading.convert", settings, str(file))


@models.command("remove")
@with_settings("models")
def models_remove(
    settings: Settings,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model of models.toml.")],
) -> None:
    """Take a model out of models.toml; its files stay.

    What runs on it ends as if nothing had happened; jobs that wait are kept for an hour, should it
    come back."""
    with faults():
        name = Catalog.read(settings.models).names([name])[0]
        models_file.change(settings.models, lambda text: models_file.without_card(text, name))
    out.print(plain(f"{name} is no longer in {settings.models}; its files are where they were."))
    out.print("Jobs that wait for it are kept for an hour, should it come back.")


def _with_cards(path: Path, names: list[str]) -> list[str]:
    """The names of models, of which those that only `PRESETS` has get a card. Raises
    DarkroomError."""
    from darkroom.command import adding, finds
    from darkroom.command.presets import PRESETS

    known = Catalog.read(path)
    new = [name for name in dict.fromkeys(names) if not known.has(name) and name in PRESETS]
    try:
        known.names([name for name in names if name not in new])
    except ModelNotFoundError as error:
        raise ModelsFileError(
            f"{error} Models of the Hub have short names: {', '.join(PRESETS)}."
        ) from None
    for name in new:
        find = finds.Find(PRESETS[name].source, finds.MODEL)
        added = adding.add(find, adding.Wishes(path, name))
        if added.is_new:
            out.print(f"{name}: a card for it is in {path} now")
        names = [added.name if each == name else each for each in names]
    return names


def _say_added(added: "Added", wishes: "Wishes") -> None:
    would = "would be added: " if wishes.dry_run else "added " if added.is_new else ""
    out.print(plain(would + added.told))
    for note in added.notes:
        out.print(plain(f"      {note}"))
    if wishes.dry_run and added.is_new:
        out.print(added.text, end="")
    elif added.is_new:
        _say_check(added.models[0] if added.models else added.name)


def _say_check(*names: str) -> None:
    out.print(f"Try it: {command_line('models', 'check', *names, '-o', 'out')}")


def _say_of_folder(
    folder: Path, place: Path, result: "Added | DarkroomError", wishes: "Wishes"
) -> None:
    """One line for one file."""
    if isinstance(result, DarkroomError):
        with suppress(ValueError):
            place = place.relative_to(folder.expanduser())
        out.print(plain(f"left out  {place}: {result}"))
        return
    done = "there" if not result.is_new else "would add" if wishes.dry_run else "added"
    out.print(plain(f"{done:>8}  {result.told}"))


def _loads(told: "Loading") -> str:
    doing = f"loads, {told.share:.0%}" if told.share < 1 else "makes a picture"
    return f"{plain(told.name)} {doing}"


def _say_checked(checked: "Checked", *, as_json: bool) -> None:
    record = checked.record
    if as_json:
        told = checked.model_dump(mode="json")
        print_line({**told.pop("record"), **told})
        return
    if record.error:
        out.print(f"  fault  {record.name}: {record.error}")
        return
    peak = f"{(checked.peak_bytes or 0) / 2**30:.1f} GiB"
    is_small = (checked.picture_width or 0) < (record.width or 0)
    small = ", small as a CPU is slow," if is_small else ""
    out.print(
        f"     ok  {record.name}: {', '.join(record.tasks)}; loads in {record.load_s or 0:.1f} s, "
        f"a picture of {checked.picture_width} x {checked.picture_height}{small} in few steps in "
        f"{checked.picture_s or 0:.1f} s, {peak} at most"
    )
    for what, why in record.faults.items():
        out.print(f"         {what}: {why}")
