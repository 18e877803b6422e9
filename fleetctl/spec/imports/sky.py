"""SkyServe's task file. Names of its fields as SkyPilot 0.14 documents them."""

from collections.abc import Mapping, Sequence
from typing import Any

from fleetctl.errors import SpecError
from fleetctl.spec.imports.engine_lines import engine_of
from fleetctl.spec.imports.fields import Converted, Fields, clean, environment, plain_name, scaled_by, seconds

CLOUDS = {"aws": "aws", "gcp": "gcp", "azure": "azure"}
WHY = {
    "setup": "images bring what an engine needs; put it into one and name it with image:",
    "workdir": "nothing is copied to machines; put it into the image",
    "file_mounts": "weights come by model:; put other files into the image",
    "volumes": "weights are kept by fleetctl itself, on each machine",
    "num_nodes": "a replica lives on one machine",
    "secrets": "set them in the environment of fleetctl's own machine, or in the image; no secret belongs into a file",
    "config": "settings of sky itself",
    "event_callback": "fleetctl has events: fleetctl events --watch",
    "resources.instance_type": "machines are chosen by their GPUs and price: see fleetctl catalog ls",
    "resources.cpus": "each machine type brings its own CPUs",
    "resources.memory": "each machine type brings its own memory",
    "resources.disk_size": "a machine's disk has room for a large image and weights",
    "resources.disk_tier": "disks are of the cloud's usual kind",
    "resources.network_tier": "machines get their cloud's usual network",
    "resources.ports": "no machine opens a port: the gateway reaches engines through SSH",
    "resources.image_id": "the machine's own image is the cloud's GPU image",
    "resources.labels": "machines are tagged by fleetctl",
    "resources.autostop": "idle machines are given back by themselves",
    "resources.accelerator_args": "of TPUs and the like",
    "resources.job_recovery": "replicas that are lost are replaced by themselves",
    "resources.spot_recovery": "replicas that are lost are replaced by themselves",
    "resources.zone": "zones are chosen by price and what was experienced there",
    "resources.any_of": "alternatives differ in more than GPU, cloud and region",
    "resources.ordered": "alternatives differ in more than GPU, cloud and region",
    "service.readiness_probe.initial_delay_seconds": "starts are measured; the longest allowed is startup_timeout",
    "service.readiness_probe.timeout_seconds": "an engine that is slow to answer is not ready yet",
    "service.readiness_probe.post_data": "write requests that each replica must answer first as warm_up:",
    "service.readiness_probe.headers": "write requests that each replica must answer first as warm_up:",
    "service.load_balancing_policy": "the gateway sends to the replica with room, by prefix where that helps",
    "service.ports": "engines get a port of their own choosing from fleetctl",
    "service.tls": "TLS is the gateway's: gateway: {tls: …} in kind: fleet",
    "service.replica_policy.spot_placer": "zones are chosen by price and what was experienced there",
    "service.replica_policy.num_overprovision": "write it as standby: {slots: N}",
    "service.pool": "pools of jobs are not services",
    "service.workers": "pools of jobs are not services",
}


def convert(documents: Sequence[Mapping[str, Any]]) -> Converted:
    """Raises `SpecError`."""
    if len(documents) > 1:
        raise SpecError("holds several documents; sky serves one", hint="give the file of one service")
    fields = Fields.of(documents[0])
    if "service" not in fields.body:
        raise SpecError("has no service:, so it is a task of sky and no service", hint="only services are imported")
    notes: list[str] = []
    name = plain_name(fields.text("name"), "service")
    env = environment(fields.take("envs"), "envs")
    for blank in [one for one, value in env.items() if not value]:
        del env[blank]
        notes.append(f"env.{blank}: the source gives it when it is launched; put it here if it is no secret")
    image = _image(fields)
    engine, more = engine_of(fields.text("run") or "", image, env)
    gpus = _gpus(fields)
    if not gpus:
        raise SpecError("resources names no accelerators, and services here have GPUs", hint="name them there first")
    document = {
        "kind": "service",
        "name": name,
        **engine,
        "image": image,
        "gpu": gpus[0] if len(gpus) == 1 else gpus,
        "env": {key: value for key, value in env.items() if key not in ("MODEL_NAME", "MODEL")},
        "readiness_path": _probe(fields),
        "scaling": _scaling(fields),
        "placement": _placement(fields),
    }
    return Converted(document=clean(document), left=tuple(fields.rest(WHY)), notes=(*more, *notes))


