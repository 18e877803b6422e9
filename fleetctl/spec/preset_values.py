"""A preset value by value: what it is, where that is written, and what it means."""

from pathlib import Path

from fleetctl.model.records import dataclass
from fleetctl.model.services import Behavior, RatePolicy, Scaling
from fleetctl.spec.files import read
from fleetctl.spec.presets import Preset
from fleetctl.spec.scaling_documents import BehaviorDoc, DirectionDoc, PresetDoc
from fleetctl.spec.trees import Mapping, Node, plain
from fleetctl.spec.units import duration_text, share_text

_SHARES = frozenset({"target", "tolerance", "utilization"})
_DURATIONS = frozenset({"latency", "window", "panic_window", "scale_down_delay", "idle"})
_OF_ONE_RULE = {
    "replicas": "fixed",
    "queued": "queue_depth",
    "requests_per_second": "requests_per_second",
    "tokens_per_second": "tokens_per_second",
    "latency": "latency_slo",
    "latency_of": "latency_slo",
    "percentile": "latency_slo",
    "utilization": "gpu_utilization",
}
"""Fields that mean nothing under every other rule."""
_CONCURRENCY = frozenset({"target", "panic_window", "panic_threshold"})
"""Fields of the rule that goes by concurrency."""
DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetValue:
    """One value of a preset."""

    field: str
    """As in the file: `window`, `behavior.down.policies`."""
    value: object
    """As a file would have it; None: nothing is set, and the rule decides."""
    origin: str
    """`policies/hpa.yaml:7`, or `default`."""
    meaning: str


def preset_values(found: Preset) -> tuple[PresetValue, ...]:
    """Every value that matters under the preset's rule, in the order of the schema."""
    nodes, _ = read(found.file)
    root = nodes[0]
    rule, scaling = found.scaling.policy, found.scaling
    values: list[PresetValue] = []
    for field, info in PresetDoc.model_fields.items():
        if field in ("why", "behavior") or _idle(field, rule):
            continue
        values.append(
            PresetValue(
                field=field,
                value=_shown(field, scaling),
                origin=_origin(found.file, root, (field,)),
                meaning=info.description or "",
            )
        )
    values.sort(key=lambda one: one.field != "policy")  # the rule first: the others are its numbers
    return (*values, *_behavior(found.file, root, scaling))


def _idle(field: str, rule: str) -> bool:
    return _OF_ONE_RULE.get(field, rule) != rule or (field in _CONCURRENCY and rule != "target_concurrency")


def _shown(field: str, scaling: Scaling) -> object:
    if field in _DURATIONS:
        seconds = getattr(scaling, f"{field}_s")
        return None if seconds is None else duration_text(seconds)
    value = getattr(scaling, field)
    return share_text(value) if field in _SHARES and value is not None else value


def _behavior(file: Path, root: Node, scaling: Scaling) -> list[PresetValue]:
    values = []
    for direction, info in BehaviorDoc.model_fields.items():
        behavior: Behavior = getattr(scaling, direction)
        for field, inner in DirectionDoc.model_fields.items():
            value = {
                "stabilization": duration_text(behavior.stabilization_s),
                "policies": [_rate(one) for one in behavior.policies] or None,
                "select": behavior.select,
            }[field]
            values.append(
                PresetValue(
                    field=f"behavior.{direction}.{field}",
                    value=value,
                    origin=_origin(file, root, ("behavior", direction, field)),
                    meaning=inner.description or info.description or "",
                )
            )
    return values


def _rate(rate: RatePolicy) -> dict[str, object]:
    return {rate.kind: rate.value, "period": duration_text(rate.period_s)}


def _origin(file: Path, root: Node, path: tuple[str, ...]) -> str:
    """The line where the value at `path` is written; `default` where it is not."""
    node, line = root, 0
    for part in path:
        entry = node.get(part) if isinstance(node, Mapping) else None
        if entry is None:
            return DEFAULT
        node, line = entry.node, entry.line
    assert plain(node) is not None, "a field without a value is refused before"
    return f"{file.name}:{line}"
