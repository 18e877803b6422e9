"""Google's own word on its API, as a judge: the discovery documents that ship with google-api-python-client.

Routes, path and query parameters, enums, patterns, types, required and unknown fields all come from the documents.
Nothing in this file knows what an instance is.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import googleapiclient

_FOLDER = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
_PLACE = re.compile(r"\{(\+?)([A-Za-z]+)\}")
_WHOLE = {"int32": 32, "uint32": 32, "int64": 64, "uint64": 64}


class Refused(Exception):
    """What the document does not allow."""

    def __init__(self, message: str, *, status: int = 400, reason: str = "invalid") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Route:
    id: str
    verb: str
    path: re.Pattern[str]
    parameters: Mapping[str, Mapping[str, Any]]
    request: str
    response: str
    document: "Document"


@dataclass(slots=True)
class Call:
    """A request that the document allows."""

    route: Route
    given: dict[str, str]
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.route.id


class Document:
    """One API's document."""

    def __init__(self, name: str) -> None:
        self._raw = json.loads((_FOLDER / name).read_text(encoding="utf-8"))
        self.schemas: Mapping[str, Mapping[str, Any]] = self._raw["schemas"]
        self.common: Mapping[str, Mapping[str, Any]] = self._raw.get("parameters", {})
        self.routes = tuple(self._routes(self._raw.get("resources", {})))

    def _routes(self, resources: Mapping[str, Any]) -> list[Route]:
        found = []
        for resource in resources.values():
            for method in resource.get("methods", {}).values():
                parameters = method.get("parameters", {})
                path = re.compile("/" + self._raw["servicePath"] + _pattern(method["path"], parameters))
                request, response = (method.get(side, {}).get("$ref", "") for side in ("request", "response"))
                found.append(Route(method["id"], method["httpMethod"], path, parameters, request, response, self))
            found += self._routes(resource.get("resources", {}))
        return found

    def check(self, value: object, schema: Mapping[str, Any], where: str, method: str = "") -> None:
        """Hold a value against a schema. `method`: it is that method's request, so what only replies have is refused.

        Raises `Refused`.
        """
        if "$ref" in schema:
            schema = self.schemas[schema["$ref"]]
        match schema.get("type"):
            case "object":
                if not isinstance(value, dict):
                    raise Refused(f"{where}: an object is wanted")
                self._object(value, schema, where, method)
            case "array":
                if not isinstance(value, list):
                    raise Refused(f"{where}: an array is wanted")
                for number, one in enumerate(value):
                    self.check(one, schema["items"], f"{where}[{number}]", method)
            case "string":
                _text(value, schema, where)
            case "boolean":
                if not isinstance(value, bool):
                    raise Refused(f"{where}: a boolean is wanted, not {value!r}")
            case "integer" | "number" as kind:
                if isinstance(value, bool) or not isinstance(value, int if kind == "integer" else (int, float)):
                    raise Refused(f"{where}: a number is wanted, not {value!r}")

    def _object(self, value: dict[str, Any], schema: Mapping[str, Any], where: str, method: str) -> None:
        properties = schema.get("properties", {})
        for key, one in value.items():
            if key in properties:
                if method and properties[key].get("readOnly"):
                    raise Refused(f"{where}.{key}: only replies have it")
                self.check(one, properties[key], f"{where}.{key}", method)
            elif "additionalProperties" in schema:
                self.check(one, schema["additionalProperties"], f"{where}.{key}", method)
            else:
                raise Refused(f"{where}.{key}: there is no such field")
        for key, one in properties.items():
            if method and method in one.get("annotations", {}).get("required", ()) and key not in value:
                raise Refused(f"{where}.{key}: it is required", reason="required")


