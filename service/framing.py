"""How requests are read off a connection: h11, and a refusal of what two readers could take for two
different requests; in the service only, knows no application.

h11 accepts some of what RFC 9112 lets a lenient server accept. Behind a proxy that reads the same
bytes otherwise, that is how one request is smuggled inside another.
"""

import re
from typing import Any

import h11
from h11._receivebuffer import ReceiveBuffer  # h11 has no public way to read lines more strictly

LARGEST_HEAD_BYTES = 64 * 1024
"""Request line and headers together. nginx takes 32 KiB by default, Go 1 MiB."""
MOST_HEADERS = 100
"""As Apache's LimitRequestFields."""
LONGEST_CHUNK_LINE = 1024
MOST_SMALL_CHUNKS = 20_000
FAIR_CHUNK_BYTES = 512
"""Beyond `MOST_SMALL_CHUNKS`, chunks must have so many bytes on average: each costs as much time
as a kibibyte of them."""

SINGLE = {
    b"authorization",
    b"content-type",
    b"idempotency-key",
    b"if-range",
    b"last-event-id",
    b"origin",
    b"range",
    b"sec-fetch-site",
}
"""Headers that have one value. h11 sees to Host, Content-Length and Transfer-Encoding."""

_TLS = b"\x16"
"""The first byte of a TLS handshake."""
_NOT_A_LINE = re.compile(rb"(?<!\r)\n|\r(?=[^\n])|\n[ \t]|[\x00-\x08\x0b\x0c\x0e-\x1f]")


class StrictConnection(h11.Connection):
    """A server's side of one HTTP/1.1 connection."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, LARGEST_HEAD_BYTES)
        self.refused: tuple[int, str] = (400, "")
        """Status and sentence for the request that was refused last."""
        self.method = b""
        """Of the request that is being read or answered."""
        self._receive_buffer: _Lines = _Lines()
        self._chunks = 0
        self._bytes = 0

    @property
    def has_unread(self) -> bool:
        """Whether bytes came that are not part of a whole request yet."""
        return bool(self._receive_buffer)

    def next_event(self) -> Any:
        """As h11 has it. Raises h11.RemoteProtocolError; `refused` then says what to answer."""
        if self.their_state is h11.IDLE:
            self.method = b""
            self._receive_buffer.skip_empty_line()
        try:
            event = super().next_event()
            if isinstance(event, h11.Request):
                self._begin(event)
            elif isinstance(event, h11.Data):
                self._count(event)
        except h11.RemoteProtocolError as error:
            self.refused = _refusal(error)
            raise
        return event

    def _begin(self, request: h11.Request) -> None:
        self.method = request.method
        self._chunks = self._bytes = 0
        _refuse_ambiguous(request)

    def _count(self, data: h11.Data) -> None:
        self._chunks += data.chunk_start
        self._bytes += len(data.data)
        if self._chunks > MOST_SMALL_CHUNKS + self._bytes / FAIR_CHUNK_BYTES:
            _refuse("The body comes in too many small chunks.")


class _Lines(ReceiveBuffer):
    """Lines that end with CR LF and nothing else, and are not continued on the next one."""

    def skip_empty_line(self) -> None:
        """Old clients send one after a body (RFC 9112, 2.2)."""
        if self._data[:2] == b"\r\n":
            self._extract(2)

    def maybe_extract_lines(self) -> list[bytearray] | None:
        if self._data[:2] == b"\r\n":  # the end of a chunked body without trailers
            return super().maybe_extract_lines()
        if self._data[:1] == _TLS:
            _refuse("This port speaks HTTP, not HTTPS: ask for http://.")
        end = self._data.find(b"\r\n\r\n")
        head = self._data[: end + 4] if end >= 0 else self._data
        if len(head) > LARGEST_HEAD_BYTES:
            _refuse(f"Request line and headers may hold at most {LARGEST_HEAD_BYTES} bytes.", 431)
        if _NOT_A_LINE.search(head):
            _refuse(
                "Lines of a request's head end with CR LF, hold no control characters and are not "
                "continued on the next line."
            )
        return super().maybe_extract_lines() if end >= 0 else None

    def maybe_extract_next_line(self) -> bytearray | None:
        line = super().maybe_extract_next_line()
        if len(self._data if line is None else line) > LONGEST_CHUNK_LINE:
            _refuse("The line before a chunk is too long.")
        return line


def _refuse_ambiguous(request: h11.Request) -> None:
    names = [name for name, _ in request.headers]
    chunked = b"transfer-encoding" in names
    doubled = sorted(name for name in SINGLE if names.count(name) > 1)
    if request.http_version not in (b"1.0", b"1.1"):
        _refuse("Only HTTP/1.0 and HTTP/1.1 are spoken here.", 505)
    if len(names) > MOST_HEADERS:
        _refuse(f"A request may have at most {MOST_HEADERS} headers.", 431)
    if chunked and b"content-length" in names:
        _refuse("Content-Length and Transfer-Encoding exclude one another.")
    if chunked and request.http_version == b"1.0":
        _refuse("HTTP/1.0 knows no Transfer-Encoding.")
    if request.method == b"CONNECT":
        _refuse("This is no proxy.", 405)
    if not request.target.startswith(b"/") and (request.method, request.target) != (
        b"OPTIONS",
        b"*",
    ):
        _refuse("Name the path alone after the method, and the host in the header Host.")
    if doubled:
        _refuse(f"The header {doubled[0].decode()} may be sent once only.")


def _refusal(error: h11.RemoteProtocolError) -> tuple[int, str]:
    """Status and sentence: our own, or those of h11 without what it repeats of the request."""
    why = str(error)
    if why.endswith("."):
        return error.error_status_hint, why
    why = re.split(r": (?:b['\"]|bytearray)", why)[0]
    return 400, f"This is no HTTP/1.1 request: {why}."


def _refuse(why: str, status: int = 400) -> None:
    raise h11.RemoteProtocolError(why, status)
