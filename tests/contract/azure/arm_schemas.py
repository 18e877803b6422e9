"""Microsoft's published ARM schemas, made strict: the judge of request bodies that nobody here wrote.

They describe templates, so any value may be a template's expression, objects are open, and `vmSize` is a closed list
that went out of date. A request has no expressions and no properties that Azure does not know, and a size may be any.
The files lie beside a checkout (`../shared/schemas`) and are read in place; where they are absent there is no judge.
"""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft4Validator

FOLDER = Path(__file__).parents[4] / "shared" / "schemas"
API_VERSION = "2025-11-01"
COMPUTE = FOLDER / f"Microsoft.Compute.{API_VERSION}.json"

ABSENT = f"Microsoft's ARM schemas are not at {FOLDER}: request bodies go without their judge"

_EXPRESSION = "#/definitions/expression"
_TEMPLATE_ONLY = ("resources", "apiVersion", "type", "name")
"""What a template says in the body and a request in its address."""


def present() -> bool:
    return COMPUTE.is_file()


@functools.cache
def strict(resource: str) -> Draft4Validator:
    """The judge of a PUT of that resource type of Microsoft.Compute, as in `virtualMachines`."""
    whole = json.loads(COMPUTE.read_text(encoding="utf-8"))
    definitions = {name: _strict(one) for name, one in whole["definitions"].items()}
    definitions["HardwareProfile"]["properties"]["vmSize"] = {"type": "string"}
    body = _strict(whole["resourceDefinitions"][resource])
    for name in _TEMPLATE_ONLY:
        body["properties"].pop(name, None)
    body["required"] = [name for name in body["required"] if name not in _TEMPLATE_ONLY]
    return Draft4Validator({**body, "definitions": definitions})


def complaint(resource: str, body: Mapping[str, Any]) -> str | None:
    """What Microsoft's schema has against the body; None: nothing."""
    worst = next(iter(sorted(strict(resource).iter_errors(body), key=lambda error: list(map(str, error.path)))), None)
    return None if worst is None else f"{'/'.join(map(str, worst.path))}: {worst.message[:300]}"


def _strict(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "oneOf" in schema:
        left = [one for one in schema["oneOf"] if not one.get("$ref", "").endswith(_EXPRESSION)]
        if len(left) == 1:
            return _strict(left[0])
        return {**schema, "oneOf": _strict(left)}
    found = {key: _strict(value) for key, value in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        found.setdefault("additionalProperties", False)
    return found
