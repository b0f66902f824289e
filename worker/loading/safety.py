"""Looks at finished pictures and says which to withhold; in a job's greenlet, like any other model.

On the engine's thread and its device: a checker is one more network to call, a few milliseconds on
a GPU where a CPU takes a second for each picture. Its call parks like those of other networks, so
that jobs which are denoising go on in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image

from darkroom.cards import SafetyCard
from darkroom.catalog import Catalog
from darkroom.errors import DeviceMemoryError, ModelLoadError
from darkroom.inspection import inspect_part
from darkroom.model_files import CONFIG, PartFiles
from darkroom.places import folder_of
from worker.device import is_out_of_memory
from worker.loading.complaints import UNREADABLE, reason_of, strict_logs
from worker.loading.weights import refuse_pickles

OWN = "StableDiffusionSafetyChecker"
"""The class of the checker that came with Stable Diffusion 1."""


@dataclass(frozen=True)
class SafetyChecker:
    """A network that is asked about each picture."""

    name: str
    """Its class and where it came from."""
    network: torch.nn.Module
    processor: Any
    """Makes of pictures what the network takes."""
    withheld: tuple[int, ...]
    """Numbers of the classes that withhold a picture; none for Stable Diffusion's own checker,
    which has its own thresholds."""
    threshold: float

    @classmethod
    def read(cls, card: SafetyCard, catalog: Catalog, device: torch.device) -> SafetyChecker:
        """Raises ModelLoadError, DeviceMemoryError."""
        try:
            with strict_logs() as complaints:
                checker = _read(card, catalog, device)
                complaints.refuse_missing()
                return checker
        except ModelLoadError as error:
            reason = str(error)
        except UNREADABLE as error:
            if is_out_of_memory(error):
                raise DeviceMemoryError("no memory is left for the safety checker") from None
            reason = reason_of(error)
        raise ModelLoadError(f"safety checker {card.source}: {reason}")

    def flagged(self, pictures: Sequence[np.ndarray]) -> tuple[bool, ...]:
        """Of each picture (uint8, height x width x 3, or x 4) whether it is to be withheld: what is
        transparent is looked at, too."""
        images = [Image.fromarray(picture).convert("RGB") for picture in pictures]
        pixels = self.processor(images=images, return_tensors="pt")["pixel_values"]
        first = next(self.network.parameters())
        pixels = pixels.to(first.device, first.dtype)
        if not self.withheld:
            # It would paint the pictures black, and is given others in their place.
            blank = [np.zeros((1, 1, 3))] * len(images)
            return tuple(map(bool, self.network(clip_input=pixels, images=blank)[1]))
        logits = self.network(pixel_values=pixels).logits.float()
        config: Any = self.network.config
        several = config.problem_type == "multi_label_classification"
        shares = logits.sigmoid() if several else logits.softmax(-1)
        highest = shares[:, list(self.withheld)].amax(-1)
        return tuple((highest >= self.threshold).tolist())


def _read(card: SafetyCard, catalog: Catalog, device: torch.device) -> SafetyChecker:
    files = PartFiles(folder_of(card.source, catalog, CONFIG))
    refuse_pickles(files, "its folder")
    inspect_part(files, None)
    if not (config := files.config):
        raise ModelLoadError(f"{CONFIG} is missing or damaged")
    folder = files.folder
    architecture = (config.get("architectures") or [None])[0]
    if architecture == OWN:
        from diffusers.pipelines.stable_diffusion.safety_checker import (  # slow to import
            StableDiffusionSafetyChecker as Checker,
        )

        withheld: tuple[int, ...] = ()
        network = Checker.from_pretrained(folder, use_safetensors=True)
        processor = transformers.CLIPImageProcessor.from_pretrained(_processor_folder(folder))
    elif str(architecture).endswith("ForImageClassification"):
        withheld = _numbers(card.labels, config.get("id2label") or {})
        network = transformers.AutoModelForImageClassification.from_pretrained(
            folder, use_safetensors=True, trust_remote_code=False
        )
        processor = transformers.AutoImageProcessor.from_pretrained(
            _processor_folder(folder), trust_remote_code=False
        )
    else:
        raise ModelLoadError(
            f"{architecture or 'what it holds'} is neither {OWN} nor an image classifier"
        )
    name = f"{architecture} ({card.source})"
    network = network.to(device).eval()
    return SafetyChecker(name, network, processor, withheld, card.threshold)


def _numbers(labels: Sequence[str], known: dict[str, str]) -> tuple[int, ...]:
    """The numbers of the classes called `labels`."""
    numbers = {label.lower(): int(number) for number, label in known.items()}
    unknown = [label for label in labels if label.lower() not in numbers]
    if unknown or not labels:
        raise ModelLoadError(
            f"it knows no label {', '.join(unknown) or 'of none'}, but {', '.join(known.values())}"
        )
    return tuple(numbers[label.lower()] for label in labels)


def _processor_folder(folder: Path) -> Path:
    """Pipelines keep it beside the checker, in a folder of its own."""
    name = "preprocessor_config.json"
    beside = folder.parent / "feature_extractor"
    return beside if not (folder / name).is_file() and (beside / name).is_file() else folder
