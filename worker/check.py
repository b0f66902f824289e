"""Loads models one after the other, makes a picture with each and prints what came of it as JSON
lines; knows no Redis.

`python -m worker.check [--load-only] [--output FOLDER] [NAME...]`, a process of its own for
`darkroom models check` and `doctor`.
"""

import gc

if __name__ == "__main__":
    # Nothing that imports make is garbage, and looking for some takes a sixth of their time.
    gc.disable()

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from PIL import Image

from darkroom.catalog import Catalog
from darkroom.checked import Checked, Loading
from darkroom.errors import DarkroomError
from darkroom.model_card import ModelCard
from darkroom.model_record import ModelRecord
from darkroom.offers import offer
from darkroom.settings import Settings
from worker import trial
from worker.device import free_device_memory, peak, pick_device, row_counts, start_peak
from worker.gathering.gather import Gather
from worker.loaded import LoadedModels
from worker.loading.complaints import first_lines
from worker.loading.pipelines import LoadedModel
from worker.report import private_stdout

SMALL_SIDE = 256
"""Pixels of a picture that a CPU makes, as far as the card's limits allow it: a full-size model is
slow there."""


def main(names: Sequence[str], *, load_only: bool, output: Path | None) -> None:
    out = private_stdout()
    settings = Settings()
    catalog = Catalog.read(settings.models)
    device = pick_device(settings.device)

    def tell(told: Checked | Loading) -> None:
        out.write(told.model_dump_json().encode() + b"\n")

    for name in catalog.names(names):
        tell(Loading(name=name))
        card = catalog.cards[name]
        tell(check(catalog, card, device, load_only=load_only, output=output, tell=tell))
        free_device_memory()


def check(
    catalog: Catalog,
    card: ModelCard,
    device: torch.device,
    *,
    load_only: bool,
    output: Path | None,
    tell: Callable[[Loading], None] = lambda _: None,
) -> Checked:
    """What came of loading a model and, unless `load_only`, of making a picture, which is written
    to the folder `output` if there is one. `tell` hears how far the load is."""
    start_peak(device)
    loaded = LoadedModels(
        catalog,
        lambda _: None,
        Gather(row_counts=row_counts(device)),
        device,
        worker="",
        loading=nullcontext,
        progress=lambda name, share: tell(Loading(name=name, share=share)),
    )
    try:
        model = loaded.load(card.name)
    except DarkroomError as error:
        return Checked(record=ModelRecord(name=card.name, error=str(error)))
    checked = Checked(record=model.record, peak_bytes=peak(device))
    return checked if load_only else _check_picture(checked, model, catalog, device, output)


def _check_picture(
    checked: Checked,
    model: LoadedModel,
    catalog: Catalog,
    device: torch.device,
    output: Path | None,
) -> Checked:
    card = catalog.cards[model.record.name]
    began = time.monotonic()
    try:
        largest = SMALL_SIDE if device.type == "cpu" else None
        terms = offer(catalog, card, model.record)
        pictures = trial.run(model, terms, largest=largest).pictures
    except Exception as error:  # what a model does is not known before
        reason = f"{card.source} loads, but makes no picture: {first_lines(error)}"
        record = model.record.model_copy(update={"error": reason})
        return checked.model_copy(update={"record": record})
    seconds = round(time.monotonic() - began, 3)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pictures[0]).save(output / f"{card.name}.png")
    height, width = pictures[0].shape[:2]
    made = {"picture_s": seconds, "picture_width": width, "picture_height": height}
    return checked.model_copy(update={**made, "peak_bytes": peak(device)})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Load models and make a picture with each.")
    parser.add_argument("--load-only", action="store_true")
    parser.add_argument("--output", type=Path)
    parser.add_argument("names", nargs="*")
    asked = parser.parse_args()
    gc.enable()
    try:
        main(asked.names, load_only=asked.load_only, output=asked.output)
    except (DarkroomError, OSError) as fault:
        sys.exit(f"Error: {fault}")
