import pytest

from darkroom.errors import InvalidImageError
from service.pictures import messages
from service.pictures.messages import LENGTHS, Decoded
from tests.picture_files import wish


def test_a_wish_comes_back():
    head, data = messages.wish_message(wish(kind="mask"), b"data")
    lengths, text = LENGTHS.unpack(head[: LENGTHS.size]), head[LENGTHS.size :]
    assert lengths == (len(text), len(data))
    assert messages.read_wish(text) == wish(kind="mask")


def test_an_answer_comes_back():
    decoded = Decoded(b"png", (1, 2), (3, 4), ("told",))
    head, png = messages.decoded_message(decoded)
    assert messages.read_decoded(head[LENGTHS.size :], png) == decoded
    head, png = messages.error_message("Is none.")
    with pytest.raises(InvalidImageError, match="Is none"):
        messages.read_decoded(head[LENGTHS.size :], png)
