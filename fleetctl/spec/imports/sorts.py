"""Whose file it is, by what it says of itself."""

from collections.abc import Mapping, Sequence
from typing import Any

KUBERNETES = {
    "HorizontalPodAutoscaler": ("autoscaling/", "hpa"),
    "ScaledObject": ("keda.sh/", "keda"),
}
"""By `kind`: how its apiVersion begins, and what it is imported as."""
KNATIVE = "serving.knative.dev/"
OURS = ("service", "pool", "fleet", "tenant")


def sources_of(documents: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What may be imported of the file, each with what it is in words; `fleetctl` stands for what is ours already."""
    found = {}
    for one in documents:
        kind, version = str(one.get("kind", "")), str(one.get("apiVersion", ""))
        if kind in KUBERNETES and version.startswith(KUBERNETES[kind][0]):
            found[KUBERNETES[kind][1]] = f"a {kind} of {version}"
        elif kind == "Service" and version.startswith(KNATIVE):
            found["knative"] = f"a Service of {version}"
        elif kind in OURS and not version:
            found["fleetctl"] = f"kind: {kind} of fleetctl itself"
        elif not kind and str(one.get("type", "")) == "service":
            found["dstack"] = "type: service of dstack"
        elif not kind and isinstance(one.get("service"), dict):
            found["sky"] = "a task of SkyPilot with service:"
    return found


def strange_version(documents: Sequence[Mapping[str, Any]]) -> str:
    """An object whose apiVersion is not the one of its kind, in words; empty: there is none."""
    for one in documents:
        kind, version = str(one.get("kind", "")), str(one.get("apiVersion", ""))
        if kind in KUBERNETES and not version.startswith(KUBERNETES[kind][0]):
            return f"a {kind} of apiVersion {version or 'none'}, and one of {KUBERNETES[kind][0]}… is wanted"
    return ""
