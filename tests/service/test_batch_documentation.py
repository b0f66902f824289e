"""The bodies of batches that OpenAPI shows; that they are accepted is in test_documentation.py."""

import pytest
from jsonschema import Draft202012Validator, ValidationError

CAT = {"prompt": "a cat"}


@pytest.fixture
def check(api):
    document = api.get("/openapi.json").json()
    body = document["paths"]["/api/v1/jobs/batch"]["post"]["requestBody"]
    schema = body["content"]["application/json"]["schema"]
    return Draft202012Validator(schema | {"components": document["components"]}).validate


def test_a_batch_is_a_list_or_a_grid(check):
    check({"jobs": [CAT] * 100})
    check(CAT | {"grid": {"seed": [1, None]}})
    for wrong in (
        *({}, CAT, {"jobs": []}, {"jobs": [CAT] * 101}, {"jobs": [CAT], "grid": {"seed": [1]}}),
        *(CAT | {"grid": {}}, CAT | {"grid": {"seed": []}}, CAT | {"grid": {"seed": 1}}),
    ):
        with pytest.raises(ValidationError):
            check(wrong)
