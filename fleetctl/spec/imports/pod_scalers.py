"""What scales pods: the HorizontalPodAutoscaler (autoscaling/v2) and KEDA's ScaledObject, with the Deployment if it is
in the same file."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fleetctl.errors import SpecError
from fleetctl.spec.imports import pods
from fleetctl.spec.imports.engine_lines import MODEL_TO_FILL_IN
from fleetctl.spec.imports.fields import Converted, Fields, clean, plain_name, scaled_by

HPA, KEDA = "HorizontalPodAutoscaler", "ScaledObject"
POD = "spec.template.spec"
DAY_S = 86_400
WHY = {
    "apiVersion": "of Kubernetes itself",
    "metadata": "of Kubernetes itself",
    "status": "of Kubernetes itself",
    "spec.scaleTargetRef": "the service is what is scaled",
    "spec.pollingInterval": "load is read with every tick: period in kind: fleet",
    "spec.initialCooldownPeriod": "a service just declared counts as busy",
    "spec.idleReplicaCount": "zero is scaling.min: 0; in between there is nothing",
    "spec.fallback": "on unknown load nothing is taken away",
    "spec.advanced": "of Kubernetes itself",
    "spec.metrics": "the policy auto looks at requests running and queued; other numbers go under signals:",
    "spec.triggers": "the policy auto looks at requests running and queued; other numbers go under signals:",
    "spec.targetCPUUtilizationPercentage": "there are no CPUs to scale by; the policy auto is used",
}
DEPLOYMENT_WHY = {
    "apiVersion": "of Kubernetes itself",
    "metadata": "of Kubernetes itself",
    "status": "of Kubernetes itself",
    "spec.replicas": "the autoscaler's bounds are what counts",
    "spec.selector": "of Kubernetes itself",
    "spec.template.metadata": "of Kubernetes itself",
    "spec.strategy": "write it as rollout: {surge: 1}",
    "spec.minReadySeconds": "write it as rollout: {settle: 10s}",
    "spec.progressDeadlineSeconds": "write it as rollout: {deadline: 10m}",
    "spec.revisionHistoryLimit": "the last six revisions are kept",
    f"{POD}.terminationGracePeriodSeconds": "write it as drain_timeout:",
    **pods.whys(POD),
}


def convert(documents: Sequence[Mapping[str, Any]]) -> Converted:
    """Raises `SpecError`."""
    scalers = [one for one in documents if one.get("kind") in (HPA, KEDA)]
    pods_too = [one for one in documents if one.get("kind") in ("Deployment", "StatefulSet")]
    strange = sorted({str(one.get("kind")) for one in documents} - {HPA, KEDA, "Deployment", "StatefulSet", "Service"})
    if len(scalers) != 1 or len(pods_too) > 1 or strange:
        found = ", ".join(sorted({str(one.get("kind")) for one in documents}))
        raise SpecError(f"holds {found}; one {HPA} or {KEDA} is wanted, with its Deployment or alone", hint="give one")
    fields = Fields.of(scalers[0])
    keda = fields.take("kind") == KEDA
    notes: list[str] = []
    left: list[tuple[str, str]] = []
    target = fields.text("spec.scaleTargetRef.name")
    name = plain_name(target or fields.text("metadata.name"), "service")
    scaling, schedule = (_keda if keda else _hpa)(fields, notes)
    if pods_too:
        deployment = Fields.of(pods_too[0])
        deployment.take("kind")
        pod = pods.pod_of(deployment, POD, notes)
        left += [(f"Deployment {path}", why) for path, why in deployment.rest(DEPLOYMENT_WHY)]
    else:
        pod = {"engine": "vllm", "model": MODEL_TO_FILL_IN, "gpu": "ANY:1"}
        notes.append("engine, model and gpu: an autoscaler does not say; put yours, or import it with its Deployment")
    if any(one.get("kind") == "Service" for one in documents):
        left.append(("Service", "the gateway is at one address for all services"))
    left += fields.rest(WHY)
    document = {"kind": "service", "name": name, **pod, "scaling": scaling, "schedule": schedule}
    return Converted(document=clean(document), left=tuple(left), notes=tuple(notes))


def _hpa(fields: Fields, notes: list[str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    most = fields.count("spec.maxReplicas")
    if most is None:
        raise SpecError("spec.maxReplicas is missing", hint="an autoscaler has one")
    found = scaled_by(least=fields.count("spec.minReplicas"), most=most)
    behavior, tolerance = _behavior(fields, "spec.behavior")
    return found | behavior | tolerance, []


def _behavior(fields: Fields, path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """`behavior`, and `tolerance` where both directions have the same."""
    directions: dict[str, Any] = {}
    tolerances = []
    for theirs, ours in (("scaleUp", "up"), ("scaleDown", "down")):
        window = fields.count(f"{path}.{theirs}.stabilizationWindowSeconds")
        select = fields.text(f"{path}.{theirs}.selectPolicy")
        rates = [_rate(one, f"{path}.{theirs}.policies") for one in fields.take(f"{path}.{theirs}.policies") or []]
        tolerance = fields.number(f"{path}.{theirs}.tolerance")
        if tolerance is not None:
            tolerances.append(tolerance)
        direction = clean(
            {
                "stabilization": None if window is None else f"{window}s",
                "policies": rates,
                "select": None if select is None else select.lower(),
            }
        )
        if direction:
            directions[ours] = direction
    body = {"behavior": directions} if directions else {}
    return body, {"tolerance": min(tolerances)} if tolerances else {}


def _rate(one: Mapping[str, Any], path: str) -> dict[str, Any]:
    kind = {"Pods": "replicas", "Percent": "percent"}.get(str(one.get("type")))
    if kind is None or set(one) != {"type", "value", "periodSeconds"}:
        raise SpecError(f"{path}: {dict(one)} is no policy of rates", hint="type Pods or Percent, value, periodSeconds")
    return {kind: int(one["value"]), "period": f"{int(one['periodSeconds'])}s"}


def _keda(fields: Fields, notes: list[str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    least, most = fields.count("spec.minReplicaCount"), fields.count("spec.maxReplicaCount")
    found = scaled_by(least=0 if least is None else least, most=100 if most is None else most)
    if most is None:
        notes.append("scaling.max: the source has KEDA's default of 100; say what you can pay")
    cooldown = fields.count("spec.cooldownPeriod")
    if cooldown is not None and found["min"] == 0:
        found["idle"] = f"{cooldown}s"
    behavior, tolerance = _behavior(fields, "spec.advanced.horizontalPodAutoscalerConfig.behavior")
    schedule, rest = [], []
    for trigger in fields.take("spec.triggers") or []:
        if trigger.get("type") == "cron":
            schedule.append(_cron(trigger.get("metadata") or {}, notes))
        else:
            rest.append(trigger)
    if rest:
        fields.body.setdefault("spec", {})["triggers"] = rest
    return found | behavior | tolerance, schedule


def _cron(body: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """A floor from `start` to `end`: KEDA's cron only ever raises."""
    try:
        begins, ends = str(body["start"]), str(body["end"])
        count, zone = int(body["desiredReplicas"]), str(body["timezone"])
    except (KeyError, ValueError):
        raise SpecError(
            "spec.triggers: a cron trigger has timezone, start, end and desiredReplicas", hint="mend it there"
        ) from None
    length_s = _length_s(begins, ends)
    if length_s is None:
        length_s = 3600
        notes.append(f"schedule: how long from {begins!r} to {ends!r} is not plain; one hour is put here")
    return {"cron": begins, "tz": zone, "for": f"{length_s // 60}m", "min": count}


def _length_s(begins: str, ends: str) -> int | None:
    """Of two times of day on the same days, and of nothing else."""
    first, last = begins.split(), ends.split()
    if len(first) != 5 or len(last) != 5 or first[2:] != last[2:]:
        return None
    if not all(re.fullmatch(r"\d+", one) for one in (*first[:2], *last[:2])):
        return None
    length = (int(last[1]) - int(first[1])) * 3600 + (int(last[0]) - int(first[0])) * 60
    return length % DAY_S or DAY_S
