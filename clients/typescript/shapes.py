"""Prints the part of the OpenAPI document that the types of the client are made of: all shapes, no
paths, whose refusals all read alike. For `make clients`."""

import json
from typing import Any

from darkroom.settings import Settings
from service.app import create_app


def shapes() -> dict[str, Any]:
    """An OpenAPI document."""
    document = create_app(Settings(_env_file=None, redis_url="unix:///nothing")).openapi()
    schemas = document["components"]["schemas"]
    return {
        "openapi": document["openapi"],
        "info": document["info"],
        "paths": {},
        "components": {
            "schemas": {name: _without_examples(each) for name, each in schemas.items()}
        },
    }


def _without_examples(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_examples(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = (pair for pair in schema.items() if pair[0] != "examples" or isinstance(pair[1], dict))
    return {name: _without_examples(each) for name, each in kept}  # a field may have that name


if __name__ == "__main__":
    print(json.dumps(shapes(), indent=1))
