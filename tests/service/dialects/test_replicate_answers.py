"""Errors as Replicate's API writes them."""

import json

import pytest
from fastapi import Request

from darkroom.errors import FieldError
from service.dialects.replicate_answers import write_error
from service.errors import Fault

ASKED = Request({"type": "http"})


@pytest.mark.parametrize(
    ("pointer", "field"),
    [
        ("/num_images", "input.num_outputs"),
        ("/mask_image", "input.mask"),
        ("/images/1", "input.image.1"),
        ("/output/quality", "input.output_format.quality"),
        ("/loras/0/name", "input.loras.0.name"),
        ("/input/width", "input.width"),
        ("/webhook/url", "webhook.url"),
        ("/model", "version"),
        ("/deadline_s", "Cancel-After"),
        ("/query/cursor", "cursor"),
        ("", ""),
    ],
)
def test_fields_are_named_as_clients_wrote_them(pointer: str, field: str) -> None:
    fault = Fault(422, "invalid_parameters", "", [FieldError(pointer, "Is wrong.", "invalid")])
    told = json.loads(write_error(ASKED, fault).body)
    assert told["invalid_fields"] == [
        {"field": field, "type": "invalid", "description": "Is wrong."}
    ]
    assert told["detail"] == (f"{field}: Is wrong." if field else "Is wrong.")
