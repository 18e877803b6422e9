"""dstack's service configuration. Names of its fields as dstack 0.22 documents them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fleetctl.errors import SpecError
from fleetctl.spec.imports.engine_lines import engine_of
from fleetctl.spec.imports.fields import Converted, Fields, clean, environment, plain_name, scaled_by, seconds

BACKENDS = {"aws": "aws", "gcp": "gcp", "azure": "azure"}
WHY = {
    "python": "images bring their own Python",
    "nvcc": "images bring what an engine needs",
    "entrypoint": "the engine's image says how it starts; else write command:",
    "working_dir": "an engine runs where its image says",
    "registry_auth": "machines fetch images as their Docker is set up; no secret belongs into a file",
    "files": "nothing is copied to machines; put it into the image",
    "repos": "nothing is copied to machines; put it into the image",
    "volumes": "weights are kept by fleetctl itself, on each machine",
    "docker": "engines run in containers already",
    "privileged": "engines get their GPUs and nothing else",
    "user": "an engine runs as its image says",
    "home_dir": "an engine runs as its image says",
    "shell": "an engine runs as its image says",
    "resources.cpu": "each machine type brings its own CPUs",
    "resources.memory": "each machine type brings its own memory",
    "resources.disk": "a machine's disk has room for a large image and weights",
    "resources.shm_size": "containers get enough shared memory for any engine",
    "resources.gpu": "said by memory or vendor alone; here GPUs are named by product",
    "port": "engines get a port of their own choosing from fleetctl; the gateway is at one address for all",
    "gateway": "the gateway is the fleet's: gateway: {…} in kind: fleet",
    "https": "TLS is the gateway's: gateway: {tls: …} in kind: fleet",
    "auth": "keys are the gateway's: gateway: {auth: keys}, then fleetctl keys create",
    "strip_prefix": "services are told by model, by path or by host",
    "rate_limits": "limits are of tenants and keys: kind: tenant",
    "probes": "an engine's own readiness is asked; another path is readiness_path:",
    "router": "the gateway routes by prefix where that helps",
    "backends": "the others are reached through sky",
    "instance_types": "machines are chosen by their GPUs and price: see fleetctl catalog ls",
    "availability_zones": "zones are chosen by price and what was experienced there",
    "reservation": "write placement: {market: reserved}",
    "retry": "what has no capacity is tried elsewhere and again by itself",
    "max_duration": "a service runs until it is taken down",
    "stop_duration": "write it as drain_timeout:",
    "idle_duration": "idle machines are given back by themselves; standby: says what stays",
    "creation_policy": "machines of a pool are used before new ones are rented",
    "fleets": "write kind: pool, and pool: in the service",
    "tags": "machines are tagged by fleetctl",
    "utilization_policy": "a service goes to zero by scaling.min: 0 and scaling.idle",
    "priority": "services do not displace each other",
    "schedule": "write schedule: with a floor, a ceiling or a count for a time",
    "model": "the gateway knows the model by the engine's own word",
    "backend_options": "machines are chosen by their GPUs and price: see fleetctl catalog ls",
    "env": "it has no value here: put one, if it is no secret",
    "replicas": "groups of replicas are services of their own here",
    "scaling": "groups of replicas are services of their own here",
}


def convert(documents: Sequence[Mapping[str, Any]]) -> Converted:
    """Raises `SpecError`."""
    if len(documents) > 1:
        raise SpecError(
            "holds several documents; one configuration is one service", hint="give the file of one service"
        )
    fields = Fields.of(documents[0])
    kind = fields.text("type")
    if kind != "service":
        raise SpecError(f"is of type {kind or '(none)'}, and only services are imported", hint="type: service")
    notes: list[str] = []
    env = environment(fields.take("env"), "env")
    for blank in [one for one, value in env.items() if not value]:
        del env[blank]
        notes.append(f"env.{blank}: the source takes it from your own environment; put it here if it is no secret")
    image = fields.text("image")
    commands = fields.take("commands") or []
    words = "\n".join(map(str, commands)) if isinstance(commands, list) else str(commands)
    engine, more = engine_of(words, image, env)
    gpu = _gpu(fields.take("resources.gpu"), fields, notes)
    document = {
        "kind": "service",
        "name": plain_name(fields.text("name"), "service"),
        **engine,
        "image": image,
        "gpu": gpu[0] if len(gpu) == 1 else gpu,
        "env": {key: value for key, value in env.items() if key not in ("MODEL", "MODEL_ID")},
        "scaling": _scaling(fields),
        "placement": _placement(fields),
    }
    return Converted(document=clean(document), left=tuple(fields.rest(WHY)), notes=(*more, *notes))


def _gpu(value: object, fields: Fields, notes: list[str]) -> list[str]:
    """`NAME:COUNT` of `L40S:1`, `H100:80GB:2`, `{name, count, memory}` or a list of names; ANY where it names none."""
    names: list[str] = []
    count = "1"
    if isinstance(value, Mapping):
        said = value.get("name")
        names = [str(one) for one in said] if isinstance(said, list) else [] if said is None else str(said).split(",")
        count = str(value.get("count", 1))
        for key in value:
            if key not in ("name", "count", "memory", "vendor", "compute_capability", "total_memory"):
                raise SpecError(f"resources.gpu.{key}: this field is not known", hint="name, count and memory are")
    elif value is not None:
        for part in str(value).split(":"):
            if re.fullmatch(r"\d+(\.\.\d*)?|\.\.\d+", part):
                count = part
            elif not re.search(r"\d+GB", part, re.IGNORECASE):
                names += part.split(",")
    least = count.partition("..")[0] or "1"
    if not names:
        notes.append("gpu: the source says only how much memory; name products: fleetctl catalog ls")
        names = ["ANY"]
    return [f"{name.strip().upper()}:{least}" for name in names]


def _scaling(fields: Fields) -> dict[str, Any]:
    value = fields.take("replicas")
    least = most = fixed = None
    if isinstance(value, list):
        fields.body["replicas"] = value
    elif isinstance(value, Mapping):
        least, most = _whole(value.get("min")), _whole(value.get("max"))
    elif value is not None:
        low, dots, high = str(value).partition("..")
        if not dots:
            fixed = _whole(low)
        else:
            least, most = _whole(low), _whole(high)
    found = scaled_by(least=least, most=most, fixed=fixed if fixed is not None else 1 if value is None else None)
    metric = fields.text("scaling.metric")
    target = fields.number("scaling.target")
    up, down = fields.take("scaling.scale_up_delay"), fields.take("scaling.scale_down_delay")
    if metric not in (None, "rps"):
        raise SpecError(f"scaling.metric: {metric!r} is not known", hint="rps is the only one that dstack has")
    if target is not None and "replicas" not in found:
        found |= {"policy": "requests_per_second", "requests_per_second": target}
    if up is not None:
        found["behavior"] = {"up": {"stabilization": seconds(up, "scaling.scale_up_delay")}}
    if down is not None:
        found["scale_down_delay"] = seconds(down, "scaling.scale_down_delay")
    return found


def _whole(value: object) -> int | None:
    if value in (None, ""):
        return None
    if not re.fullmatch(r"\d+", str(value)):
        raise SpecError(f"replicas: {value!r} is no count", hint="write 2, or 0..4")
    return int(str(value))


def _placement(fields: Fields) -> dict[str, Any]:
    policy = fields.text("spot_policy")
    market: object = {"spot": "spot", "on-demand": "on_demand", None: None}.get(
        policy, {"spot": "100%", "fallback": True}
    )
    backends = fields.take("backends") or []
    return {
        "providers": list(dict.fromkeys(BACKENDS.get(str(one).lower(), "sky") for one in backends)),
        "regions": [str(one) for one in fields.take("regions") or []],
        "market": market,
        "max_price_per_hour": fields.number("max_price"),
    }
