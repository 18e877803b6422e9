"""The far side of the bridge to SkyPilot: a program for the Python of SkyPilot's own environment.

It knows the standard library and `sky` only; nothing of fleetctl is imported. One JSON document a line:
in `{"id": 7, "op": "stop", "args": {…}}`, out `{"id": 7, "ok": …}` or `{"id": 7, "error": {…}}`, in the order in which
answers come. The first line out is `{"hello": {…}}`. Each request runs in a thread of its own, so that one that hangs
holds up no other. The end of its input ends it; what SkyPilot's API server was asked to do goes on there.
"""

from __future__ import annotations

import importlib
import io
import json
import math
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

PROTOCOL = 1
"""Grows with every change that the other side must know of."""

_READS_MAX = 32
_CHANGES_MAX = 160
"""Threads at once, in two lots, so that launches that take minutes leave room to look. The controller has at most 64
actions under way; calls that it has given up are counted until SkyPilot answers them."""

_ACTIVE = ("PENDING", "WAITING", "RUNNING")
"""States of a request to SkyPilot's API server that has not ended."""

_LABEL = re.compile(r"^\s*['\"]?(fleetctl-[a-z0-9-]+)['\"]?:\s*['\"]?([a-z0-9_-]*)['\"]?\s*$", re.MULTILINE)
"""Our labels in the YAML of a task; their values need no more of YAML than this."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")

_MESSAGE_CHARACTERS_MAX = 4000
"""Of an error: SkyPilot's tables of failed attempts have some 20 lines of 120."""


class Busy(Exception):
    """Too many requests are under way."""


class Calls:
    """What may be asked. Each takes the `args` and gives what JSON can hold."""

    def __init__(self, sdk: Any, sky: Any) -> None:
        self._sdk = sdk
        self._sky = sky

    def read_clouds(self) -> list[str]:
        """The clouds that SkyPilot has credentials for."""
        return [str(cloud).lower() for cloud in self._sdk.get(self._sdk.enabled_clouds())]

    def read_check(self, clouds: list[str]) -> list[str]:
        """Look at the credentials again; the clouds that can be used now."""
        self._sdk.get(self._sdk.check(tuple(clouds) or None, verbose=False))
        return self.read_clouds()

    def read_catalog(self, clouds: list[str]) -> dict[str, Any]:
        """The clouds' machines with GPUs, region by region, and the dates of the tables they are from."""
        asked = self._sdk.list_accelerators(gpus_only=True, clouds=list(clouds), all_regions=True)
        rows = [
            {
                "cloud": str(row.cloud).lower(),
                "type": row.instance_type,
                "gpu": row.accelerator_name,
                "count": _number(row.accelerator_count),
                "memory_gb": _number(row.device_memory),
                "price": _number(row.price),
                "spot_price": _number(row.spot_price),
                "region": row.region,
            }
            for offered in self._sdk.get(asked).values()
            for row in offered
        ]
        dates = {cloud: _catalog_date(cloud) for cloud in {row["cloud"] for row in rows}}
        return {"rows": rows, "dates": dates, "version": _catalog_version()}

    def read_status(self, clusters: list[str] | None, fresh: bool) -> list[dict[str, Any]]:
        """The clusters of those names, or all (None): SkyPilot's own memory, which its server compares with the clouds
        by itself every minute or so, and which is compared at once where `fresh` is wanted."""
        modes = self._sky.StatusRefreshMode
        asked = self._sdk.status(clusters, refresh=modes.FORCE if fresh else modes.AUTO, all_users=True)
        return [_cluster(row) for row in self._sdk.get(asked)]

    def read_launches(self, cluster: str | None) -> list[dict[str, Any]]:
        """The launches that have not ended, of that cluster or all."""
        return [
            {
                "request": row.request_id,
                "cluster": row.cluster_name,
                "labels": dict(_LABEL.findall(_task_of(row.request_body))),
            }
            for row in self._sdk.api_status(cluster_name=cluster)
            if row.name.rpartition(".")[2] == "launch"
            and str(row.status).upper() in _ACTIVE
            and cluster in (None, row.cluster_name)
        ]

    def read_console(self, cluster: str, lines: int) -> str:
        """The last lines of what was written while the cluster was made."""
        text = io.StringIO()
        self._sdk.tail_provision_logs(cluster, follow=False, tail=lines, output_stream=text)
        return _plain(text.getvalue())

    def change_launch(self, cluster: str, resources: dict[str, Any], setup: str, dryrun: bool) -> str:
        """Ask for a cluster of one machine. The id of the request, which goes on by itself."""
        task = self._sky.Task(name=cluster, setup=setup or None, run=None, num_nodes=1)
        task.set_resources(self._sky.Resources(**{name: value for name, value in resources.items() if value}))
        return str(self._sdk.launch(task, cluster_name=cluster, dryrun=dryrun))

    def change_wait(self, request: str) -> None:
        """Wait for a request's end."""
        self._sdk.get(request)

    def change_cancel(self, requests: list[str]) -> None:
        self._sdk.get(self._sdk.api_cancel(list(requests), silent=True))

    def change_start(self, cluster: str) -> None:
        self._sdk.get(self._sdk.start(cluster))

    def change_stop(self, cluster: str) -> None:
        self._sdk.get(self._sdk.stop(cluster))

    def change_down(self, cluster: str) -> None:
        self._sdk.get(self._sdk.down(cluster))


