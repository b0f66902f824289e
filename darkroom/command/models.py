"""`darkroom models`: the models of models.toml on this machine; starts a worker's modules as
processes, imports neither service nor worker.

Exit status: 0 done, 1 failed, 2 wrong usage.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel

from darkroom.catalog import Catalog
from darkroom.command import models_file
from darkroom.command.child import become
from darkroom.command.flags import with_settings
from darkroom.command.remote import models as models
from darkroom.command.terminal import AsJson, faults, out, plain, print_json
from darkroom.settings import Settings

if TYPE_CHECKING:
    from darkroom.offers import Checked


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

    One after the other, and says what each can do. With a Redis named, the API learns it too. Exit
    status 1 if one fails."""
    from darkroom.command import doctor

    with faults():
        checked = doctor.check_models(settings, names or [], output=output)
    if as_json:
        times = {"picture_s", "peak_bytes"}
        print_json([{**_plain(each.record), **_plain(each, times)} for each in checked])
    else:
        for each in checked:
            _say_checked(each)
    if any(each.record.error for each in checked):
        raise typer.Exit(1)


@models.command("pull")
@with_settings("models")
def models_pull(
    settings: Settings,
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Models of models.toml.")],
) -> None:
    """Download models of repositories from the Hub.

    What they need goes into the Hugging Face cache (HF_HOME): safetensors and texts only. Nothing
    else in Darkroom uses the network to get models."""
    become("worker.loading.hub", settings, *names)


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


def _plain(model: BaseModel, fields: set[str] | None = None) -> dict[str, Any]:
    return model.model_dump(mode="json", include=fields)


def _say_checked(checked: "Checked") -> None:
    record = checked.record
    if record.error:
        out.print(f"  fault  {record.name}: {record.error}")
        return
    peak = f"{(checked.peak_bytes or 0) / 2**30:.1f} GiB"
    out.print(
        f"     ok  {record.name}: {', '.join(record.tasks)}; loads in {record.load_s or 0:.1f} s, "
        f"a picture of few steps in {checked.picture_s or 0:.1f} s, {peak} at most"
    )
    for what, why in record.faults.items():
        out.print(f"         {what}: {why}")
