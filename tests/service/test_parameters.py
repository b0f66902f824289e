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
            url = re.sub("{[^}]*}", "pix", filled)
            response = api.request(
                method, url, params={"foo": "1"}, json={} if method == "post" else None
            )
            assert faults(response) == [("/query/foo", "unknown_parameter")], (method, url)
            tried += 1
    assert tried >= 15


@pytest.mark.parametrize("path", ["/", "/docs", "/docs/start.js", "/openapi.json"])
def test_what_openapi_does_not_list_refuses_it_too(api, path):
    for method in ("GET", "HEAD"):
        assert api.request(method, path, params={"foo": "1"}).status_code == 422
    assert faults(api.get(path, params={"foo": "1"})) == [("/query/foo", "unknown_parameter")]
    assert api.get(path, follow_redirects=True).status_code == 200


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


ODD_NUMBERS = ["1_0", "+5", " 5", "5\n", "1e", "0x10", ".5", "5.", "٣", "nan", "inf", "", "1,0"]


@pytest.mark.parametrize("written", ODD_NUMBERS)
def test_numbers_are_written_as_every_program_reads_them(api, written):
    job, picture = f"/api/v1/jobs/{JOB}", f"/api/v1/images/{IMAGE}"
    for path, name in (("/api/v1/jobs", "limit"), (job, "wait"), (picture, "w")):
        assert faults(api.get(path, params={name: written})) == [(f"/query/{name}", "wrong_type")]


def test_every_number_that_a_route_reads_is_checked_so(api):
    paths = api.get("/openapi.json").json()["paths"]
    numbers = {
        parameter["name"]
        for operations in paths.values()
        for operation in operations.values()
        for parameter in operation.get("parameters", ())
        if parameter["schema"].get("type") in ("integer", "number")
    }
    assert numbers == {"limit", "wait", "w"}
