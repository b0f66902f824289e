"""Loads models one after the other, makes a picture with each and prints what came of it as JSON
lines; knows no Redis.

`python -m worker.check [--load-only] [--output FOLDER] [NAME...]`, a process of its own for
`darkroom models check` and `doctor`.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from PIL import Image

from darkroom.catalog import Catalog, ModelCard
from darkroom.errors import DarkroomError
from darkroom.offers import Checked, ModelRecord, offer
from darkroom.settings import Settings
from worker import trial
from worker.device import free_device_memory, peak, pick_device, row_counts, start_peak
from worker.gathering.gather import Gather
from worker.loaded import LoadedModels
from worker.loading.complaints import first_lines
from worker.loading.pipelines import LoadedModel
from worker.report import private_stdout


def main(names: Sequence[str], *, load_only: bool, output: Path | None) -> None:
    out = private_stdout()
    settings = Settings()
    catalog = Catalog.read(settings.models)
    device = pick_device(settings.device)
    for name in catalog.names(names):
        checked = check(catalog, catalog.cards[name], device, load_only=load_only, output=output)
        out.write(checked.model_dump_json().encode() + b"\n")
        free_device_memory()


def check(
    catalog: Catalog, card: ModelCard, device: torch.device, *, load_only: bool, output: Path | None
) -> Checked:
    """What came of loading a model and, unless `load_only`, of making a picture, which is written
    to the folder `output` if there is one."""
    start_peak(device)
    loaded = LoadedModels(
        catalog,
        lambda _: None,
        Gather(row_counts=row_counts(device)),
        device,
        worker="",
        loading=nullcontext,
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
        pictures = trial.run(model, offer(catalog, card, model.record)).pictures
    except Exception as error:  # what a model does is not known before
        reason = f"{card.source} loads, but makes no picture: {first_lines(error)}"
        record = model.record.model_copy(update={"error": reason})
        return checked.model_copy(update={"record": record})
    seconds = round(time.monotonic() - began, 3)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pictures[0]).save(output / f"{card.name}.png")
    return checked.model_copy(update={"picture_s": seconds, "peak_bytes": peak(device)})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Load models and make a picture with each.")
    parser.add_argument("--load-only", action="store_true")
    parser.add_argument("--output", type=Path)
    parser.add_argument("names", nargs="*")
    asked = parser.parse_args()
    try:
        main(asked.names, load_only=asked.load_only, output=asked.output)
    except (DarkroomError, OSError) as fault:
        sys.exit(f"Error: {fault}")
