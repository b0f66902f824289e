"""The OpenAPI document: complete, and its examples work."""

import re

import openapi_spec_validator
import pytest
from jsonschema import Draft202012Validator

from darkroom.events import EVENTS
from darkroom.tasks import TASKS
from tests.service.conftest import png


@pytest.fixture
def document(api):
    return api.get("/openapi.json").json()


def whole(document, schema):
    """A schema together with those that it refers to."""
    return schema | {"components": document["components"]}


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
        "PATCH /api/v1/jobs/{job_id}",
        "DELETE /api/v1/jobs/{job_id}",
        "POST /api/v1/jobs/batch",
        "GET /api/v1/batches/{batch_id}",
        "POST /api/v1/batches/{batch_id}/cancel",
        "DELETE /api/v1/batches/{batch_id}",
        "POST /api/v1/jobs/{job_id}/cancel",
        "POST /api/v1/jobs/{job_id}/retry",
        "GET /api/v1/jobs/{job_id}/events",
        "GET /api/v1/events",
        "GET /api/v1/jobs/{job_id}/preview",
        "GET /api/v1/images",
        "GET /api/v1/images/{image_id}",
        "POST /api/v1/inspect",
        "POST /api/v1/signed-urls",
        "DELETE /api/v1/me/data",
        "POST /api/v1/files",
        "GET /api/v1/files",
        "GET /api/v1/files/{file_id}",
        "GET /api/v1/files/{file_id}/content",
        "DELETE /api/v1/files/{file_id}",
        "GET /api/v1/models",
        "GET /api/v1/models/{model_id}",
        "GET /api/v1/models/{model_id}/loras",
        "GET /api/v1/models/{model_id}/loras/{lora_name}",
        "PUT /api/v1/models/{model_id}/loras/{lora_name}",
        "DELETE /api/v1/models/{model_id}/loras/{lora_name}",
        "POST /api/v1/controls/preprocess",
        "GET /api/v1/me",
        "GET /api/v1/styles",
        "GET /api/v1/webhooks/failed",
        "POST /api/v1/webhooks/failed/{message_id}/resend",
        "GET /api/v1/webhooks/secret",
        "POST /api/v1/webhooks/secret",
        "POST /api/v1/webhooks/test",
        "GET /api/v1/queue",
        "POST /api/v1/queue/pause",
        "POST /api/v1/queue/resume",
        "GET /api/v1/workers",
        "POST /api/v1/workers/{worker_name}/drain",
        "GET /api/v1/doctor",
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
            if status == "default" or int(status) >= 400:
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


def test_the_document_is_openapi(document):
    openapi_spec_validator.validate(document)


def test_every_header_and_parameter_has_a_description_and_an_example(document):
    headers = document["components"]["headers"]
    told = [*headers.items()]
    for name, operation in operations(document):
        assert operation["summary"]
        assert {tag["name"] for tag in document["tags"]} >= set(operation["tags"])
        told += [(f"{name} {each['name']}", each) for each in operation.get("parameters", ())]
    for name, each in told:
        assert each["description"], name
        Draft202012Validator(whole(document, each["schema"])).validate(each["example"])


def test_every_answer_has_a_description_and_examples_of_its_shape(document):
    for name, operation in operations(document):
        assert "default" in operation["responses"]
        for status, response in operation["responses"].items():
            assert response["description"], (name, status)
            for kind, content in response.get("content", {}).items():
                if kind.startswith("image/"):
                    continue
                shown = content.get("examples", {"only": {"value": content.get("example")}})
                check = Draft202012Validator(whole(document, content.get("schema", {})))
                for example in shown.values():
                    assert example["value"], (name, status)
                    check.validate(example["value"])


def test_every_schema_and_every_property_says_what_it_is(document):
    for name, schema in document["components"]["schemas"].items():
        assert schema.get("description"), name
        silent = [k for k, v in schema.get("properties", {}).items() if "description" not in v]
        assert silent == [], name


def test_no_default_is_shown_that_is_not_true_for_every_model(document, api):
    """Each default in the general schema is that of each model on offer."""
    for model in api.get("/api/v1/models").json()["data"]:
        own = api.get(f"/api/v1/models/{model['id']}").json()["schemas"]
        for task, schema in own.items():
            general = document["components"]["schemas"][TASKS[task].request.__name__]
            for name, field in general["properties"].items():
                if "default" in field and name in schema["properties"]:
                    assert schema["properties"][name].get("default") == field["default"], name
    for task in TASKS.values():
        fields = document["components"]["schemas"][task.request.__name__]["properties"]
        for name in ("guidance_scale", "strength", "width", "scheduler", "negative_prompt"):
            assert "default" not in fields.get(name, {}), (task.name, name)


def test_no_parameter_can_be_null(document):
    """What is left out of a query or a head is not sent as the word null."""
    for name, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            assert "null" not in str(parameter["schema"]), (name, parameter["name"])
            assert parameter["name"] not in ("Accept", "Content-Type", "Authorization")


