"""What schemathesis makes of the OpenAPI document is answered as the document says.

Cases are the same in each run: its own boundaries of each parameter and field, and such as
Hypothesis draws without chance, of what the document allows and of what it does not. Every second
one is about things that are there."""

import json
from collections.abc import Iterator

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from redis import Redis
from schemathesis import Case, GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.schemas import APIOperation

from darkroom.api_keys import SCOPES
from darkroom.queue.queue import Queue
from service import preferences
from service.problems import EVERYWHERE, PROBLEM
from tests.service.conftest import Served, Work, bearer, know_models, png

ENDLESS = "/api/v1/events"
"""Left out: an answer without an end. tests/service/routes/test_events.py reads it."""

TAKEN = ["2xx", "401", "403", "404", "409"]
"""How schemathesis expects a request to be answered that is as the document says."""
REFUSED = ["400", "401", "403", "404", "405", "409", "413", "415", "422"]
"""And one that is not."""
CONDITIONS = ["304", "406", "412", "416"]
"""`If-Match`, `Range` and the like ask about a state, of which a schema knows nothing; they are
looked at before a body is."""
BATCH = "POST /api/v1/jobs/batch"
"""OPTIONS tells what else the path takes, as that of a job called `batch`, which there is none."""
BY_MODEL = [
    "POST /api/v1/jobs",
    BATCH,
    "POST /api/v1/jobs/{job_id}/retry",
]
"""The document says what any model may take; bounds are the model's, and fields depend on one
another."""
BY_CONTENT = [
    "POST /api/v1/controls/preprocess",
    "POST /api/v1/files",
    "POST /api/v1/inspect",
    "PUT /api/v1/models/{model_id}/loras/{lora_name}",
]
"""Whether bytes are a picture, or a file of LoRAs, no schema says."""
BY_TEXT = ["PATCH /api/v1/jobs/{job_id}"]
"""Tags may hold no control characters, which is said in words."""
BY_OPERATOR = ["POST /api/v1/webhooks/test"]
"""Where URLs may lead is set by the operator."""
STREAM = "GET /api/v1/jobs/{job_id}/events"
"""Its schema is of the text. schemathesis takes it for that of each event; `told_events` looks at
the data of each instead."""


def expects(*statuses: str) -> dict[str, object]:
    return {
        "positive_data_acceptance": {"expected-statuses": [*TAKEN, *CONDITIONS, *statuses]},
        "negative_data_rejection": {"expected-statuses": [*REFUSED, *CONDITIONS]},
    }


CONFIG = {
    "generation": {"with-security-parameters": False},  # each call brings a key that is valid
    "checks": expects(),
    "operations": [
        {"include-name": name, "checks": expects("422")}
        for name in (*BY_MODEL, *BY_CONTENT, *BY_TEXT, *BY_OPERATOR)
    ]
    + [
        {"include-name": STREAM, "checks": {"response_schema_conformance": {"enabled": False}}},
        {"include-name": BATCH, "checks": {"allow_header_conformance": {"enabled": False}}},
    ],
}


@schemathesis.check
def told_problems(_context, response, case) -> None:
    """`default` stands for any status: its codes, and those of the status, say what may come."""
    if response.headers.get("content-type") == [PROBLEM]:
        told = case.operation.definition.raw["responses"].get(str(response.status_code))
        codes = {*told["content"][PROBLEM]["examples"]} if told else set()
        assert response.json()["code"] in codes | set(EVERYWHERE), f"told are {codes}"


@schemathesis.check
def told_events(_context, response, case) -> None:
    """The data of each event is of the shape that is told for its kind."""
    if not response.headers.get("content-type", [""])[0].startswith("text/event-stream"):
        return
    told = case.operation.definition.raw["responses"]["200"]["content"]["text/event-stream"]
    shapes = told["schema"]["x-data-of-events"]
    parts = {"components": case.operation.schema.raw_schema["components"]}
    for event in response.text.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in event.split("\n") if ": " in line)
        if "event" in lines:
            shape = Draft202012Validator(shapes[lines["event"]] | parts)
            shape.validate(json.loads(lines["data"]))


@pytest.fixture(scope="module")
def service(serving, valkey, tmp_path_factory) -> Served:
    """A service with all that can be switched on; it calls nobody."""
    return serving(
        redis_url=valkey.url,
        state_dir=tmp_path_factory.mktemp("state"),
        keys="on",
        lora_uploads=True,
        webhooks=True,
        outbound_hosts="nobody.invalid",
    )


@pytest.mark.parametrize(
    ("share", "number"), [(8, 300), pytest.param(230, 5000, marks=pytest.mark.long)]
)
def test_every_answer_is_as_the_document_says(
    service, redis, made, subtests, monkeypatch, share, number
):
    monkeypatch.setattr(preferences, "LONGEST_WAIT_S", 0)  # nobody works the jobs that are made
    document = requests.get(f"{service.url}/openapi.json", timeout=20).json()
    schema = schemathesis.openapi.from_dict(document, config=SchemathesisConfig.from_dict(CONFIG))
    schema.config.update(base_url=service.url)
    tried = 0
    with requests.Session() as session:
        for found in schema.exclude(path=ENDLESS).get_all_operations():
            redis.flushall()  # an operation may have removed everything
            know_models(redis)
            headers = bearer(made("all", SCOPES))
            things = made_things(session, service, redis, headers)
            operation = found.ok()
            with subtests.test(operation.label):
                for case in cases(operation, share):
                    tried += 1
                    if tried % 2:
                        name_what_is_there(case, things)
                    case.call_and_validate(session=session, headers=headers, timeout=10)
    assert tried >= number


def name_what_is_there(case: Case, things: dict[str, str]) -> None:
    for name in things.keys() & case.path_parameters.keys():
        case.path_parameters[name] = things[name]


def made_things(
    session: requests.Session, service: Served, redis: Redis, headers: dict[str, str]
) -> dict[str, str]:
    """Ids of what is there, by the names of parameters of paths."""

    def post(path: str, **given: object) -> dict:
        return session.post(f"{service.url}/api/v1/{path}", headers=headers, **given).json()

    batch = post("jobs/batch", json={"jobs": [{"prompt": "a cat"}]})
    job = Work(Queue(redis), service.here).all()
    return {
        "batch_id": batch["id"],
        "job_id": job.id,
        "image_id": job.images[0].id,
        "file_id": post("files", data=png())["id"],
        "model_id": "pix",
    }


def cases(operation: APIOperation, number: int) -> Iterator[Case]:
    """At most `number` for an operation, half of them boundaries."""
    boundaries = list(
        operation.schema.iter_coverage_cases(
            operation,
            generation_modes=list(GenerationMode),
            generation_config=operation.schema.config.generation,
        )
    )
    yield from boundaries[:: max(1, 2 * len(boundaries) // number)][: number // 2]
    yield from drawn(operation, number // 2)


def drawn(operation: APIOperation, number: int) -> list[Case]:
    """In turns such as are as the document says and such as are not; where all is as it says
    (an operation without parameters), just those."""
    found: list[Case] = []

    @settings(
        max_examples=number,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of([operation.as_strategy(mode) for mode in GenerationMode]))
    def collect(case: Case) -> None:
        found.append(case)

    collect()
    return found
