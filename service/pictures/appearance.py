"""A picture as people see it: its transparency apart, upright, in sRGB; in a decoder process."""

import io
from dataclasses import dataclass
from functools import reduce

from PIL import Image, ImageChops, ImageCms

from service.pictures.files import DAMAGE, PictureFile

PROFILE_IGNORED = "its colour profile cannot be used; its colours were taken for sRGB"

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By the value of the EXIF tag."""
_QUARTER_TURNS = frozenset(_UPRIGHT[each] for each in (5, 6, 7, 8))

_CHANNELS = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""The colour spaces of profiles that pictures can be in, and Pillow's mode for them."""
_SAME = 2
"""A profile that changes no channel by more than so much of 255 is sRGB by another name."""

_UNUSABLE = (ImageCms.PyCMSError, *DAMAGE)


@dataclass(frozen=True)
class Seen:
    """What people see of a picture."""

    colours: Image.Image
    """RGB, upright."""
    alpha: Image.Image | None
    """L, upright; None if the picture hides nothing."""
    is_turned: bool
    """Whether width and height changed places on the way."""
    notes: tuple[str, ...] = ()
    """What to tell about it."""

    def on(self, background: str) -> Image.Image:
        """RGB, flattened on a colour `#rrggbb`."""
        if self.alpha is None:
            return self.colours
        ground = Image.new("RGB", self.colours.size, background)
        return Image.composite(self.colours, ground, self.alpha)


def seen(image: Image.Image, file: PictureFile, size: tuple[int, int]) -> Seen:
    """What people see of the first frame of an opened picture, shrunk to `size`, which counts
    before it is turned upright.

    Raises what Pillow raises for a damaged one."""
    image.draft(image.mode, size)  # a JPEG is decoded to about that size
    image.load()
    turn = _UPRIGHT.get(_orientation(image))  # would itself load a PNG, and hide what is broken
    profile = image.info.get("icc_profile") if file.profile is None else file.profile
    whole = _whole(image, file.clear)
    if whole.size != size:
        # Weighs colours by their alpha; averages squares first, which is fast, where it can.
        whole = whole.resize(size, Image.Resampling.LANCZOS, reducing_gap=1.1)
    colours, alpha = _apart(whole)
    colours, is_known = _srgb(colours, profile)
    if turn is not None:
        colours, alpha = colours.transpose(turn), alpha and alpha.transpose(turn)
    is_turned = turn in _QUARTER_TURNS
    return Seen(colours, alpha, is_turned, () if is_known else (PROFILE_IGNORED,))


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except DAMAGE:  # of the notes; the picture need not be
        return 1


def _whole(image: Image.Image, clear: tuple[int, ...] | None) -> Image.Image:
    """L, RGB, CMYK or RGBA."""
    if image.mode.startswith("I;16"):
        return _upper_bits(image, clear)
    if clear is not None:
        return _with_alpha(image.convert("L") if image.mode == "1" else image, clear)
    if image.mode in ("L", "RGB", "CMYK"):
        return image
    has_alpha = image.mode not in ("1", "P") or "transparency" in image.info
    return image.convert("RGBA" if has_alpha else "RGB")


def _upper_bits(image: Image.Image, clear: tuple[int, ...] | None) -> Image.Image:
    """Grey of 16 bits: Pillow's own conversion would clip, not scale."""
    pixels = image.tobytes("raw", "I;16")  # the lower byte first
    upper = Image.frombytes("L", image.size, pixels[1::2])
    if clear is None:
        return upper
    lower = Image.frombytes("L", image.size, pixels[::2])
    alpha = _other_than(Image.merge("LA", (upper, lower)), divmod(clear[0], 256))
    return Image.merge("RGBA", (upper, upper, upper, alpha))


def _with_alpha(image: Image.Image, clear: tuple[int, ...]) -> Image.Image:
    alpha = _other_than(image, clear)
    return Image.merge("RGBA", (*image.convert("RGB").split(), alpha))


def _other_than(image: Image.Image, colour: tuple[int, ...]) -> Image.Image:
    """L: black where a picture has just this colour, white elsewhere."""
    bands = zip(image.split(), colour, strict=True)
    return reduce(
        ImageChops.lighter,
        (band.point([255 * (each != value) for each in range(256)]) for band, value in bands),
    )


def _apart(whole: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """The colours and, if anything is not opaque, the alpha."""
    if whole.mode != "RGBA":
        return whole, None
    *bands, alpha = whole.split()
    return Image.merge("RGB", bands), None if values(alpha) == (255, 255) else alpha


def values(band: Image.Image) -> tuple[int, int]:
    """The least and the greatest value of a picture of one band."""
    present = [value for value, count in enumerate(band.histogram()) if count]
    return present[0], present[-1]


def _srgb(colours: Image.Image, profile: bytes | None) -> tuple[Image.Image, bool]:
    """RGB in sRGB, and whether the profile could be used, if there is one."""
    if profile is None:
        return colours.convert("RGB"), True
    try:
        return _converted(colours, profile), True
    except _UNUSABLE:
        return colours.convert("RGB"), False


def _converted(colours: Image.Image, profile: bytes) -> Image.Image:
    known = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    mode = _CHANNELS[known.profile.xcolor_space.strip()]
    if mode == "RGB":
        colours = colours.convert("RGB")
    if mode != colours.mode:
        raise ValueError("the profile is of other colours than the picture")
    transform = ImageCms.buildTransform(known, ImageCms.createProfile("sRGB"), mode, "RGB")
    if mode == "RGB" and _changes_nothing(transform):
        return colours
    changed = ImageCms.applyTransform(colours, transform)
    assert changed is not None
    return changed


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    levels = range(0, 256, 51)
    samples = Image.new("RGB", (len(levels) ** 3, 1))
    samples.putdata([(r, g, b) for r in levels for g in levels for b in levels])
    changed = ImageCms.applyTransform(samples, transform)
    assert changed is not None
    return max(ImageChops.difference(samples, changed).tobytes()) <= _SAME
