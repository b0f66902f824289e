"""The OpenAPI document: complete, and its examples work."""

import re

import pytest
from jsonschema import Draft202012Validator

from darkroom.events import EVENTS


@pytest.fixture
def document(api):
    return api.get("/openapi.json").json()


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_every_endpoint_is_described(document):
    described = dict(operations(document))
    assert set(described) == {
        "POST /api/v1/jobs",
        "GET /api/v1/jobs",
        "GET /api/v1/jobs/{job_id}",
        "DELETE /api/v1/jobs/{job_id}",
        "POST /api/v1/jobs/{job_id}/cancel",
        "GET /api/v1/jobs/{job_id}/events",
        "GET /api/v1/images/{image_id}",
        "GET /api/v1/models",
        "GET /api/v1/models/{model_id}",
        "GET /api/v1/queue",
        "GET /api/v1/workers",
        "GET /livez",
        "GET /readyz",
        "GET /metrics",
        "GET /version",
    }
    assert all(len(operation["description"]) > 20 for operation in described.values())


def test_operations_have_short_names_of_their_own(document):
    names = [operation["operationId"] for _, operation in operations(document)]
    assert "read_job" in names
    assert len(names) == len(set(names))


def test_references_lead_somewhere(document):
    for name in re.findall(
        r'"\$ref": ?"#/components/schemas/([^"]+)"', str(document).replace("'", '"')
    ):
        assert name in document["components"]["schemas"]


def test_errors_are_shown_as_problem_documents(document):
    assert "HTTPValidationError" not in str(document)
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                assert list(response["content"]) == ["application/problem+json"], (name, status)


def test_errors_are_what_their_schema_says(document, api):
    schema = document["components"]["schemas"]["Problem"] | {"components": document["components"]}
    for response in (api.post("/api/v1/jobs", json={}), api.get("/api/v1/models/pics")):
        Draft202012Validator(schema).validate(response.json())


def test_the_job_is_what_its_schema_says(document, api, submitted, work):
    submitted()
    done = work.all()
    schema = document["components"]["schemas"]["Job"] | {"components": document["components"]}
    Draft202012Validator(schema).validate(api.get(f"/api/v1/jobs/{done.id}").json())


def test_examples_of_requests_are_accepted(document, api):
    body = document["paths"]["/api/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]
    check = Draft202012Validator(body["schema"] | {"components": document["components"]})
    offered = {model["id"] for model in api.get("/api/v1/models").json()["data"]}
    for name, example in body["examples"].items():
        check.validate(example["value"])
        if example["value"].get("model", "tiny") in offered and name != "control":
            assert api.post("/api/v1/jobs", json=example["value"]).status_code == 202, name


def test_what_each_kind_of_event_tells_is_shown(document):
    told = document["paths"]["/api/v1/jobs/{job_id}/events"]["get"]["responses"]["200"]
    for kind, shape in EVENTS.items():
        assert f"`{kind}` `{shape.__name__}`" in told["description"]
        assert document["components"]["schemas"][shape.__name__]["properties"]
