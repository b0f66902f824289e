"""Errors and models as Google's API writes them."""

import json
from pathlib import Path

import pytest
from fastapi import Request

from darkroom.catalog import Catalog
from darkroom.errors import FieldError
from service.dialects.google_answers import methods_of, models_body, write_error
from service.errors import Fault

MODELS = """
default = "pix"
[[models]]
name = "pix"
source = "owner/pix"
loras = [{ name = "ink", source = "ink" }]
[[models]]
name = "large"
source = "owner/large"
[aliases]
"drawn" = "pix+ink"
"imagen-4.0-generate-001" = "large"
"""


def told(path: str, *errors: FieldError, status: int = 422) -> dict:
    http = Request({"type": "http", "path": path})
    return json.loads(write_error(http, Fault(status, "x", "All.", errors)).body)["error"]


@pytest.mark.parametrize(
    ("method", "pointer", "field"),
    [
        ("predict", "/num_images", "parameters.sampleCount"),
        ("generateContent", "/num_images", "generationConfig.candidateCount"),
        ("predict", "/output/quality", "parameters.outputOptions"),
        ("generateContent", "/contents/0/parts/12/text", "contents[0].parts[12].text"),
        ("predict", "/header/idempotency-key", "header.idempotency-key"),
        ("unknown", "/prompt", "prompt"),
        ("predict", "", ""),
    ],
)
def test_fields_are_named_as_there(method, pointer, field) -> None:
    error = told(f"/google/v1beta/models/a:b:{method}", FieldError(pointer, "Is bad.", "invalid"))
    assert error["details"][1]["fieldViolations"] == [{"field": field, "description": "Is bad."}]
    assert error["message"] == (f"{field}: Is bad." if field else "Is bad.")


def test_what_is_wrong_with_both_sides_is_said_once() -> None:
    errors = [FieldError(f"/{side}", "Is bad.", "invalid") for side in ("width", "height")]
    assert told("pix:predict", *errors)["message"] == "parameters.aspectRatio: Is bad."


@pytest.mark.parametrize(
    ("status", "code", "word"),
    [
        (422, 400, "INVALID_ARGUMENT"),
        (413, 413, "INVALID_ARGUMENT"),
        (429, 429, "RESOURCE_EXHAUSTED"),
        (500, 500, "INTERNAL"),
        (503, 503, "UNAVAILABLE"),
    ],
)
def test_statuses(status, code, word) -> None:
    error = told("pix:predict", status=status)
    assert (error["code"], error["status"], error["message"]) == (code, word, "All.")
    assert len(error["details"]) == 1


def test_all_names_are_listed_that_mean_a_model_that_makes_pictures() -> None:
    catalog = Catalog.parse(MODELS, Path("models.toml"))
    able = {"pix": methods_of(["text-to-image"]), "large": methods_of(["upscale"])}
    assert able == {"pix": ["predict", "generateContent"], "large": []}
    names = [each["name"] for each in models_body(catalog, able)["models"]]
    assert names[0] == "models/pix"
    assert "models/drawn" in names
    assert "models/imagen-3.0-generate-002" in names
    assert not {"models/large", "models/imagen-4.0-generate-001"} & set(names)