def _cluster(row: Any) -> dict[str, Any]:
    handle = _field(row, "handle")
    ports = getattr(handle, "stable_ssh_ports", None) or [22]
    return {
        "name": _field(row, "name"),
        "status": getattr(_field(row, "status"), "value", str(_field(row, "status"))),
        "labels": _field(row, "labels") or {},
        "ip": getattr(handle, "head_ip", None),
        "port": ports[0],
        "user": getattr(handle, "ssh_user", None),
        "reason": _field(row, "init_status_reason") or _field(row, "last_event") or "",
    }


def _field(row: Any, name: str) -> Any:
    """SkyPilot's answers are mappings or objects, by version."""
    return row.get(name) if isinstance(row, dict) else getattr(row, name, None)


def _task_of(body: Any) -> str:
    """The YAML of the task in the body of a launch, as the API server shows it."""
    try:
        return str(json.loads(body).get("task", ""))
    except (TypeError, ValueError, AttributeError):
        return ""


def _number(value: Any) -> float | None:
    """None for what is not a number: tables have NaN where nothing is known."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _catalog_date(cloud: str) -> float | None:
    """When this machine's copy of a cloud's table was written, in Unix seconds; None where there is no copy."""
    common = importlib.import_module("sky.catalog.common")
    try:
        return Path(common.get_catalog_path(f"{cloud}/vms.csv")).stat().st_mtime
    except (OSError, AttributeError):
        return None


def _catalog_version() -> str:
    """Of the tables' form, as in `v8`."""
    return str(importlib.import_module("sky.skylet.constants").CATALOG_SCHEMA_VERSION)


def _plain(text: object) -> str:
    return _COLOURS.sub("", str(text))


def _error(error: BaseException) -> dict[str, Any]:
    """An exception as the other side can judge it: its classes, its words, and the attempts that led to it."""
    attempts: list[BaseException] = []
    for one in [error, *(getattr(error, "failover_history", None) or ())]:
        attempts += getattr(one, "failover_history", None) or ()  # of the machine types, and of each one's zones
    return {
        "type": type(error).__name__,
        "bases": [one.__name__ for one in type(error).__mro__],
        "code": str(getattr(error, "error_type", "") or ""),
        "message": _plain(error)[-_MESSAGE_CHARACTERS_MAX:],
        "attempts": [_plain(f"{type(one).__name__}: {one}")[:_MESSAGE_CHARACTERS_MAX] for one in attempts],
    }


class Bridge:
    def __init__(self, calls: Calls | None, out: IO[bytes]) -> None:
        self._calls = calls
        self._out = out
        self._writing = threading.Lock()
        self._places = {"read": threading.Semaphore(_READS_MAX), "change": threading.Semaphore(_CHANGES_MAX)}

    def say(self, answer: dict[str, Any]) -> None:
        line = json.dumps(answer, allow_nan=False).encode() + b"\n"
        with self._writing:
            try:
                self._out.write(line)
                self._out.flush()
            except (BrokenPipeError, ValueError):
                os._exit(0)  # nobody listens any more

    def run(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            request = json.loads(line)
            kind = "read" if hasattr(self._calls, "read_" + request["op"]) else "change"
            call = getattr(self._calls, kind + "_" + request["op"], None)
            place = self._places[kind]
            if call is None:
                self.say({"id": request["id"], "error": _error(LookupError("no such call: " + request["op"]))})
            elif not place.acquire(blocking=False):
                self.say({"id": request["id"], "error": _error(Busy("too many calls are under way"))})
            else:
                threading.Thread(target=self._answer, args=(request, call, place), daemon=True).start()

    def _answer(self, request: dict[str, Any], call: Callable[..., Any], place: threading.Semaphore) -> None:
        try:
            answer = {"id": request["id"], "ok": call(**request["args"])}
        except BaseException as error:  # noqa: BLE001  # whatever it is, the other side judges it
            answer = {"id": request["id"], "error": _error(error)}
        finally:
            place.release()
        self.say(answer)


def main() -> None:
    # What SkyPilot prints goes to the log: the way out is ours alone.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # The files beside this one are fleetctl's, and none of SkyPilot's business.
    own = Path(__file__).resolve().parent
    sys.path[:] = [path for path in sys.path if Path(path).resolve() != own]
    try:
        sky = importlib.import_module("sky")
        sdk = importlib.import_module("sky.client.sdk")
    except Exception as error:  # noqa: BLE001  # an environment that is broken breaks in many ways
        Bridge(None, out).say({"hello": {"protocol": PROTOCOL, "error": f"{type(error).__name__}: {error}"}})
        return
    bridge = Bridge(Calls(sdk, sky), out)
    bridge.say({"hello": {"protocol": PROTOCOL, "sky": str(sky.__version__)}})
    bridge.run(sys.stdin.buffer)
    os._exit(0)  # threads that wait for SkyPilot are left to themselves


if __name__ == "__main__":
    main()
