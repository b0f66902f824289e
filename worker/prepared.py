"""Reads a model, gives it what its card asks for besides, and warms it up; engine thread of the
worker, knows no other models."""

import time
from dataclasses import replace

import torch

from darkroom.catalog import Catalog
from darkroom.errors import DeviceMemoryError, ModelLoadError
from darkroom.model_card import ModelCard
from darkroom.offers import offer
from worker import trial
from worker.device import is_out_of_memory
from worker.gathering.gather import Gather
from worker.loading import pipelines
from worker.loading.complaints import first_lines
from worker.loading.parts import Told, untold
from worker.loading.pipelines import LoadedModel
from worker.loading.preview_colours import colours
from worker.loading.safety import SafetyChecker
from worker.loading.tuning import Compiling, compile_fault


def prepare(
    card: ModelCard,
    catalog: Catalog,
    gather: Gather,
    device: torch.device,
    refused: pipelines.Refused,
    told: Told = untold,
) -> LoadedModel:
    """The model of a card, ready for its first job; `told` hears which share of its weights has
    been read. Raises ModelLoadError, DeviceMemoryError, and whatever reading a model can raise."""
    began = time.monotonic()
    model = pipelines.load(card, catalog, gather, device, refused, told)
    where = "cpu" if model.offload is not None else str(device)
    model = model.tells(preview=colours(model.components.get("vae"), where))
    if card.safety:
        checker = SafetyChecker.read(card.safety, catalog, device)
        gather.wrap(checker.network, "safety_checker")
        model = replace(model, safety=checker).tells(safety=checker.name)
    if card.compile:
        with Compiling() as compiling:
            model = _warm_up(card, catalog, model)
        model = model.tells(compile_s=round(compiling.seconds, 3))
    elif card.warmup:
        model = _warm_up(card, catalog, model)
    return model.tells(load_s=round(time.monotonic() - began, 3))


def _warm_up(card: ModelCard, catalog: Catalog, model: LoadedModel) -> LoadedModel:
    """Make a picture, so that nothing is slow or impossible at the first job."""
    try:
        trial.run(model, offer(catalog, card, model.record))
    except (ModelLoadError, DeviceMemoryError):
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        reason = first_lines(error)
        raise ModelLoadError(f"{card.source} makes no picture: {reason}") from None
    if fault := compile_fault(model.components):
        model = model.tells(faults=model.record.faults | {"compile": fault})
    return model
