import pytest

from darkroom.errors import InvalidImageError
from service.pictures import messages
from service.pictures.messages import LENGTHS, ControlMap, CopyWish, Decoded, Fit, MarksWish
from tests.picture_files import wish


def test_a_wish_comes_back():
    head, data = messages.wish_message(wish(kind="mask"), b"data")
    lengths, text = LENGTHS.unpack(head[: LENGTHS.size]), head[LENGTHS.size :]
    assert lengths == (len(text), len(data))
    assert messages.read_wish(text) == wish(kind="mask")


@pytest.mark.parametrize(
    "wanted",
    [
        CopyWish("webp", 256),
        CopyWish("png", None, (8, 9)),
        MarksWish(is_text=True),
        wish(fit=Fit((8, 9), "crop"), control=ControlMap("canny", (8, 9))),
    ],
)
def test_other_wishes_come_back(wanted):
    head, _ = messages.wish_message(wanted, b"")
    assert messages.read_wish(head[LENGTHS.size :]) == wanted


def test_an_answer_comes_back():
    decoded = Decoded(b"png", (1, 2), (3, 4), ("told",))
    head, png = messages.decoded_message(decoded)
    assert messages.read_decoded(head[LENGTHS.size :], png) == decoded
    head, png = messages.error_message("Is none.")
    with pytest.raises(InvalidImageError, match="Is none"):
        messages.read_decoded(head[LENGTHS.size :], png)
