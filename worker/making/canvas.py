"""Input pictures brought to size: resized, padded at the edges, with what a mask keeps of them;
used by the worker's tasks, knows neither models nor torch."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageFilter

from darkroom.masks import resized
from darkroom.request import Edit, Inpaint
from darkroom.request_parts import Padding

BLACK, GREY, WHITE = 0, 128, 255


@dataclass(frozen=True)
class Around:
    """The picture that a canvas is a part of, and where it lies in there."""

    picture: Image.Image
    box: tuple[int, int, int, int]

    def part_of(self, other: Image.Image) -> Image.Image:
        """The same part of another picture of the whole, whatever its size."""
        across, down = (its / own for its, own in zip(other.size, self.picture.size, strict=True))
        left, top, right, bottom = self.box
        begin = min(int(left * across), other.width - 1), min(int(top * down), other.height - 1)
        end = max(round(right * across), begin[0] + 1), max(round(bottom * down), begin[1] + 1)
        return other.crop((*begin, *end))

    def with_part(self, made: np.ndarray, share: np.ndarray) -> np.ndarray:
        """The picture with `made`, as far as `share` lets it through, at its place."""
        left, top, right, bottom = self.box
        part = fit(Image.fromarray(made), (right - left, bottom - top))
        whole = self.picture.copy()
        whole.paste(part, self.box, resized(Image.fromarray(share[..., 0]), part.size))
        return np.asarray(whole)


@dataclass(frozen=True)
class Canvas:
    """The picture that a job with a mask begins with, and what becomes of each of its pixels."""

    picture: Image.Image
    mask: Image.Image
    """L: at 128 and more, what the network paints anew."""
    share: np.ndarray
    """uint8, height x width x 1: how much of each pixel is new, 0 to 255."""
    around: Around | None = None
    """None: it is all there is."""

    @property
    def whole(self) -> Image.Image:
        """What it begins with, and what is around that."""
        return self.around.picture if self.around else self.picture

    @property
    def is_kept(self) -> bool:
        """Whether nothing is painted anew."""
        return bool(np.asarray(self.mask).max() < GREY)

    @property
    def is_all_new(self) -> bool:
        """Whether all of it is painted anew."""
        return bool(np.asarray(self.mask).min() >= GREY)

    def blocks(self, size: int) -> Image.Image:
        """The mask with every square of `size` pixels, which is one pixel of the latents, white
        where any of its pixels is: diffusers looks at one of them, and misses thin strokes."""
        white = np.asarray(self.mask) >= GREY
        height, width = white.shape
        padded = np.pad(white, ((0, -height % size), (0, -width % size)))
        squares = padded.reshape(padded.shape[0] // size, size, padded.shape[1] // size, size)
        grown = squares.any(axis=(1, 3)).repeat(size, axis=0).repeat(size, axis=1)
        return Image.fromarray(np.uint8(WHITE) * grown[:height, :width])

    def compose(self, made: np.ndarray) -> np.ndarray:
        """`made` where the mask lets it through, the very pixels of the picture elsewhere."""
        if self.around:
            return self.around.with_part(made, self.share)
        old, share = np.asarray(self.picture, np.uint16), self.share.astype(np.uint16)
        return ((made * share + old * (WHITE - share) + WHITE // 2) // WHITE).astype(np.uint8)


def canvas(request: Inpaint | Edit, image: Image.Image, mask: Image.Image | None) -> Canvas:
    """The picture at its place within the padding, whose pixels repeat its edge; or the part of it
    that is made."""
    if isinstance(request, Inpaint) and request.padding_mask_crop is not None and mask is not None:
        return _part(request, image.convert("RGB"), resized(mask.convert("L"), image.size))
    left, top, right, bottom = place = _place(request, image.size)
    inner = (right - left, bottom - top)
    whole = ((top, request.height - bottom), (left, request.width - right))
    picture = np.asarray(fit(image, inner))
    drawn = np.zeros(inner[::-1], np.uint8)
    if mask is not None:
        drawn = np.asarray(resized(mask.convert("L"), inner))
    repaint = np.pad(drawn, whole, constant_values=WHITE)
    # The seam shall be soft, and yet nothing of the repeated edge be seen: the new picture begins
    # within the old one.
    repaint = np.maximum(repaint, _margin(request, _inner_place(request, place)))
    soft = Image.fromarray(repaint).filter(ImageFilter.GaussianBlur(request.mask_blur))
    return Canvas(
        picture=Image.fromarray(np.pad(picture, (*whole, (0, 0)), mode="edge")),
        mask=Image.fromarray(repaint),
        share=np.maximum(np.asarray(soft), _margin(request, place))[..., None],
    )


def _part(request: Inpaint, image: Image.Image, mask: Image.Image) -> Canvas:
    """What the mask, which is as large as the picture, selects of it, with its surroundings, as a
    canvas of its own."""
    box = _surroundings(request, mask)
    whole = request.model_copy(update={"padding_mask_crop": None})
    part = canvas(whole, image.crop(box), mask.crop(box))
    return replace(part, around=Around(image, box))


def _surroundings(request: Inpaint, mask: Image.Image) -> tuple[int, int, int, int]:
    """The box around what is white, with the margin that is asked for, in the shape of the pictures
    that are made as far as there is room; all of the mask where nothing is white."""
    width, height = mask.size
    found = mask.point(lambda value: WHITE * (value >= GREY)).getbbox()
    if found is None:
        return 0, 0, width, height
    more = request.padding_mask_crop or 0
    left, top, right, bottom = found
    left, right = max(left - more, 0), min(right + more, width)
    top, bottom = max(top - more, 0), min(bottom + more, height)
    shape = request.width / request.height
    left, right, top, bottom = (
        *_widened(left, right, round((bottom - top) * shape), width),
        *_widened(top, bottom, round((right - left) / shape), height),
    )
    return left, top, right, bottom


def _widened(begin: int, end: int, wanted: int, most: int) -> tuple[int, int]:
    """A span of `wanted` pixels around this one, or itself if it is longer, within `most`."""
    length = min(max(wanted, end - begin), most)
    first = begin - (length - (end - begin)) // 2
    first = min(max(first, 0), most - length)
    return first, first + length


def fit(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def extend(image: Image.Image, multiple: int) -> Image.Image:
    """RGB, its right and bottom edge repeated until both sides are multiples of `multiple`."""
    pixels = np.asarray(image.convert("RGB"))
    more = [(0, -side % multiple) for side in pixels.shape[:2]]
    return Image.fromarray(np.pad(pixels, (*more, (0, 0)), mode="edge"))


def _padding(request: Inpaint | Edit) -> Padding:
    return request.padding if isinstance(request, Inpaint) else Padding()


def _place(request: Inpaint | Edit, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Where the picture of `size` comes to lie; padding is counted in its pixels."""
    pad = _padding(request)
    left, right = _span(pad.left, size[0], pad.right, request.width)
    top, bottom = _span(pad.top, size[1], pad.bottom, request.height)
    return left, top, right, bottom


def _span(before: int, side: int, after: int, whole: int) -> tuple[int, int]:
    scale = whole / (before + side + after)
    begin = min(round(before * scale), whole - 1)
    return begin, max(whole - round(after * scale), begin + 1)


def _inner_place(
    request: Inpaint | Edit, place: tuple[int, int, int, int]
) -> tuple[int, int, int, int]:
    """`place` without what the new picture may reach into of the old one."""
    pad, inset = _padding(request), 2 * request.mask_blur
    left, top, right, bottom = place
    return (
        left + inset * bool(pad.left),
        top + inset * bool(pad.top),
        right - inset * bool(pad.right),
        bottom - inset * bool(pad.bottom),
    )


def _margin(request: Inpaint | Edit, place: tuple[int, int, int, int]) -> np.ndarray:
    """uint8, height x width: white around `place`, black within."""
    left, top, right, bottom = place
    drawn = np.full((request.height, request.width), WHITE, np.uint8)
    drawn[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = BLACK
    return drawn
