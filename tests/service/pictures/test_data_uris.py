import base64
import binascii
import textwrap
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.errors import InvalidImageError
from darkroom.job import new_image_id
from service.pictures.data_uris import read

DATA = bytes(range(256)) + b"??>>"
PLAIN = base64.b64encode(DATA)
URL_SAFE = base64.urlsafe_b64encode(DATA)
assert PLAIN.endswith(b"=")
assert PLAIN != URL_SAFE


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        URL_SAFE,
        PLAIN.rstrip(b"="),
        PLAIN + b"==",
        b" \t\r\n" + PLAIN + b"\n",
        b"\n\t  ".join(PLAIN[at : at + 76] for at in range(0, len(PLAIN), 76)),
        textwrap.fill(URL_SAFE.decode(), 64).encode(),
        b"data:image/png;base64," + PLAIN,
        b" data:image/png;base64, " + PLAIN,
        b"DATA:image/png;BASE64," + URL_SAFE,
        b'data:image/png;name="a,b.png";base64,' + PLAIN,
        b"data:;base64," + PLAIN,
        b"data:base64," + PLAIN,
        b"data:image/png ; base64 ," + PLAIN,
        b"data:application/octet-stream;base64," + PLAIN,
        b"data:image/svg+xml;charset=utf-8;name=a b.png;base64," + PLAIN,
        b"data:image/png;base64," + PLAIN.replace(b"+", b"%2B").replace(b"=", b"%3d"),
        b"data:image/png;base64," + PLAIN.replace(b"A", b"%0AA"),
        b"data:image/png," + quote_from_bytes(DATA).encode(),
        b"data:," + quote_from_bytes(DATA, safe=",").encode(),
    ],
)
def test_bytes_are_read_as_clients_write_them(text):
    assert read(text) == DATA


@pytest.mark.parametrize(
    "text",
    [
        b"a",
        b"?",
        b"QUJD=REVG",
        b"QUJD!",
        b"[object Object]",
        b"data:image/png;base64",
        b'data:image/png;name="a;base64,QUJD',
        b"data:" + b'"' * 500_000,
        b"data:image/png;base64,QUJD!",
        b"data:image/png;base64,%ZZ",
        b"data:" + b"x" * 2000 + b",QUJD",
        b'"QUJD"',
    ],
)
def test_d2_anything_else_is_refused_in_words(text):
    with pytest.raises(InvalidImageError, match=r"data:|data URI"):
        read(text)


@pytest.mark.parametrize(
    "text", [b"https://example.org/cat.png", b"file:///etc/passwd", b"FTP:x", b"blob:http://x/1"]
)
def test_nothing_is_fetched(text):
    with pytest.raises(InvalidImageError, match="fetched"):
        read(text)


def test_of_a_picture_of_a_darkroom_it_is_said_that_its_id_is_enough():
    made = new_image_id().encode()
    with pytest.raises(InvalidImageError, match=f"as it stands: {made.decode()}"):
        read(b"http://127.0.0.1:8000/api/v1/images/" + made)


def test_d2_escapes_are_counted_before_they_are_read():
    with pytest.raises(InvalidImageError, match="at most 2000000 percent"):
        read(b"data:image/png," + b"%89" * 2_000_001)


BLANKS = st.text(" \t\r\n\f\v", max_size=3)


@given(st.binary(max_size=60), st.booleans(), st.booleans(), st.lists(BLANKS, max_size=90))
def test_bytes_come_back_from_any_form_of_base64(data, url_safe, padded, blanks):
    text = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(data).decode()
    text = text if padded else text.rstrip("=")
    spread = "".join(a + b for a, b in zip(blanks, text, strict=False)) + text[len(blanks) :]
    assert read(spread.encode()) == data
    assert read(b"data:image/png;base64," + spread.encode()) == data


@given(st.binary(max_size=40))
def test_what_is_read_is_what_python_reads(text):
    try:
        found = read(text)
    except InvalidImageError:
        return
    if not text.strip().lower().startswith(b"data:"):
        plain = text.translate(bytes.maketrans(b"-_", b"+/"), b" \t\n\v\f\r").rstrip(b"=")
        assert found == binascii.a2b_base64(plain + b"==")
