"""What the OpenAPI document says of keys."""

import pytest

from service.auth import OPEN


@pytest.mark.parametrize("client", ["http", "api"])
def test_each_route_that_asks_for_a_key_says_so(client, request):
    asks = client == "http"
    document = request.getfixturevalue(client).get("/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    assert {(scheme["type"], scheme.get("name")) for scheme in schemes.values()} == {
        ("http", None),
        ("apiKey", "X-API-Key"),
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            needs = {} not in operation["security"]
            assert needs == (asks and path not in OPEN), path
            told = {"401", "403", "429"} <= operation["responses"].keys()
            assert told == (path not in OPEN), path
            if told:
                assert "WWW-Authenticate" in operation["responses"]["401"]["headers"]
                assert "forbidden" in str(operation["responses"]["403"])
                assert "rate_limited" in str(operation["responses"]["429"])
                assert "RateLimit" in operation["responses"]["429"]["headers"]
