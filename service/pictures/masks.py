"""What a mask says, wherever it says it: in colours or in transparency; in a decoder process."""

from functools import reduce

from PIL import Image, ImageChops

from darkroom.errors import InvalidImageError
from service.pictures.appearance import Seen, values

READ_BY_TRANSPARENCY = (
    "was read by its transparency: what is transparent is painted anew, what is opaque is kept"
)
_SAY_IT_IN_COLOURS = "paint white where to repaint and black where to keep, without transparency."

_DARK, _LIGHT = 32, 223
"""Up to and from here on, of 255, a grey is meant as black or white."""
_COLOURFUL = 24
"""How far apart the channels of a colour are, of 255, that is no grey."""
_ONE_COLOUR = 8
"""How far apart, of 255, pixels of the same stroke may be."""
_NEARLY_ALL = 0.99
_LOSS = 16
"""What lossy formats do to black and white, of 255."""


def mask(picture: Seen, *, is_lossy: bool) -> tuple[Image.Image, tuple[str, ...]]:
    """L, white where to repaint, and what to tell about how it was read.

    Raises InvalidImageError where the file does not show which of two customs it follows."""
    least, most = values(picture.alpha) if picture.alpha else (255, 255)
    if most == 0:
        raise InvalidImageError(f"Is transparent everywhere; {_SAY_IT_IN_COLOURS}")
    if picture.alpha is None or 2 * least > most:  # no hole: its colours say it
        grey = picture.colours.convert("L")
        if is_lossy:
            return grey.point(_without_loss), ()
        _refuse_zero_and_one(grey)
        return grey, ()
    visible = picture.alpha.point(_at_least((most + 1) // 2))
    return ImageChops.invert(picture.alpha), _notes(picture.colours, visible)


def alpha_mask(picture: Seen) -> Image.Image:
    """L, white where a mask is transparent, whatever its colours. Raises InvalidImageError where it
    is nowhere transparent."""
    if picture.alpha is None:
        raise InvalidImageError(
            "Has no transparent part: make transparent what is to be painted anew."
        )
    return ImageChops.invert(picture.alpha)


def drawn_mask(picture: Seen) -> Image.Image:
    """L, white where a mask is drawn: in white or, where it has clear parts, in whatever colour."""
    if picture.alpha is None or values(picture.alpha)[0] == 255:
        return picture.colours.convert("L")
    return picture.alpha


def _refuse_zero_and_one(grey: Image.Image) -> None:
    """Programs that keep masks as 0 and 1 write what looks all black."""
    if values(grey)[1] == 1:
        raise InvalidImageError(
            "Looks like a mask of 0 and 1, whose greatest value is 1 of 255; multiply it by 255: "
            "255 where to repaint, 0 where to keep."
        )


def _without_loss(value: int) -> int:
    return 0 if value <= _LOSS else 255 if value >= 255 - _LOSS else value


def _notes(colours: Image.Image, visible: Image.Image) -> tuple[str, ...]:
    """What to tell of a mask that is read by its transparency, as a picture with a hole is.

    Strokes on a clear ground look the same, and mean the opposite."""
    greys = colours.convert("L").histogram(visible)
    dark, light, total = sum(greys[: _DARK + 1]), sum(greys[_LIGHT:]), sum(greys)
    is_black = dark >= _NEARLY_ALL * total
    is_drawn = _is_one_colour(colours, visible) or dark + light >= _NEARLY_ALL * total
    if is_drawn and not is_black and not _is_colourful(colours, visible, total):
        raise InvalidImageError(
            "Has its shape in its transparency, and does not show whether what is drawn shall be "
            f"repainted or kept; {_SAY_IT_IN_COLOURS}"
        )
    return (READ_BY_TRANSPARENCY,)


def _at_least(least: int) -> list[int]:
    return [255 * (value >= least) for value in range(256)]


def _is_colourful(colours: Image.Image, visible: Image.Image, total: int) -> bool:
    """Whether it is a picture, whose transparent part is a hole, and not just strokes."""
    bands = colours.split()
    apart = ImageChops.difference(
        reduce(ImageChops.lighter, bands), reduce(ImageChops.darker, bands)
    )
    colourful = sum(apart.histogram(visible)[_COLOURFUL:])
    return colourful > (1 - _NEARLY_ALL) * total and not _is_one_colour(colours, visible)


def _is_one_colour(colours: Image.Image, visible: Image.Image) -> bool:
    return all(_spread(band.histogram(visible)) <= _ONE_COLOUR for band in colours.split())


def _spread(histogram: list[int]) -> int:
    present = [value for value, count in enumerate(histogram) if count]
    return present[-1] - present[0]
