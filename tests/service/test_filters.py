"""Filters of listings, and the way to the next page; test_jobs.py has what they find."""

import pytest

LISTINGS = ("jobs", "images", "files")


@pytest.mark.parametrize("listing", LISTINGS)
@pytest.mark.parametrize(("name", "value"), [("limit", "0"), ("limit", "101"), ("cursor", "x")])
def test_pages_that_cannot_be_asked_for(api, listing, name, value):
    refused = api.get(f"/api/v1/{listing}", params={name: value})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == f"/query/{name}"


@pytest.mark.parametrize("listing", LISTINGS)
def test_the_last_page_has_no_next(api, listing):
    answer = api.get(f"/api/v1/{listing}")
    assert "link" not in answer.headers
    assert answer.json() == {"object": "list", "data": [], "next_cursor": None, "has_more": False}
    assert answer.headers["cache-control"] == "private, no-store"