class Judge:
    """Several documents behind one server."""

    def __init__(self, *names: str) -> None:
        self._routes: dict[tuple[str, int], list[Route]] = {}
        for name in names:
            for route in _document(name).routes:
                self._routes.setdefault((route.verb, _depth(route.path)), []).append(route)

    def call(self, verb: str, path: str, query: Mapping[str, list[str]], raw: bytes) -> Call:
        """The call that a request is. Raises `Refused`."""
        route, places = self._route(verb, path)
        given = dict(places)
        for key, values in query.items():
            schema = route.parameters.get(key) or route.document.common.get(key)
            if schema is None or schema.get("location") == "path":
                raise Refused(f"{route.id}: there is no parameter {key}")
            if len(values) > 1 and not schema.get("repeated"):
                raise Refused(f"{route.id}: {key} is given twice")
            for value in values:
                _parameter(key, value, schema)
            given[key] = values[-1]
        for key, schema in route.parameters.items():
            if schema.get("required") and key not in given:
                raise Refused(f"{route.id}: {key} is required", reason="required")
        return Call(route, given, _body(route, raw))

    def reply(self, call: Call, body: object) -> None:
        """Hold our own reply against the document. Raises `Refused`."""
        call.route.document.check(body, {"$ref": call.route.response}, call.route.response)

    def _route(self, verb: str, path: str) -> tuple[Route, dict[str, str]]:
        for route in self._routes.get((verb, path.count("/")), ()):
            if found := route.path.fullmatch(path):
                return route, {key: unquote(value) for key, value in found.groupdict().items()}
        raise Refused(f"{verb} {path}: there is no such method", status=404, reason="notFound")


@cache
def _document(name: str) -> Document:
    """Read once: it has five megabytes."""
    return Document(name)


def _depth(path: re.Pattern[str]) -> int:
    """How many slashes the paths have that it matches."""
    return path.pattern.replace("[^/]", "").count("/")


def _pattern(template: str, parameters: Mapping[str, Mapping[str, Any]]) -> str:
    """A path's template with each place filled by the pattern that the document has for it."""
    parts, at = [], 0
    for place in _PLACE.finditer(template):
        pattern = parameters[place[2]].get("pattern", r"[^/]+").removeprefix("^").removesuffix("$")
        parts += [re.escape(template[at : place.start()]), f"(?P<{place[2]}>{pattern})"]
        at = place.end()
    return "".join((*parts, re.escape(template[at:])))


def _body(route: Route, raw: bytes) -> dict[str, Any]:
    if not route.request:
        if raw not in (b"", b"{}"):
            raise Refused(f"{route.id}: it takes no body")
        return {}
    try:
        body = json.loads(raw or b"{}")
    except ValueError as error:
        raise Refused(f"{route.id}: the body is no JSON: {error}", reason="parseError") from None
    route.document.check(body, {"$ref": route.request}, route.request, route.id)
    if not isinstance(body, dict):
        raise Refused(f"{route.id}: an object is wanted")
    return body


def _parameter(key: str, value: str, schema: Mapping[str, Any]) -> None:
    match schema["type"]:
        case "boolean":
            if value not in ("true", "false"):
                raise Refused(f"{key}: a boolean is wanted, not {value!r}")
        case "integer":
            if not re.fullmatch(r"-?[0-9]+", value):
                raise Refused(f"{key}: a whole number is wanted, not {value!r}")
            if not int(schema.get("minimum", value)) <= int(value) <= int(schema.get("maximum", value)):
                raise Refused(f"{key}: {value} is out of bounds")
        case "string":
            _text(value, schema, key)


def _text(value: object, schema: Mapping[str, Any], where: str) -> None:
    if not isinstance(value, str):
        raise Refused(f"{where}: a text is wanted, not {value!r}")
    if "enum" in schema and value not in schema["enum"]:
        raise Refused(f"{where}: {value!r} is none of {', '.join(schema['enum'][:8])} …")
    if "pattern" in schema and re.fullmatch(schema["pattern"], value) is None:
        raise Refused(f"{where}: {value!r} does not match {schema['pattern']}")
    shape = schema.get("format", "")
    if shape in _WHOLE:
        if re.fullmatch(r"-?[0-9]+", value) is None or (shape.startswith("u") and value.startswith("-")):
            raise Refused(f"{where}: {value!r} is no {shape}")
        if not -(2 ** _WHOLE[shape]) < int(value) < 2 ** _WHOLE[shape]:
            raise Refused(f"{where}: {value!r} is out of bounds of {shape}")
    if shape == "byte":
        try:
            base64.b64decode(value, altchars=b"-_", validate=True)
        except binascii.Error:
            raise Refused(f"{where}: {value!r} is no base64") from None
