"""A pod's container, wherever a Kubernetes object holds one."""

import shlex
from collections.abc import Mapping
from typing import Any

from fleetctl.errors import SpecError
from fleetctl.spec.imports.engine_lines import engine_of
from fleetctl.spec.imports.fields import Fields, environment

GPU = "nvidia.com/gpu"
PRODUCTS = ("nvidia.com/gpu.product", "cloud.google.com/gke-accelerator", "node.kubernetes.io/instance-type")
"""Labels of nodes that say which GPU they have; the last one only where it is a product's name."""

WHY = {
    "nodeSelector": "machines are chosen by their GPUs and price; write gpu: and placement:",
    "affinity": "machines are chosen by their GPUs and price; write placement: {same: zone}",
    "tolerations": "there are no taints here",
    "volumes": "weights are kept by fleetctl itself, on each machine",
    "serviceAccountName": "engines have no rights of their own",
    "imagePullSecrets": "machines fetch images as their Docker is set up; no secret belongs into a file",
    "securityContext": "an engine runs as its image says",
    "runtimeClassName": "machines bring the GPU runtime",
    "schedulerName": "replicas are placed by the controller",
    "enableServiceLinks": "of Kubernetes itself",
    "hostIPC": "containers get enough shared memory for any engine",
    "initContainers": "images and weights are there before an engine starts; put other steps into the image",
    "dnsPolicy": "of Kubernetes itself",
    "restartPolicy": "an engine that ends is replaced",
    "containers.name": "a replica runs one container",
    "containers.ports": "engines get a port of their own choosing from fleetctl",
    "containers.resources": "each machine type brings its own CPUs and memory",
    "containers.volumeMounts": "weights are kept by fleetctl itself, on each machine",
    "containers.securityContext": "an engine runs as its image says",
    "containers.imagePullPolicy": "images are held by digest",
    "containers.readinessProbe": "an engine's own readiness is asked",
    "containers.livenessProbe": "an engine that dies is replaced; one that hangs is shown in: fleetctl ps",
    "containers.startupProbe": "the longest that a start may take is startup_timeout:",
    "containers.envFrom": "set them one by one; no secret belongs into a file",
    "containers.workingDir": "an engine runs where its image says",
    "containers.lifecycle": "replicas drain before they end",
    "containers.env": "it takes its value from elsewhere: put it here, if it is no secret",
}


def pod_of(fields: Fields, path: str, notes: list[str]) -> dict[str, Any]:
    """Engine, model, image, GPUs and environment of the pod spec at `path`, taken out of it."""
    containers = fields.take(f"{path}.containers") or []
    if len(containers) != 1 or not isinstance(containers[0], Mapping):
        raise SpecError(
            f"{path}.containers: a replica runs one container, and there are {len(containers)}",
            hint="leave the engine's alone there, then import it again",
        )
    inner = Fields.of(containers[0])
    image = inner.text("image")
    env = _env(inner, notes)
    command = [str(one) for one in inner.take("command") or []]
    args = [str(one) for one in inner.take("args") or []]
    shell = command[:1] in (["sh"], ["bash"], ["/bin/sh"], ["/bin/bash"]) and len(command + args) >= 3
    words = (command + args)[-1] if shell else shlex.join(command + args)
    engine, more = engine_of(words, image, env)
    notes += more
    ready = inner.take("readinessProbe.httpGet.path")
    limits = inner.table("resources.limits")
    asked = inner.table("resources.requests")
    count = limits.pop(GPU, None) or asked.pop(GPU, None) or 1
    for name, rest in (("limits", limits), ("requests", asked)):
        if rest:
            inner.body.setdefault("resources", {})[name] = rest
    selector = fields.table(f"{path}.nodeSelector")
    product = next((str(selector.pop(one)) for one in PRODUCTS[:2] if one in selector), None)
    if selector:
        _put(fields, f"{path}.nodeSelector", selector)
    if inner.body:
        _put(fields, f"{path}.containers", [inner.body])
    if product is None:
        notes.append("gpu: the source says only how many; name the product, as in L40S:1")
    return {
        **engine,
        "image": image,
        "gpu": f"{_product(product)}:{count}",
        "env": env,
        "readiness_path": None if ready is None else str(ready),
    }


def whys(path: str) -> dict[str, str]:
    """Why fields of the pod at `path` are not carried over."""
    return {f"{path}.{name}": why for name, why in WHY.items()}


def _env(inner: Fields, notes: list[str]) -> dict[str, str]:
    given = inner.take("env") or []
    plain = [one for one in given if "valueFrom" not in one]
    notes += [
        f"env.{one.get('name')}: the source takes it from a secret or a field; put it, if it is no secret"
        for one in given
        if "valueFrom" in one
    ]
    return environment(plain, "env") if plain else {}


def _product(label: str | None) -> str:
    """`NVIDIA-L40S` and `nvidia-l4` as products are called here."""
    if label is None:
        return "ANY"
    name = label.upper().removeprefix("NVIDIA-").removeprefix("TESLA-")
    for known in ("H200", "H100", "B200", "A100-80GB", "A100", "L40S", "L40", "L4", "A10G", "A10", "T4", "V100"):
        if name.startswith(known):
            return known
    return name


def _put(fields: Fields, path: str, value: object) -> None:
    """Back into the document, so that it is told of."""
    *above, last = path.split(".")
    body = fields.body
    for name in above:
        body = body.setdefault(name, {})
    body[last] = value
