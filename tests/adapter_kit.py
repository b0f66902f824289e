"""Tiny models with adapters of every kind, and jobs that use them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from PIL import Image
from safetensors.torch import save_file

from darkroom.input_images import reference
from darkroom.request import TextToImage
from tests import tiny
from tests import tiny_adapters as shelf
from worker.gathering.gather import Gather
from worker.loading.pipelines import LoadedModel

FAMILIES = ("sd15", "sdxl")


TOKEN = "<tabby>"


class Kit:
    """A model with adapters of every kind, and the same model without."""

    def __init__(self, family: str, folder: Path) -> None:
        for number, name in enumerate(("ink", "oil", "wash")):
            shelf.write_lora(family, folder / name, number, rank=2 + number, text=name != "wash")
        shelf.write_ip_adapter(family, folder / "reference", 4)
        shelf.write_embedding(family, folder / "tabby", 5, vectors=2)
        shelf.write_controlnet(folder / "edges", 6, **(tiny.SDXL if family == "sdxl" else {}))
        self.family, self.folder = family, folder
        self.card = {
            "loras": [lora(folder / name, name) for name in ("ink", "oil", "wash")],
            "controlnets": [{"name": "edges", "source": str(folder / "edges")}],
            "embeddings": [{"token": TOKEN, "source": str(folder / "tabby")}],
            "ip_adapter": ip_adapter(folder / "reference"),
        }
        self.gather = Gather()
        self.model = self.load(self.gather, **self.card)
        self.plain = self.load()

    def load(self, gather: Gather | None = None, **card: Any) -> LoadedModel:
        """The model with the adapters of `card`."""
        gather = gather or Gather()
        return tiny.load(self.family, self.folder / "model", gather, dtype="float64", **card)


def ip_adapter(folder: Path) -> dict[str, str]:
    return {
        "source": str(folder),
        "weight_name": shelf.IP_ADAPTER,
        "image_encoder": "image_encoder",
    }


def lora(folder: Path, name: str) -> dict[str, str]:
    return {"name": name, "source": str(folder)}


def asked(model: LoadedModel, **fields: Any) -> TextToImage:
    return TextToImage(
        **{
            "task": "text-to-image",
            "model": model.record.name,
            "prompt": "a cat",
            "width": 16,
            "height": 16,
            "num_inference_steps": 2,
            "guidance_scale": 5.0,
            "scheduler": "DDIMScheduler",
            "seed": 1,
            "num_images": 1,
            **fields,
        }
    )


def loras(**scales: float) -> list[dict[str, Any]]:
    return [{"name": name, "scale": scale} for name, scale in scales.items()]


def control(name: str = "edges", scale: float = 1.0) -> list[dict[str, Any]]:
    return [{"name": name, "image": "file_" + "0" * 64, "scale": scale}]


def photo(seed: int) -> Image.Image:
    random = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (20, 30, 3), generator=random, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


def latents(model: LoadedModel, request: TextToImage) -> torch.Tensor:
    """What a job makes, before it is decoded. Reference picture i is the photo of seed i."""
    adapters = model.adapters
    pipeline = model.view(request.task, request.scheduler, adapters=adapters.choose(request))
    inputs = {reference(i): photo(i) for i in range(len(request.reference_images))}
    arguments = adapters.arguments(request, inputs)
    if request.controls:
        arguments["image"] = photo(9).resize((16, 16))
        arguments["controlnet_conditioning_scale"] = request.controls[0].scale
    return call(pipeline, request, **arguments)


def call(pipeline: DiffusionPipeline, request: TextToImage, **arguments: Any) -> torch.Tensor:
    with torch.no_grad():
        return pipeline(
            prompt=request.prompt,
            num_inference_steps=request.num_inference_steps,
            guidance_scale=request.guidance_scale,
            width=request.width,
            height=request.height,
            num_images_per_prompt=request.num_images,
            generator=[
                torch.Generator().manual_seed(request.seed + i) for i in range(request.num_images)
            ],
            output_type="latent",
            **arguments,
        ).images


def making(model: LoadedModel, request: TextToImage) -> Callable[[], torch.Tensor]:
    return lambda: latents(model, request)


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return float((one - other).abs().max() / other.abs().max())


def save(folder: Path, tensors: dict[str, torch.Tensor], name: str = shelf.LORA) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / name, metadata={"format": "pt"})
    return folder
