"""Knative's Service. Names of its annotations as Knative Serving documents them."""

from collections.abc import Mapping, Sequence
from typing import Any

from fleetctl.errors import SpecError
from fleetctl.spec.imports import pods
from fleetctl.spec.imports.fields import Converted, Fields, clean, plain_name, scaled_by, seconds

PREFIX = "autoscaling.knative.dev/"
POD = "spec.template.spec"
WHY = {
    "apiVersion": "of Kubernetes itself",
    "metadata": "of Kubernetes itself",
    "status": "of Kubernetes itself",
    "spec.traffic": "a new revision comes in by rollout:, with nothing to split",
    "spec.template.metadata": "of Kubernetes itself",
    f"{POD}.responseStartTimeoutSeconds": "requests wait as queue: says",
    f"{POD}.idleTimeoutSeconds": "requests run to their end",
    f"{POD}.timeoutSeconds": "requests run to their end; how long they may wait is queue_timeout:",
    **pods.whys(POD),
}
SCALERS = {
    "initial-scale": "a service begins as its policy and load say",
    "initialScale": "a service begins as its policy and load say",
    "activation-scale": "from zero it begins with one; standby: keeps more at hand",
    "class": "written as the policy",
}


def convert(documents: Sequence[Mapping[str, Any]]) -> Converted:
    """Raises `SpecError`."""
    services = [one for one in documents if one.get("kind") == "Service" and "knative" in str(one.get("apiVersion"))]
    if len(services) != 1 or len(documents) != 1:
        kinds = ", ".join(sorted({f"{one.get('apiVersion')} {one.get('kind')}" for one in documents}))
        raise SpecError(
            f"holds {kinds}, and no single serving.knative.dev Service", hint="give the file of one service"
        )
    fields = Fields.of(services[0])
    fields.take("kind")
    notes: list[str] = []
    name = plain_name(fields.text("metadata.name"), "service")
    left: list[tuple[str, str]] = []
    scaling, concurrency_goal = _scaling(fields, left, notes)
    pod = pods.pod_of(fields, POD, notes)
    hard = fields.count(f"{POD}.containerConcurrency")
    if hard:
        pod["concurrency"] = hard
    elif concurrency_goal and "concurrency" not in pod:
        pod["concurrency"] = max(1, round(concurrency_goal))
    document = {"kind": "service", "name": name, **pod, "scaling": scaling}
    return Converted(document=clean(document), left=(*left, *fields.rest(WHY)), notes=tuple(notes))


def _scaling(fields: Fields, left: list[tuple[str, str]], notes: list[str]) -> tuple[dict[str, Any], float | None]:
    """`scaling`, and the concurrency that each replica is kept at."""
    path = "spec.template.metadata.annotations"
    given = fields.table(path)
    ours = {str(key).removeprefix(PREFIX): str(value) for key, value in given.items() if str(key).startswith(PREFIX)}
    left += [(f"{path}.{key}", "of Kubernetes itself") for key in given if not str(key).startswith(PREFIX)]
    least, most = _first(ours, "min-scale", "minScale"), _first(ours, "max-scale", "maxScale")
    found = scaled_by(least=int(least or 0), most=int(most) if most and int(most) else None)
    if not most or not int(most):
        found["max"] = max(found["min"], 4)
        notes.append("scaling.max: the source has no limit; 4 is put here, say what you can pay")
    metric, target = ours.pop("metric", "concurrency"), ours.pop("target", None)
    share = ours.pop("target-utilization-percentage", ours.pop("targetUtilizationPercentage", None))
    goal: float | None = None
    if metric == "rps":
        found |= {"policy": "requests_per_second", "requests_per_second": float(target or 200)}
    elif metric == "concurrency":
        goal = float(target) if target else None
        found["policy"] = "target_concurrency"
        if share:
            found["target"] = f"{float(share):g}%"
    else:
        left.append((f"{path}.{PREFIX}metric", "there are no CPUs to scale by; the policy auto is used"))
    if value := ours.pop("window", None):
        found["window"] = seconds(value, "window")
    if value := _first(ours, "scale-down-delay"):
        found["scale_down_delay"] = seconds(value, "scale-down-delay")
    if (value := _first(ours, "scale-to-zero-pod-retention-period")) and found["min"] == 0:
        found["idle"] = seconds(value, "scale-to-zero-pod-retention-period")
    panic = _first(ours, "panic-window-percentage", "panicWindowPercentage")
    if panic and "window" in found:
        found["panic_window"] = f"{float(found['window'].removesuffix('s')) * float(panic) / 100:g}s"
    elif panic:
        found["panic_window"] = f"{60 * float(panic) / 100:g}s"
    if value := _first(ours, "panic-threshold-percentage", "panicThresholdPercentage"):
        found["panic_threshold"] = float(value) / 100
    for key, value in ours.items():
        if key not in SCALERS:
            from fleetctl.spec.suggestions import nearest

            near = nearest(key, [*SCALERS, *KNOWN])
            raise SpecError(
                f"{path}.{PREFIX}{key}: this field is not known",
                hint=f"did you mean {PREFIX}{near}?" if near else "take it out: it means nothing that is known here",
            )
        if not (key == "class" and value.startswith("kpa")):
            left.append((f"{path}.{PREFIX}{key}", SCALERS[key]))
    return found, goal


KNOWN = (
    *("min-scale", "max-scale", "target", "metric", "window", "target-utilization-percentage", "scale-down-delay"),
    *("scale-to-zero-pod-retention-period", "panic-window-percentage", "panic-threshold-percentage"),
)


def _first(ours: dict[str, str], *names: str) -> str | None:
    found = [ours.pop(one, None) for one in names]
    return next((one for one in found if one is not None), None)