def _image(fields: Fields) -> str | None:
    """`image_id: docker:…` is a container's."""
    found = fields.text("resources.image_id")
    if found is None:
        return None
    if found.startswith("docker:"):
        return found.removeprefix("docker:")
    fields.body.setdefault("resources", {})["image_id"] = found
    return None


def _gpus(fields: Fields) -> list[str]:
    found = _accelerators(fields.take("resources.accelerators"))
    for key in ("any_of", "ordered"):
        value = fields.take(f"resources.{key}")
        if not value:
            continue
        plain = all(isinstance(one, dict) and set(one) == {"accelerators"} for one in value)
        if plain:
            found += [gpu for one in value for gpu in _accelerators(one["accelerators"])]
        else:
            found += [gpu for one in value if isinstance(one, dict) for gpu in _accelerators(one.get("accelerators"))]
            fields.body.setdefault("resources", {})[key] = value
    return list(dict.fromkeys(found))


def _accelerators(value: object) -> list[str]:
    if value is None:
        return []
    if isinstance(value, Mapping):
        return [f"{name}:{count or 1}" for name, count in value.items()]
    if isinstance(value, list | set | tuple):
        return [gpu for one in value for gpu in _accelerators(one)]
    name, _, count = str(value).partition(":")
    return [f"{name}:{count or 1}"]


def _probe(fields: Fields) -> str | None:
    probe = fields.take("service.readiness_probe")
    if isinstance(probe, Mapping):
        path = probe.get("path")
        rest = {key: value for key, value in probe.items() if key != "path"}
        if rest:
            fields.body.setdefault("service", {})["readiness_probe"] = rest
        return None if path is None else str(path)
    return None if probe is None else str(probe)


def _scaling(fields: Fields) -> dict[str, Any]:
    fixed = fields.count("service.replicas")
    policy = "service.replica_policy"
    least, most = fields.count(f"{policy}.min_replicas"), fields.count(f"{policy}.max_replicas")
    rate = fields.take(f"{policy}.target_qps_per_replica")
    up, down = fields.take(f"{policy}.upscale_delay_seconds"), fields.take(f"{policy}.downscale_delay_seconds")
    found = scaled_by(least=least, most=most, fixed=fixed if least is None and most is None else None)
    if isinstance(rate, Mapping):
        rate = min(float(one) for one in rate.values())  # of several GPUs the weakest carries the promise
    if rate is not None and "replicas" not in found:
        found |= {"policy": "requests_per_second", "requests_per_second": float(rate)}
    if up is not None:
        found["behavior"] = {"up": {"stabilization": seconds(up, f"{policy}.upscale_delay_seconds")}}
    if down is not None:
        found["scale_down_delay"] = seconds(down, f"{policy}.downscale_delay_seconds")
    return found


def _placement(fields: Fields) -> dict[str, Any]:
    clouds, regions = [], []
    infra = fields.text("resources.infra")
    if infra is not None:
        cloud, _, region = infra.partition("/")
        clouds.append(cloud)
        if region and region != "*":
            regions.append(region.partition("/")[0])
    if (cloud_ := fields.text("resources.cloud")) is not None:
        clouds.append(cloud_)
    if (region_ := fields.text("resources.region")) is not None:
        regions.append(region_)
    spot = fields.take("resources.use_spot")
    base = fields.count("service.replica_policy.base_ondemand_fallback_replicas")
    dynamic = fields.take("service.replica_policy.dynamic_ondemand_fallback")
    market: object = None
    if spot:
        market = {"spot": "100%", "on_demand_base": base or 0, "fallback": bool(dynamic)}
        if not base and not dynamic:
            market = "spot"
    return {
        "providers": list(dict.fromkeys(CLOUDS.get(one.lower(), "sky") for one in clouds)),
        "regions": regions,
        "market": market,
        "max_price_per_hour": fields.number("resources.max_hourly_cost"),
    }
