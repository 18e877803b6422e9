"""The SDK's functions: each gives the id of a request, and `get` waits for it."""

import json
import os
import re
import sys
import time
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

from sky_wire import ENDED, Refused, ask

import sky
from sky import exceptions

WAIT_S = 30.0
"""For a request that is held back; no test holds one longer."""

_port = int(os.environ["STAND_IN_SKY_PORT"])
_slow_s = float(os.environ["STAND_IN_SKY_SLOW_S"])
_answers = {}  # of reads, which take no request of their own in the memory

Row = namedtuple(
    "Row",
    "cloud instance_type accelerator_name accelerator_count cpu_count device_memory memory price spot_price region",
)


def _raised(error):
    """The exception of SkyPilot's that a refusal is."""
    kind, message = error.body["type"], error.body["message"]
    if kind == "ResourcesUnavailableError":
        history = [Exception(attempt) for attempt in error.body["attempts"]]
        return exceptions.ResourcesUnavailableError(message, failover_history=history)
    if kind == "CloudError":
        return exceptions.CloudError(message, "lambda", error.body["code"])
    return getattr(exceptions, kind)(message)


def _submit(*words):
    try:
        begun = ask(_port, "submit", *words)
    except Refused as error:
        raise _raised(error) from None
    if begun["dies"]:
        os._exit(9)
    return begun["key"]


def _answer(value):
    key = f"read-{len(_answers)}-{time.monotonic_ns()}"
    _answers[key] = value
    return key


def get(request):
    if request in _answers:
        value = _answers.pop(request)
        if isinstance(value, Exception):
            raise value
        return value
    try:
        return _ended(request)
    except Refused as error:
        raise _raised(error) from None


def _ended(key):
    deadline = time.monotonic() + WAIT_S
    while (request := ask(_port, "look", key))["status"] not in ENDED:
        assert time.monotonic() < deadline, f"{key} is held back for more than {WAIT_S} s"
        time.sleep(0.01)
    match request.get("after", ""):
        case "cut":
            os._exit(9)
        case "slow":
            time.sleep(_slow_s)
        case "broken":
            raise Refused("ServerTemporarilyUnavailableError", "The server is temporarily unavailable")
    if request["status"] == "CANCELLED":
        raise Refused("RequestCancelled", f"request {key} is cancelled by another process")
    if request["error"] is not None:
        error = request["error"]
        raise Refused(error["type"], error["message"], tuple(error["attempts"]), error["code"])
    return request


def launch(task, cluster_name, dryrun=False):
    sys.stdout.write(f"Running on cluster: {cluster_name}\n")  # as SkyPilot does
    if dryrun:
        return _answer(None)
    return _submit("launch", "launch", cluster_name, task.body)


def start(cluster_name):
    return _submit("start", "start", cluster_name, {})


def stop(cluster_name):
    return _submit("stop", "stop", cluster_name, {})


def down(cluster_name):
    return _submit("down", "terminate", cluster_name, {})


def api_cancel(request_ids, silent=False):
    ask(_port, "cancel", request_ids)
    return _answer(request_ids)


def api_status(cluster_name=None):
    return [
        SimpleNamespace(
            request_id=key,
            name=one["name"],
            status=one["status"],
            cluster_name=one["cluster"],
            request_body=json.dumps({"task": _yaml(one["body"])}),
        )
        for key, one in ask(_port, "under_way").items()
        if cluster_name in (None, one["cluster"])
    ]


def _yaml(body):
    """The part of a task's YAML that is read again, as PyYAML writes it."""
    lines = ["resources:", f"  infra: {body.get('infra')}", "  labels:"]
    for key, value in body.get("labels", {}).items():
        plain = re.fullmatch(r"(?!no$|on$|y$|n$)[a-z][a-z0-9_-]*", value)
        lines.append(f"    {key}: {value}" if plain else f"    {key}: '{value}'")
    return "\n".join(lines) + "\n"


def status(cluster_names=None, refresh=None, all_users=False):
    assert all_users, "other users of the API server may hold the fleet's machines"
    found = ask(_port, "listing", compared=refresh is sky.StatusRefreshMode.FORCE)
    fault = found["fault"]
    rows = [
        {
            "name": name,
            "status": sky.ClusterStatus(one["status"]),
            "labels": one["labels"],
            "handle": SimpleNamespace(
                head_ip=one.get("ip"), stable_ssh_ports=[one.get("port", 22)], ssh_user=one.get("user")
            ),
            "launched_at": int(time.time()),
        }
        for name, one in found["clusters"].items()
        if cluster_names is None or name in cluster_names
    ]
    match fault:
        case None:
            return _answer(rows)
        case {"kind": "hidden"}:
            return _answer([])
        case {"kind": "slow"}:
            time.sleep(_slow_s)
            return _answer(rows)
        case {"kind": "refuse"}:
            raise exceptions.ApiServerConnectionError("Could not connect to SkyPilot API server")
        case {"kind": "cut"}:
            os._exit(9)
        case _:
            return _answer(_raised(_refused_of(fault["error"])))


def _refused_of(body):
    return Refused(body["type"], body["message"], tuple(body["attempts"]), body["code"])


def enabled_clouds():
    return _answer(["Lambda", "RunPod", "AWS"])


def check(infra_list, verbose):
    return _answer({"default": {}})


def list_accelerators(gpus_only, clouds, all_regions):
    table = json.loads((Path(os.environ["STAND_IN_SKY"]) / "catalog.json").read_text())
    found = {}
    for row in table:
        if row["cloud"].lower() in clouds:
            offered = Row(**row)
            found.setdefault(offered.accelerator_name, []).append(offered)
    return _answer(found)


def tail_provision_logs(cluster_name, follow, tail, output_stream):
    if not ask(_port, "knows", cluster_name):
        raise exceptions.CommandError("Provision log path is not recorded for this cluster")
    output_stream.write(f"\x1b[2mProvisioning {cluster_name}\x1b[0m\n")
    sys.stdout.write("noise on stdout\n")
    return 0
