"""The JSON Schemas that nwscan publishes, held against every document that a test reads."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]

FOLDER = Path(__file__).parents[1] / "nwscan/schemas"


def check(document: dict[str, Any]) -> None:
    """Raise AssertionError where a document is not as its schema says, or has a key that the schema lacks."""
    name = str(document["schema"])
    path = FOLDER / f"{name.removeprefix('nwscan.').replace('/', '-')}.json"
    found = [
        f"{'/'.join(map(str, each.absolute_path))}: {each.message[:300]}"
        for each in _validator(path).iter_errors(document)
    ]
    assert found == [], f"{name}: {found[:5]}"


@cache
def _validator(path: Path) -> jsonschema.Draft202012Validator:
    schema = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(_closed(schema))


def _closed(schema: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Give the same schema, refusing keys that it does not name: readers pass over those, writers publish them."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    return {"additionalProperties": False, **closed} if "properties" in schema and "required" in schema else closed


FILES = {"nwscan.plan/1", "nwscan.plans/1"}
"""What no command prints: suggest writes it into a file."""
