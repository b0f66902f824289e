"""How a client reaches a Darkroom, and what faults of the connection mean; sends nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2

from darkroom.api_keys import parse
from darkroom.client.refusals import ConnectionLostError, NoServiceError, UnreachableError, refusal
from darkroom.errors import UnauthenticatedError
from darkroom.version import __version__

DEFAULT_URL = "http://127.0.0.1:8000"


class Address:
    """Where a Darkroom is, with which key it is asked, and whether it has ever answered."""

    def __init__(self, url: str, key: str | None, key_from: str = "") -> None:
        """`key_from`: where the key comes from, to tell who learns that it is refused. Raises
        NoServiceError, UnauthenticatedError for what is none."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise NoServiceError(f"{url!r} is no URL of a Darkroom, such as {DEFAULT_URL}.")
        if key and not parse(key):  # nor does an error tell it
            raise UnauthenticatedError(
                "This is no API key: they begin with dk_ and have 84 characters."
            )
        self.url = url.rstrip("/")
        self.answered = False
        self._key = key
        self._key_from = key_from if key else ""
        self._is_near = parts.hostname in ("127.0.0.1", "localhost", "::1")

    def options(self, timeout_s: float) -> dict[str, Any]:
        """Of a client of httpx2."""
        return {
            "base_url": self.url,
            "timeout": httpx2.Timeout(timeout_s, connect=5.0),
            "headers": {"User-Agent": f"darkroom/{__version__}"}
            | ({"Authorization": f"Bearer {self._key}"} if self._key else {}),
            # A proxy of the environment cannot reach this machine's loopback.
            "trust_env": not self._is_near,
        }

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Faults of the connection become ours."""
        try:
            yield
        except httpx2.ConnectError as error:
            if "SSL" in str(error):
                raise NoServiceError(self._without_tls(str(error))) from error
            raise UnreachableError(
                f"No Darkroom answers at {self.url}.", retryable=self.answered
            ) from error
        except httpx2.TransportError as error:
            raise ConnectionLostError(
                f"The connection to {self.url} broke: {str(error) or type(error).__name__}"
            ) from error

    def refuses(self, answer: httpx2.Response) -> bool:
        """Whether an answer, whose body may still have to be read, says no."""
        self.answered = True
        return not answer.is_success and answer.status_code != 304

    def taken(self, answer: httpx2.Response) -> httpx2.Response:
        """The answer. Raises RefusedError."""
        if self.refuses(answer):
            raise refusal(answer, self._key_from)
        return answer

    def _without_tls(self, why: str) -> str:
        if "CERTIFICATE" in why:
            return f"The certificate of {self.url} is not accepted: {why}"
        plain = self.url.replace("https:", "http:", 1)
        return f"What answers at {self.url} speaks no TLS ({why}). Perhaps it is {plain}"
