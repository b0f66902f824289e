"""The fields that editors know are those that requests have."""

from typing import get_type_hints

import pytest
from pydantic import TypeAdapter

from darkroom.client.fields import JobFields, RequestFields
from darkroom.job_options import JobOptions
from darkroom.tasks import TASKS

REQUEST = {
    name: field for task in TASKS.values() for name, field in task.request.model_fields.items()
}

HINTS = get_type_hints(RequestFields)


def test_there_are_those_of_every_task_and_of_jobs():
    assert set(get_type_hints(JobFields)) == set(JobOptions.model_fields)
    assert set(get_type_hints(RequestFields)) == set(JobOptions.model_fields) | set(REQUEST)


@pytest.mark.parametrize("task", TASKS)
def test_the_example_of_a_task_is_of_these_types(task):
    for name, value in TASKS[task].example.items():
        TypeAdapter(HINTS[name]).validate_python(value)


def test_what_a_field_is_unless_it_is_given_is_of_its_type():
    for name, field in (REQUEST | JobOptions.model_fields).items():
        if not field.is_required():
            default = field.get_default(call_default_factory=True)
            TypeAdapter(HINTS[name]).validate_python(default)
