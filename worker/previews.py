"""Early pictures of a running job: latents become colours, and colours a small WebP; engine side,
knows no Redis.

The engine's thread projects the latents and lets the result start for the host, and waits for
nothing; who tells of jobs encodes what has arrived. There is one on its way at most, so that many
quick steps cost no more than a few pictures a second.
"""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch.nn import functional

from worker.loading.pipelines import LoadedModel

LONGEST = 256
"""Pixels of its longer side, at most."""
QUALITY = 75
EFFORT = 0
"""Of WebP's 0 to 6: more saves a tenth of so small a picture, and takes twice as long."""


Warn = Callable[[Sequence[str]], None]
"""Takes what a client is to be told."""


@dataclass(frozen=True)
class Early:
    """An early picture, as WebP."""

    step: int
    steps: int
    size: tuple[int, int]
    """Width and height in pixels."""
    data: bytes


@dataclass(frozen=True)
class _Shot:
    step: int
    steps: int
    pixels: torch.Tensor
    """uint8, height x width x 3, on the host once `arrived`."""
    arrived: torch.cuda.Event | None


class Previews:
    """Those of one job. `see` is for the engine's thread, `take` for one other."""

    def __init__(
        self, colours: Sequence[Sequence[float]], size: tuple[int, int], *, every: int
    ) -> None:
        """`colours`: see `ModelRecord.preview`; `size`: of its pictures, width and height; `every`:
        after how many steps each to take one."""
        self._colours = torch.tensor(colours, dtype=torch.float32)
        self._size, self._every = size, every
        self._shot: _Shot | None = None

    def see(self, i: int, n: int, look: Callable[[], torch.Tensor]) -> None:
        """`i` of `n` steps are done; `look` gives the latents to show. Of several pictures the
        first is shown, and no job ends with an early one."""
        if i % self._every or i >= n or self._shot is not None:
            return
        latents = unpacked(look(), self._colours.shape[1] - 1, self._size)
        if latents is not None:
            self._shot = _Shot(i, n, *_to_host(self._project(latents)))

    def take(self) -> Early | None:
        """The picture that has arrived since the last time, if one has."""
        shot = self._shot
        if shot is None or (shot.arrived is not None and not shot.arrived.query()):
            return None
        picture = Image.fromarray(shot.pixels.numpy())
        picture = picture.resize(_fitting(self._size), Image.Resampling.BICUBIC)
        out = io.BytesIO()
        picture.save(out, "WEBP", quality=QUALITY, method=EFFORT)
        self._shot = None
        return Early(shot.step, shot.steps, picture.size, out.getvalue())

    def _project(self, latents: torch.Tensor) -> torch.Tensor:
        """uint8 colours, height x width x 3, of latents, channels x height x width."""
        self._colours = self._colours.to(latents.device)
        factors, constant = self._colours[:, :-1], self._colours[:, -1:]
        colours = torch.addmm(constant, factors, latents.flatten(1).float())
        colours = colours.reshape(3, *latents.shape[1:])
        height, width = latents.shape[1:]
        if max(height, width) > LONGEST:
            width, height = _fitting((width, height))
            colours = functional.adaptive_avg_pool2d(colours, (height, width))
        return colours.mul(255).round_().clamp_(0, 255).to(torch.uint8).permute(1, 2, 0)


def previews_of(
    every: int | None, size: tuple[int, int], model: LoadedModel, shown: str, warn: Warn
) -> Previews | None:
    """Those of a job that has started, if it shows any; if it was to and does not, `warn` is told.
    `every`: how many steps, as the job says it; `size`: of its pictures, width and height; `shown`:
    the setting `previews`."""
    if every == 0 or (every is None and shown != "all"):
        return None
    reason = None
    if shown == "off":
        reason = "its worker has them switched off"
    elif model.safety is not None:
        reason = "pictures of this model are checked before anybody sees them"
    elif not model.record.preview:
        reason = "the latents of this model do not tell colours"
    if reason is None:
        return Previews(model.record.preview, size, every=every or 1)
    if every is not None:
        warn([f"There are no early pictures: {reason}."])
    return None


def unpacked(latents: torch.Tensor, channels: int, size: tuple[int, int]) -> torch.Tensor | None:
    """The latents of the first picture, `channels` x height x width; None of such as are laid out
    otherwise, like those of videos. Flux and what is like it see blocks of 2 x 2 as a row of
    tokens, from which the shape is told by that of the picture: `size`, width and height."""
    if latents.ndim == 4 and latents.shape[1] == channels:
        return latents[0]
    if latents.ndim != 3 or latents.shape[2] != 4 * channels:
        return None
    width, height = size
    rows = round(math.sqrt(latents.shape[1] * height / width))
    if not rows or latents.shape[1] % rows:
        return None
    blocks = latents[0].reshape(rows, -1, channels, 2, 2).permute(2, 0, 3, 1, 4)
    return blocks.reshape(channels, 2 * rows, -1)


def _to_host(pixels: torch.Tensor) -> tuple[torch.Tensor, "torch.cuda.Event | None"]:
    """The pixels on the host, once the event has come; None: they are there."""
    if not pixels.is_cuda:
        return pixels.contiguous(), None
    host = torch.empty(pixels.shape, dtype=pixels.dtype, pin_memory=True)
    host.copy_(pixels, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record()
    return host, arrived


def _fitting(size: tuple[int, int]) -> tuple[int, int]:
    """The size at which a picture of `size`, width and height, is shown."""
    share = min(LONGEST / max(size), 1.0)
    return max(round(size[0] * share), 1), max(round(size[1] * share), 1)
