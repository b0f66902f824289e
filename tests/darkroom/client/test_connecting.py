"""Addresses and faults of connections; over real sockets in test_client.py."""

import httpx2
import pytest

from darkroom.api_keys import new_key
from darkroom.client.connecting import Address
from darkroom.client.refusals import (
    ConnectionLostError,
    NoServiceError,
    RefusedError,
    UnreachableError,
)
from darkroom.errors import UnauthenticatedError

URL = "http://127.0.0.1:8000"


@pytest.mark.parametrize("url", ["", "ftp://x", "localhost:8000", "http://", "/api"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(NoServiceError, match="no URL"):
        Address(url, None)


def test_a_key_is_sent_as_bearer_and_told_by_no_error() -> None:
    _, token = new_key("web")
    headers = Address(URL, token.reveal()).options(1)["headers"]
    assert headers["Authorization"] == f"Bearer {token.reveal()}"
    with pytest.raises(UnauthenticatedError, match="no API key") as raised:
        Address(URL, f"{token.reveal()}\u20ac")
    assert token.secret not in str(raised.value)


def test_a_proxy_is_not_asked_for_this_machine() -> None:
    assert not Address(URL, None).options(1)["trust_env"]
    assert Address("https://darkroom.example", None).options(1)["trust_env"]


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        (httpx2.ConnectError("refused"), UnreachableError, f"No Darkroom answers at {URL}"),
        (httpx2.ConnectError("SSL: CERTIFICATE_VERIFY_FAILED"), NoServiceError, "certificate of"),
        (httpx2.ReadTimeout(""), ConnectionLostError, "ReadTimeout"),
    ],
)
def test_faults_of_the_connection_become_ours(fault, kind, said) -> None:
    with pytest.raises(kind, match=said), Address(URL, None).faults():
        raise fault


def test_one_that_has_answered_may_come_back() -> None:
    address = Address(URL, None)
    answer = httpx2.Response(503, request=httpx2.Request("GET", URL))
    for passes in (False, True):
        with pytest.raises(UnreachableError) as raised, address.faults():
            raise httpx2.ConnectError("refused")
        assert raised.value.retryable is passes
        with pytest.raises(RefusedError):
            address.taken(answer)


def test_where_a_key_came_from_is_told_with_its_refusal_alone() -> None:
    _, token = new_key("web")
    problem = {"code": "unauthenticated", "detail": "No."}
    answer = httpx2.Response(401, json=problem, request=httpx2.Request("GET", URL))
    with pytest.raises(RefusedError, match=r"No\. The key that was sent is from the file x\."):
        Address(URL, token.reveal(), "the file x").taken(answer)
    with pytest.raises(RefusedError, match=r"No\.$"):
        Address(URL, None, "the file x").taken(answer)
