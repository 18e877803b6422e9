"""The JSON Schema of the files, for editors and for other programs."""

import dataclasses
from typing import Any

from fleetctl.errors import NotFound
from fleetctl.model.outside import Signal
from fleetctl.model.routes import Route, TenantEntry
from fleetctl.model.services import (
    Behavior,
    LocalMachine,
    Placement,
    Pool,
    QueueRules,
    Scaling,
    Schedule,
    Service,
    Slo,
    Standby,
)
from fleetctl.spec.daemon_documents import DaemonDoc
from fleetctl.spec.document import Document
from fleetctl.spec.documents import DOCUMENTS, FleetDoc
from fleetctl.spec.entry_documents import AccessLogDoc, GatewayDoc, ServiceQueueDoc, TenantFileDoc
from fleetctl.spec.fleet import FleetConfig
from fleetctl.spec.gateway_documents import GatewayFileDoc, QueueDoc, TenantDoc
from fleetctl.spec.gateway_file import GatewayConfig
from fleetctl.spec.pool_documents import LocalDoc, PlacementDoc, PoolDoc, StandbyDoc
from fleetctl.spec.scaling_documents import DirectionDoc, PresetDoc, ScalingDoc, ScheduleDoc
from fleetctl.spec.service_documents import ServiceDoc, SloDoc
from fleetctl.spec.signal_documents import SignalDoc
from fleetctl.spec.suggestions import did_you_mean
from fleetctl.spec.units import duration_text, share_text

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_APART: dict[str, type[Document]] = {"preset": PresetDoc, "gateway": GatewayFileDoc}
"""What has a file of its own."""
KINDS = (*DOCUMENTS, *_APART)

_SHARES = frozenset({"target", "tolerance", "utilization", "sample"})
_DEFAULTS: dict[type[Document], tuple[type, dict[str, str]]] = {
    ServiceDoc: (Service, {}),
    SloDoc: (Slo, {}),
    ScalingDoc: (Scaling, {"policy": "preset"}),
    # A preset must name its rule, and these hang on it.
    PresetDoc: (Scaling, dict.fromkeys(("policy", "tolerance", "scale_down_delay", "idle"), "")),
    DirectionDoc: (Behavior, {}),
    StandbyDoc: (Standby, {}),
    ScheduleDoc: (Schedule, {}),
    PlacementDoc: (Placement, {}),
    PoolDoc: (Pool, {}),
    LocalDoc: (LocalMachine, {}),
    SignalDoc: (Signal, {"name": "", "policy": ""}),
    FleetDoc: (FleetConfig, {}),
    GatewayDoc: (FleetConfig, {"listen": "gateway_listen", "auth": "gateway_auth", "workers": "gateway_workers"}),
    DaemonDoc: (FleetConfig, {"metrics_listen": ""}),
    AccessLogDoc: (FleetConfig, {"sample": "gateway_access_log_sample"}),
    ServiceQueueDoc: (QueueRules, {"timeout": ""}),
    TenantFileDoc: (TenantEntry, {"name": ""}),
    GatewayFileDoc: (GatewayConfig, {"metrics_listen": ""}),
    TenantDoc: (TenantEntry, {"name": ""}),
    QueueDoc: (Route, {"timeout": "", "memory": "", "limit": "queue_limit"}),
}
"""Whose defaults a document's fields have, and the fields whose names differ by more than the unit.
Empty: no default is said."""


def json_schema(kind: str | None = None) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of one kind of document, or of any that may stand in a fleet's files.

    `kind` is service, pool, fleet, tenant, preset or gateway. Raises `NotFound` for another.
    """
    if kind is not None:
        document = (DOCUMENTS | _APART).get(kind)
        if document is None:
            raise NotFound(f"there is no kind {kind!r}{did_you_mean(kind, KINDS)}", hint=f"kinds: {', '.join(KINDS)}")
        return {"$schema": DIALECT, **_schema(document)}
    definitions: dict[str, Any] = {}
    choices = []
    for name, document in DOCUMENTS.items():
        one = _schema(document)
        definitions |= one.pop("$defs", {})
        definitions[document.__name__] = one
        choices.append(
            {
                "if": {"properties": {"kind": {"const": name}}, "required": ["kind"]},
                "then": {"$ref": f"#/$defs/{document.__name__}"},
            }
        )
    return {
        "$schema": DIALECT,
        "title": "fleetctl",
        "description": "One document of a fleet's files.",
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"enum": list(DOCUMENTS), "description": "What this document declares."}},
        "allOf": choices,
        "$defs": definitions,
    }


def _schema(document: type[Document]) -> dict[str, Any]:
    """pydantic's schema as a file must be (a field without a value is refused), with the model's defaults."""
    schema: dict[str, Any] = _tidied(document.model_json_schema())
    shapes = {document.__name__: schema, **schema.get("$defs", {})}
    for owner, (noun, renamed) in _DEFAULTS.items():
        shape = shapes.get(owner.__name__)
        if shape is None:
            continue
        defaults = _defaults_of(noun)
        for name, field in shape["properties"].items():
            if renamed.get(name) == "":
                continue
            default = defaults.get(renamed.get(name, name), defaults.get(f"{name}_s"))
            if (written := _written(name, default, seconds=name not in defaults)) is not None:
                field["default"] = written
    return schema


def _tidied(schema: Any) -> Any:
    """Without nulls, without pydantic's titles, and closed where pydantic leaves names open."""
    if isinstance(schema, list):
        return [_tidied(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        key: _tidied(value)
        for key, value in schema.items()
        if not (key == "default" and value is None) and not (key == "title" and isinstance(value, str))
    }
    if "patternProperties" in kept:
        kept.pop("propertyNames", None)
        kept["additionalProperties"] = False
    choices = kept.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        left = [choice for choice in choices if choice != {"type": "null"}]
        if len(left) > 1:
            return {**kept, "anyOf": left}
        del kept["anyOf"]
        return {**left[0], **kept}
    return kept


def _defaults_of(noun: type) -> dict[str, object]:
    return {
        field.name: field.default
        for field in dataclasses.fields(noun)
        if isinstance(field.default, bool | int | float | str)
    }


def _written(name: str, default: object, *, seconds: bool) -> str | int | float | None:
    """A default as a user would write it; None: there is none to write."""
    match default:
        case float() if name in _SHARES:
            return share_text(default)
        case float() if seconds:
            return duration_text(default)
        case str():
            return str(default)  # a plain one, of an enumeration's member
        case int() | float():
            return default
        case _:
            return None
