"""Pictures brought to a size of another shape; in a decoder process."""

from PIL import Image

from service.pictures.messages import Fit

LANCZOS = Image.Resampling.LANCZOS


def fitted(image: Image.Image, fit: Fit) -> Image.Image:
    """The picture with just that size. Any mode."""
    return cropped(image, fit.size) if fit.how == "crop" else filled(image, fit.size)


def cropped(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resized to cover `size`, and cut to it in the middle."""
    width, height = size
    scale = max(width / image.width, height / image.height)
    across, down = width / scale, height / scale
    left, top = (image.width - across) / 2, (image.height - down) / 2
    return image.resize(size, LANCZOS, box=(left, top, left + across, top + down))


def filled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resized to fit into `size`, in the middle of a canvas to whose ends its edges are drawn
    out."""
    width, height = size
    scale = min(width / image.width, height / image.height)
    inner = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    small = image.resize(inner, LANCZOS)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    canvas = Image.new(image.mode, size)
    canvas.paste(small, (left, top))
    for strip, place in _edges(small, size, (left, top)):
        canvas.paste(strip, place)
    return canvas


def _edges(
    small: Image.Image, size: tuple[int, int], at: tuple[int, int]
) -> list[tuple[Image.Image, tuple[int, int]]]:
    """What lies beside the picture, or above and below it, and where; one of both is empty."""
    (width, height), (left, top), (wide, high) = size, at, small.size
    right, below = width - left - wide, height - top - high
    drawn_out = [
        ((0, 0, 1, high), (left, high), (0, top)),
        ((wide - 1, 0, wide, high), (right, high), (left + wide, top)),
        ((0, 0, wide, 1), (wide, top), (left, 0)),
        ((0, high - 1, wide, high), (wide, below), (left, top + high)),
    ]
    return [(small.crop(box).resize(area), place) for box, area, place in drawn_out if all(area)]
