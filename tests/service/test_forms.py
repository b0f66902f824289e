"""The file in a form, and what is no form."""

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.errors import InvalidRequestError, MalformedRequestError
from service.forms import MOST_PARTS, Part, file_in, is_form, parts_in

TYPE = "multipart/form-data; boundary=x-y"


def form(*parts: tuple[str, bytes], boundary: str = "x-y") -> bytes:
    found = b""
    for head, content in parts:
        found += f"--{boundary}\r\n{head}\r\n\r\n".encode() + content + b"\r\n"
    return found + f"--{boundary}--\r\n".encode()


FILE = 'Content-Disposition: form-data; name="file"; filename="a.png"'


@given(st.binary(max_size=100))
def test_what_was_put_in_comes_out(content: bytes) -> None:
    assert file_in(form((FILE, content)), TYPE) == content


@pytest.mark.parametrize(
    ("head", "content_type"),
    [
        (f"{FILE}\r\nContent-Type: image/png", TYPE),
        (f"Content-Type: image/png\r\n{FILE}", TYPE),
        ("content-disposition: form-data; filename*=utf-8''%c3%a4.png; name=file", TYPE),
        (FILE, 'multipart/form-data; charset=utf-8; Boundary="x-y"'),
    ],
)
def test_forms_as_programs_write_them(head: str, content_type: str) -> None:
    content = b"\r\n--x-\r\n\x89PNG\r\n\r\n"
    body = b"told to nobody\r\n" + form((head, content)) + b"nor this"
    assert file_in(body, content_type) == content


@pytest.mark.parametrize(
    ("parts", "pointer", "code"),
    [
        ([], "/file", "missing"),
        ([(FILE, b"1"), (FILE, b"2")], "/file", "duplicate"),
        ([(FILE, b"1"), ('Content-Disposition: form-data; name="purpose"', b"v")], "/purpose", 0),
    ],
)
def test_fields_that_are_wrong_are_named(parts: list, pointer: str, code: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        file_in(form(*parts), TYPE)
    [error] = caught.value.errors
    assert (error.pointer, error.code) == (pointer, code or "unknown_field")


@pytest.mark.parametrize(
    ("body", "content_type", "said"),
    [
        (form((FILE, b"1")), "multipart/form-data", "no boundary"),
        (form((FILE, b"1")), f"multipart/form-data; boundary={'y' * 71}", "cut off"),
        (form((FILE, b"1"))[:-9], TYPE, "cut off"),
        (b"", TYPE, "cut off"),
        (form((FILE, b"1"), boundary="other"), TYPE, "cut off"),
        (form(*[(FILE, b"")] * (MOST_PARTS + 1)), TYPE, "more than 64"),
        (form(("Content-Disposition: form-data", b"1")), TYPE, "no name"),
        (form((f"{'X: y' * 3000}\r\n{FILE}", b"1")), TYPE, "head without an end"),
        (form((FILE, b"1\r\n--x-yz")), TYPE, "no name"),
    ],
)
def test_what_is_no_form_is_refused(body: bytes, content_type: str, said: str) -> None:
    with pytest.raises(MalformedRequestError, match=said):
        file_in(body, content_type)


def test_what_a_client_of_http_sends() -> None:
    data = {"prompt": "ein Käfer", "n": "2"}
    files = [("image[]", ("a.png", b"\r\n--\x00\xff")), ("mask", ("b.png", b""))]
    sent = httpx2.Request("POST", "http://x", data=data, files=files)
    sent.read()
    assert parts_in(sent.content, sent.headers["content-type"]) == [
        Part("prompt", "ein Käfer".encode()),
        Part("n", b"2"),
        Part("image[]", b"\r\n--\x00\xff", is_file=True),
        Part("mask", b"", is_file=True),
    ]


def test_a_text_has_to_be_one() -> None:
    assert Part("a", "ä".encode()).text == "ä"
    with pytest.raises(MalformedRequestError, match="'a' is no text"):
        _ = Part("a", b"\xff").text


def test_which_bodies_are_forms() -> None:
    assert is_form("Multipart/Form-Data; boundary=b")
    assert not any(map(is_form, ("", "application/json", "multipart/mixed")))
