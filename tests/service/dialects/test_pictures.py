"""Addresses of pictures, as clients of this service have them."""

import pytest
from fastapi import Request

from service.dialects.pictures import own, root_of


def asked(host: str) -> Request:
    scope = {
        "type": "http",
        "scheme": "https",
        "path": "/v1/x",
        "headers": [(b"host", host.encode())],
    }
    return Request(scope | {"query_string": b"", "root_path": ""})


def test_addresses_begin_as_the_client_addressed_this_service():
    assert root_of(asked("darkroom.example:8000")) == "https://darkroom.example:8000"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("https://a.example/api/v1/images/i", "/api/v1/images/i"),
        ("https://a.example/api/v1/images/i?expires=1&key=2", "/api/v1/images/i"),
        ("https://b.example/api/v1/images/i", "https://b.example/api/v1/images/i"),
        ("data:image/png;base64,AA", "data:image/png;base64,AA"),
    ],
)
def test_what_this_service_made_is_named_by_its_path(given, named):
    assert own(asked("a.example"), given) == named
