"""Pictures with captions, composed on the fly from the glyphs of Noto Color Emoji."""

import random
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

VOCABULARY = Path(__file__).with_name("vocabulary.txt")
FONT_NAME = "NotoColorEmoji.ttf"
FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts")
NATIVE_SIZE = 109  # the only size that the bitmaps in the font have
GLYPH_BOX = (136, 128)

COLOURS = {
    "white": (255, 255, 255),
    "black": (20, 20, 20),
    "red": (220, 50, 47),
    "orange": (245, 150, 50),
    "yellow": (250, 220, 80),
    "green": (70, 175, 90),
    "blue": (60, 120, 220),
    "purple": (140, 80, 190),
    "pink": (245, 160, 190),
    "gray": (150, 150, 155),
}
HUES = {
    "red": 2,
    "orange": 28,
    "yellow": 48,
    "green": 130,
    "blue": 220,
    "purple": 270,
    "pink": 340,
    "gray": None,
}
SCALES = {"large": (0.80, 0.94), "small": (0.42, 0.56)}  # side of the picture / side of the canvas

# How often each thing happens in a composition, and how often its caption says so. A part that is
# not named falls back to the ordinary case: unnamed sizes are mostly large, unnamed backgrounds
# mostly white, so that short prompts work.
LARGE = 0.65
RECOLOURED = 0.15
WHITE_WEIGHT = 2
NAMED_SIZE = {"large": 0.35, "small": 0.8}
NAMED_BACKGROUND = {"white": 0.4}
NAMED_OTHER_BACKGROUND = 0.94
ARTICLE = 0.2


@dataclass(frozen=True)
class Picture:
    """One glyph, square and transparent around, and the names that captions may use for it."""

    names: tuple[str, ...]
    image: Image.Image

    @property
    def recolourable(self) -> bool:
        """A blue heart is its own picture: no hue is asked of what has a colour in its name."""
        return not any(word in COLOURS for name in self.names for word in name.split())


@dataclass(frozen=True)
class Composition:
    """What is to be seen: everything needed to render it and to say what it is."""

    picture: int
    size: str
    hue: str | None
    background: str
    scale: float
    left: float
    top: float


def find_font() -> Path:
    for folder in FONT_FOLDERS:
        for path in sorted(Path(folder).expanduser().rglob(FONT_NAME)):
            return path
    raise FileNotFoundError(
        f"{FONT_NAME} was not found in {', '.join(FONT_FOLDERS)}. On Debian and Ubuntu: "
        "apt-get install fonts-noto-color-emoji. Elsewhere: put the file into ~/.fonts."
    )


def read_vocabulary(path: Path = VOCABULARY) -> list[tuple[str, ...]]:
    """The names of each picture, the official one first."""
    lines = (line.strip() for line in path.read_text().splitlines())
    return [
        tuple(name.strip() for name in line.split("|"))
        for line in lines
        if line and not line.startswith("#")
    ]


@cache
def load_pictures() -> tuple[Picture, ...]:
    font = ImageFont.truetype(str(find_font()), NATIVE_SIZE)
    return tuple(Picture(names, render_glyph(names[0], font)) for names in read_vocabulary())


def render_glyph(name: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """The glyph with this Unicode name, cropped and centred on a transparent square."""
    glyph = Image.new("RGBA", GLYPH_BOX)
    ImageDraw.Draw(glyph).text((0, 0), unicodedata.lookup(name), font=font, embedded_color=True)
    box = glyph.getbbox()
    if box is None:
        raise ValueError(f"{FONT_NAME} has no picture for {name!r}")
    glyph = glyph.crop(box)
    side = max(glyph.size)
    square = Image.new("RGBA", (side, side))
    square.paste(glyph, ((side - glyph.width) // 2, (side - glyph.height) // 2))
    return square


def write_vocabulary(path: Path) -> None:
    """What the model can draw, and the words that captions put around it, for those that serve it;
    `darkroom.vocabulary` reads it."""
    words = [*SCALES, *COLOURS, "background"]
    path.write_text(f"{VOCABULARY.read_text()}\n# what may be said of them\n+ {' '.join(words)}\n")


def draw_composition(
    rng: random.Random, pictures: tuple[Picture, ...], number: int | None = None
) -> Composition:
    """Any composition of any picture, or of the one with this number."""
    picture = rng.randrange(len(pictures)) if number is None else number
    size = "large" if rng.random() < LARGE else "small"
    scale = rng.uniform(*SCALES[size])
    hue = None
    if rng.random() < RECOLOURED and pictures[picture].recolourable:
        hue = rng.choice(list(HUES))
    backgrounds = [colour for colour in COLOURS if colour != hue]
    weights = [WHITE_WEIGHT if colour == "white" else 1 for colour in backgrounds]
    background = rng.choices(backgrounds, weights)[0]
    reach = min(1 - scale, 0.25)  # how far a picture may wander: small ones stay near the middle
    left, top = ((1 - scale - reach) / 2 + reach * rng.random() for _ in range(2))
    return Composition(picture, size, hue, background, scale, left, top)


def describe(composition: Composition, names: tuple[str, ...], rng: random.Random) -> str:
    """A caption: [a] [large|small] [colour] <name> [on a <colour> background], some parts left out.

    A hue is always named, for nobody could guess it.
    """
    words = []
    if rng.random() < NAMED_SIZE[composition.size]:
        words.append(composition.size)
    if composition.hue:
        words.append(composition.hue)
    words.append(names[0] if rng.random() < 0.5 else rng.choice(names))
    if rng.random() < ARTICLE:
        words.insert(0, "an" if words[0][0] in "aeiou" else "a")
    if rng.random() < NAMED_BACKGROUND.get(composition.background, NAMED_OTHER_BACKGROUND):
        words.append(f"on {with_article(composition.background)} background")
    return " ".join(words)


def with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def render(composition: Composition, pictures: tuple[Picture, ...], resolution: int) -> np.ndarray:
    """The composition as an array of resolution x resolution x 3 bytes."""
    canvas = Image.new("RGB", (resolution, resolution), COLOURS[composition.background])
    side = round(composition.scale * resolution)
    image = pictures[composition.picture].image.resize((side, side), Image.Resampling.LANCZOS)
    if composition.hue:
        image = recolour(image, composition.hue)
    corner = (round(composition.left * resolution), round(composition.top * resolution))
    canvas.paste(image, corner, image)
    return np.asarray(canvas)


def recolour(image: Image.Image, colour: str) -> Image.Image:
    """Turn what is coloured into one hue; white, gray and black parts stay as they are."""
    hsv = np.array(image.convert("RGB").convert("HSV"))
    coloured = hsv[..., 1] > 40
    degrees = HUES[colour]
    if degrees is None:
        hsv[..., 1] = 0
    else:
        hsv[..., 0][coloured] = round(degrees / 360 * 255)
        hsv[..., 1][coloured] = np.maximum(hsv[..., 1][coloured], 130)
    if colour == "pink":
        hsv[..., 1] //= 2
        hsv[..., 2][coloured] = 255 - (255 - hsv[..., 2][coloured]) // 2
    recoloured = Image.fromarray(hsv, "HSV").convert("RGB")
    recoloured.putalpha(image.getchannel("A"))
    return recoloured


def compose(seed: int, count: int, resolution: int) -> tuple[np.ndarray, list[Composition]]:
    """The first `count` compositions of a seed: their pictures and what they are."""
    rng = random.Random(seed)
    pictures = load_pictures()
    compositions = [draw_composition(rng, pictures) for _ in range(count)]
    return np.stack([render(c, pictures, resolution) for c in compositions]), compositions