def test_bounds_of_parameters_are_told_in_words_of_json_schema(document):
    for path, bounds in {
        "/api/v1/jobs": {"limit": (1, 100)},
        "/api/v1/webhooks/failed": {"limit": (1, 100)},
        "/api/v1/jobs/{job_id}": {"wait": (0, None)},
        "/api/v1/images/{image_id}": {"w": (16, 2048)},
    }.items():
        told = {
            each["name"]: each["schema"] for each in document["paths"][path]["get"]["parameters"]
        }
        for name, (least, most) in bounds.items():
            assert told[name].get("minimum") == least, (path, name)
            assert told[name].get("maximum") == most, (path, name)


HEADERS_OF_ALL = {"cache-control", "content-length", "content-security-policy", "content-type"}
HEADERS_OF_ALL |= {"cross-origin-resource-policy", "date", "x-content-type-options"}


def test_every_header_that_is_sent_is_shown(document, api, submitted, work):
    def upload(side=4):
        return api.post("/api/v1/files", content=png((side, side)))

    job = submitted()
    accepted = api.post("/api/v1/jobs", json={"prompt": "a"}, headers={"Prefer": "wait=0"})
    running, done = work.claim(), None
    work.finish(running)
    done = api.get(job["urls"]["self"])
    batch = api.post("/api/v1/jobs/batch", json={"jobs": [{"prompt": "a"}]}).json()["urls"]["self"]
    image, picture = done.json()["images"][0]["url"], {"Accept": "image/png"}
    answers = {
        "create_job": [
            accepted,
            api.post("/api/v1/jobs?dry_run=true", json={"prompt": "a"}),
        ],
        "retry_job": [api.post(job["urls"]["self"] + "/retry", headers={"Prefer": "wait=0"})],
        "mark_job": [api.patch(job["urls"]["self"], json={"starred": True})],
        "list_jobs": [api.get("/api/v1/jobs?limit=1")],
        "read_job": [
            done,
            api.get(accepted.headers["location"], headers={"Prefer": "wait=0"}),
            api.get(accepted.headers["location"], headers=picture),
            api.get(job["urls"]["self"], headers=picture),
            api.get(job["urls"]["self"], headers={"If-None-Match": done.headers["etag"]}),
        ],
        "create_batch": [
            api.post("/api/v1/jobs/batch", json={"jobs": [{"prompt": "a"}]}),
            api.post("/api/v1/jobs/batch?dry_run=true", json={"jobs": [{"prompt": "a"}]}),
        ],
        "read_batch": [
            api.get(batch),
            api.get(batch, headers={"If-None-Match": api.get(batch).headers["etag"]}),
        ],
        "cancel_batch": [api.post(f"{batch}/cancel") for _ in range(2)],
        "cancel_job": [api.post(accepted.headers["location"] + "/cancel") for _ in range(2)],
        "read_image": [
            api.get(image),
            api.get(image, headers={"Range": "bytes=0-1"}),
            api.get(image, headers={"Range": "bytes=99999-"}),
            api.get(image, headers={"If-None-Match": "*"}),
            api.get(image, params={"w": 16, "format": "webp"}),
        ],
        "upload_file": [upload() for _ in range(2)],
        "list_images": [api.get("/api/v1/images?limit=1")],
        "inspect": [api.post("/api/v1/inspect", content=png())],
        "list_files": [upload(8), api.get("/api/v1/files?limit=1")][1:],
        "read_file_content": [api.get(upload().headers["location"] + "/content")],
        "preprocess": [
            api.post(
                "/api/v1/controls/preprocess",
                json={"image": TASKS["image-to-image"].example["image"]},
            )
        ],
        "list_workers": [api.get("/api/v1/workers")],
        "livez": [api.put("/livez")],
    }
    shown = {operation["operationId"]: operation for _, operation in operations(document)}
    for name, responses in answers.items():
        for response in responses:
            told = shown[name]["responses"]
            of_this = told.get(str(response.status_code), told["default"])["headers"]
            unknown = set(response.headers) - HEADERS_OF_ALL - {each.lower() for each in of_this}
            assert not unknown, (name, response.status_code)


def test_every_batch_that_is_shown_is_right(document, api):
    path = document["paths"]["/api/v1/jobs/batch"]
    body = path["post"]["requestBody"]["content"]["application/json"]
    check = Draft202012Validator(whole(document, body["schema"]))
    for name, example in body["examples"].items():
        check.validate(example["value"])
        assert api.post("/api/v1/jobs/batch", json=example["value"]).status_code == 202, name


def test_every_body_that_is_shown_is_right(document, api):
    body = document["paths"]["/api/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]
    check = Draft202012Validator(whole(document, body["schema"]))
    offered = {model["id"] for model in api.get("/api/v1/models").json()["data"]}
    for name, example in body["examples"].items():
        check.validate(example["value"])
        if example["value"].get("model", "tiny") in offered and name != "control":
            assert api.post("/api/v1/jobs", json=example["value"]).status_code == 202, name


def test_what_each_kind_of_event_tells_is_shown(document):
    told = document["paths"]["/api/v1/events"]["get"]["responses"]["200"]
    for kind, shape in EVENTS.items():
        assert f"`{kind}` `{shape.__name__}`" in told["description"]
        assert document["components"]["schemas"][shape.__name__]["properties"]
