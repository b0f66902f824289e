"""Query parameters that no route reads."""

import re

import pytest

JOB, IMAGE = "job_" + "0" * 32, "img_" + "0" * 32


def faults(response) -> list[tuple[str, str]]:
    assert response.status_code == 422, response.text
    return [(each["pointer"], each["code"]) for each in response.json()["errors"]]


def test_every_route_refuses_what_it_does_not_read(api):
    paths = api.get("/openapi.json").json()["paths"]
    tried = 0
    for path, operations in paths.items():
        filled = re.sub("{job_id}", JOB, path.replace("{image_id}", IMAGE))
        for method in operations:
            url = re.sub("{.*}", "pix", filled)
            response = api.request(
                method, url, params={"foo": "1"}, json={} if method == "post" else None
            )
            assert faults(response) == [("/query/foo", "unknown_parameter")], (method, url)
            tried += 1
    assert tried >= 15


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
def test_pages_for_people_refuse_it_too_or_do_not_care(api, path):
    assert api.get(path, params={"foo": "1"}).status_code in (200, 422)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("tags=x", " Did you mean tag?"),
        ("Limit=1", " Did you mean limit?"),
        ("per_page=1", " Did you mean limit?"),
        ("foo=1", ""),
        ("prompt=x", ""),
    ],
)
def test_what_was_meant_is_told(api, query, told):
    [error] = api.get(f"/api/v1/jobs?{query}").json()["errors"]
    assert error["detail"] == f"There is no such query parameter.{told}"


def test_a_parameter_is_given_once(api):
    assert faults(api.get("/api/v1/jobs?limit=1&limit=2")) == [("/query/limit", "duplicate")]
    assert api.get("/api/v1/jobs?limit=1&tag=x").status_code == 200


def test_many_parameters_are_answered_shortly(api):
    response = api.get("/api/v1/jobs?" + "&".join(f"k{i}=1" for i in range(5000)))
    assert len(faults(response)) == 51
    assert len(response.content) < 64 * 2**10


def test_names_are_pointed_at_as_in_a_body(api):
    assert faults(api.get("/api/v1/jobs?a/b~=1")) == [("/query/a~1b~0", "unknown_parameter")]
