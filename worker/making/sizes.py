"""How a pipeline is told the size of its pictures, so that it makes no other; runs in a job's
greenlet, knows no models."""

import inspect
from collections.abc import Iterable
from types import FunctionType
from typing import Any

import numpy as np
import torch
from PIL import Image

from darkroom.errors import UnsupportedError
from darkroom.request import Request
from worker.making.pipeline_call import parameters_of

_CHOOSING = {
    "LongCatImageEditPipeline": (),
    "QwenImageEditInpaintPipeline": (None,),
    "QwenImageLayeredPipeline": (),
}
"""Pipelines that work at so many pixels, such as 1024 x 1024, in the shape of their
picture, and what they expect to be told besides the sides that it then has."""

MOST_SHOWN = 1024 * 1024
"""Pixels of a picture that FLUX.2 klein's inpainting does not make smaller."""


def arguments(request: Request, pipeline: Any) -> dict[str, Any]:
    """The arguments of its call. Some pipelines take the size for a shape, and choose the nearest
    of a list or as many pixels as they like best; a job's pipeline is its own, and so is what such
    choices stand in.

    What a call has no argument for is left out where it is called. Raises UnsupportedError."""
    size = (request.width, request.height)
    _refuse_beyond_positions(size, pipeline)
    accepted = parameters_of(pipeline)
    given: dict[str, Any] = {"width": request.width, "height": request.height}
    if "max_area" in accepted:
        given |= {"max_area": request.width * request.height, "_auto_resize": False}
    if type(pipeline).__name__ == "HunyuanDiTPipeline":
        given["use_resolution_binning"] = False
    if hasattr(pipeline, "resolutions"):
        pipeline.resolutions = [size]
    if type(pipeline).__name__ == "HiDreamImagePipeline":
        # It scales all to this many pixels, and cuts what then lies below a whole patch.
        side = (request.width * request.height) ** 0.5 * (1 + 1e-9)
        pipeline.default_sample_size = side / pipeline.vae_scale_factor
    if type(pipeline).__name__ in _CHOOSING:
        _choose(pipeline, size)
    return given


def _choose(pipeline: Any, size: tuple[int, int]) -> None:
    """Let the call of `pipeline` work at `size`: it has a function of its module choose one by the
    shape of a picture, and so gets globals of its own."""
    chosen = (*size, *_CHOOSING[type(pipeline).__name__])
    call = inspect.unwrap(type(pipeline).__call__)
    known = call.__globals__ | {"calculate_dimensions": lambda *_: chosen}
    own = FunctionType(call.__code__, known, call.__name__, call.__defaults__, call.__closure__)
    pipeline.__class__ = type(
        type(pipeline).__name__, (type(pipeline),), {"__call__": torch.no_grad()(own)}
    )


def _refuse_beyond_positions(size: tuple[int, int], pipeline: Any) -> None:
    """Stable Diffusion 3's network knows where its patches are only up to some number of them on a
    side. Raises UnsupportedError."""
    network: Any = getattr(pipeline, "transformer", None)
    if type(network).__name__ != "SD3Transformer2DModel":
        return
    config = network.config
    most = config.pos_embed_max_size * config.patch_size * pipeline.vae_scale_factor
    if max(size) > most:
        wide, high = size
        raise UnsupportedError(f"This model makes at most {most} on a side, not {wide} x {high}.")


def start(image: Image.Image, count: int, pipeline: Any) -> list[Image.Image] | torch.Tensor:
    """The picture to begin with, for each of `count` pictures: given a single one, SD 3's pipeline
    encodes it for the first only. Qwen-Image-Edit's reads it beside the prompt, once. FLUX.2
    klein's makes pictures beyond 1024 x 1024 pixels smaller, but no latents. IF's makes
    pictures, but no tensors, as small as its network."""
    name = type(pipeline).__name__
    if name == "QwenImageEditInpaintPipeline":
        return [image]
    if name == "Flux2KleinInpaintPipeline" and image.width * image.height > MOST_SHOWN:
        return _encoded(image, pipeline)
    if name != "IFImg2ImgPipeline":
        return [image] * count
    pixels = torch.from_numpy(np.asarray(image) / np.float32(127.5) - 1).permute(2, 0, 1)
    return torch.stack([pixels] * count)


def _encoded(image: Image.Image, pipeline: Any) -> torch.Tensor:
    """The latents of FLUX.2, before they are normalised: 1 x channels x height x width."""
    pixels = pipeline.image_processor.preprocess(image, image.height, image.width)
    vae = pipeline.vae
    posterior = vae.encode(pixels.to(pipeline._execution_device, vae.dtype)).latent_dist
    latents: torch.Tensor = pipeline._patchify_latents(posterior.mode())
    return latents


def compare(pictures: Iterable[np.ndarray], request: Request) -> None:
    """Raises UnsupportedError if a picture has another size than the request."""
    for height, width, *_ in (picture.shape for picture in pictures):
        if (width, height) != (request.width, request.height):
            raise UnsupportedError(
                f"This model makes {width} x {height} of {request.width} x {request.height}: ask "
                "for a size that it can make."
            )
