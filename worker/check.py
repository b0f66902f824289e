"""Loads models one after the other and prints a record of each as a JSON line; knows no Redis.

`python -m worker.check [NAME...]`, a process of its own for `darkroom models check` and `doctor`.
"""

import sys

from darkroom.errors import DarkroomError
from darkroom.models import ModelCard, ModelRecord, Models
from darkroom.settings import Settings
from worker import pipelines
from worker.device import free_device_memory, pick_device, row_counts
from worker.gather import Gather


def main(names: list[str]) -> None:
    settings = Settings()
    models = Models.read(settings.models)
    cards = [models.find(name) for name in names] or list(models.cards.values())
    device = pick_device(settings.device)
    for card in cards:
        print(_record(models, card, device).model_dump_json(), flush=True)
        free_device_memory()


def _record(models: Models, card: ModelCard, device: str) -> ModelRecord:
    gather = Gather(row_counts=row_counts(device))
    try:
        return pipelines.load(card, models, gather, device).record
    except DarkroomError as error:
        return ModelRecord(name=card.name, error=str(error))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except DarkroomError as fault:
        sys.exit(f"Error: {fault}")
