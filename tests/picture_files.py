"""Files of pictures, as clients send them."""

import io
import random

from PIL import Image

from service.pictures.messages import Wish


def encoded(image: Image.Image, fmt: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, fmt, **options)
    return file.getvalue()


def noise(size: tuple[int, int] = (32, 32)) -> Image.Image:
    return Image.frombytes("RGB", size, random.Random(0).randbytes(3 * size[0] * size[1]))


def wish(**given: object) -> Wish:
    usual = {
        "kind": "picture",
        "is_text": False,
        "background": "#ffffff",
        "max_pixels": 4096,
        "max_opened_pixels": 16_000_000,
    }
    return Wish(**usual | given)
