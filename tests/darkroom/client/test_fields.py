"""The fields that editors know are those that requests have."""

from typing import get_type_hints

import pytest
from pydantic import TypeAdapter

from darkroom.client.fields import JobFields, RequestFields
from darkroom.job_options import JobOptions
from darkroom.tasks import TASKS

REQUESTS = [task.request for task in TASKS.values()]
REQUEST = {name for request in REQUESTS for name in request.model_fields}

HINTS = get_type_hints(RequestFields)


def test_there_are_those_of_every_task_and_of_jobs():
    assert set(get_type_hints(JobFields)) == set(JobOptions.model_fields)
    assert set(get_type_hints(RequestFields)) == set(JobOptions.model_fields) | REQUEST


@pytest.mark.parametrize("task", TASKS)
def test_the_example_of_a_task_is_of_these_types(task):
    for name, value in TASKS[task].example.items():
        TypeAdapter(HINTS[name]).validate_python(value)


@pytest.mark.parametrize("model", [JobOptions, *REQUESTS])
def test_a_field_is_of_the_same_kinds_of_json_as_in_requests(model):
    schema = model.model_json_schema()
    for name, known in schema["properties"].items():
        hint = TypeAdapter(HINTS[name]).json_schema()
        drawn = {"null"} if name == "seed" else set()  # which a complete request has always
        assert kinds(hint, hint) == kinds(known, schema) | drawn, name


def kinds(known, whole):
    """The types of JSON that something may be; `whole` is the schema that it stands in."""
    if "$ref" in known:
        return kinds(whole["$defs"][known["$ref"].rpartition("/")[2]], whole)
    if "anyOf" in known:
        return {kind for each in known["anyOf"] for kind in kinds(each, whole)}
    return {"string"} if isinstance(known.get("const"), str) else {known["type"]}
