"""Compute Engine's memory, small: machines, disks, networks, rules, operations. Ours, after Google's documentation.

A change is accepted at once and ends `operation_s` later, at the next look; what it says then is in the operation.
The judge of every request and reply is in `gcp_discovery.py`; judged by nobody is what is remembered here.
"""

import itertools
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import gcp_market as market
from gcp_discovery import Call, Refused
from gcp_filters import reader
from gcp_market import DEEP_LEARNING, PROJECT, ZONES

Thing = dict[str, Any]
Path = tuple[str, str]
"""A scope, as in `zones/us-central1-a` or `global`, and a name."""

ROOT = "https://www.googleapis.com/compute/v1/projects"


@dataclass(slots=True)
class _Ending:
    """What becomes true when an operation ends: the change, and the code of the error that it ends in, if any."""

    due: float
    change: Callable[[], None]
    code: str = ""
    message: str = ""


@dataclass(slots=True)
class Compute:
    operation_s: float = 0.0
    """How long operations take."""
    default_network: bool = False
    held_permissions: Callable[[str], bool] = lambda _: True
    hidden: bool = False
    """Listings of machines lack every machine."""
    page: int = 0
    """Listings have so many lines on a page; 0: as many as asked for."""
    warning: str = ""
    """Listings of machines say this of their last zone."""
    things: dict[str, dict[Path, Thing]] = field(default_factory=dict)
    fail_next: list[tuple[str, str]] = field(default_factory=list)
    """Codes (and zones, or an empty one for any) in which the operations of the next launches and starts end."""
    _endings: dict[str, _Ending] = field(default_factory=dict)
    _requests: dict[str, str] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1_000_001))
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.things = {kind: {} for kind in ("instances", "disks", "networks", "firewalls", "operations")}
        if self.default_network:
            self.things["networks"]["global", "default"] = self._made(
                "compute#network", "global", "networks", {"name": "default", "autoCreateSubnetworks": True}
            )

    def answer(self, call: Call) -> Thing:
        """Do what is asked, and say what Google would. Raises `Refused`."""
        with self.lock:
            self.advance()
            if call.given.get("project", PROJECT) not in (PROJECT, DEEP_LEARNING):
                raise Refused("no such project", status=404, reason="notFound")
            service, _, verb = call.id.partition(".")[2].rpartition(".")
            special: dict[str, Callable[[Call], Thing]] = {
                "instances.insert": self._insert_instance,
                "instances.start": self._start,
                "instances.stop": self._stop,
                "instances.delete": self._delete_instance,
                "instances.getSerialPortOutput": self._console,
                "machineTypes.aggregatedList": self._machine_types,
                "acceleratorTypes.aggregatedList": self._accelerator_types,
                "images.list": self._images,
                "regions.get": market.region,
                "projects.get": market.own_project,
                "projects.testIamPermissions": self._permissions,
            }
            if known := special.get(f"{service}.{verb}"):
                return known(call)
            if service.endswith("Operations") and verb == "aggregatedList":
                return self._aggregated(call, "operations", list(self.things["operations"].items()))
            if service.endswith("Operations"):
                return self._wait(call)
            match verb:
                case "get":
                    return self._get(service, call)
                case "list":
                    return self._list(service, call)
                case "aggregatedList":
                    rows = [] if service == "instances" and self.hidden else list(self.things[service].items())
                    return self._aggregated(call, service, rows)
                case "insert":
                    return self._insert(service, call)
                case "update":
                    return self._update(service, call)
                case "delete":
                    return self._delete(service, call)
            raise Refused(f"{call.id} is not known to this server", status=501, reason="notImplemented")

    def advance(self) -> None:
        """End every operation that is due."""
        with self.lock:
            for name, ending in list(self._endings.items()):
                if ending.due <= time.monotonic():
                    del self._endings[name]
                    ending.change()
                    operation = next(one for one in self.things["operations"].values() if one["name"] == name)
                    operation |= {"status": "DONE", "progress": 100, "endTime": _now()}
                    if ending.code:
                        operation["error"] = {"errors": [{"code": ending.code, "message": ending.message}]}

    # machines
    def _insert_instance(self, call: Call) -> Thing:
        zone, body = call.given["zone"], call.body
        if replayed := self._replayed(call):
            return replayed
        market.launchable(zone, body)
        scope, name = f"zones/{zone}", body["name"]
        if (scope, name) in self.things["instances"]:
            raise Refused(f"The resource '{scope}/instances/{name}' already exists", status=409, reason="alreadyExists")
        network = body["networkInterfaces"][0]["network"].rpartition("/")[2]
        if ("global", network) not in self.things["networks"]:
            raise Refused(f"The resource 'global/networks/{network}' was not found", status=404, reason="notFound")
        parameters = body["disks"][0]["initializeParams"]
        if (scope, parameters["diskName"]) in self.things["disks"]:
            raise Refused(f"The disk {parameters['diskName']} already exists", status=409, reason="alreadyExists")
        machine = self._made("compute#instance", scope, "instances", body)
        machine |= {"status": "PROVISIONING", "zone": f"{ROOT}/{PROJECT}/{scope}", "labelFingerprint": "AAAA"}
        machine["machineType"] = f"{ROOT}/{PROJECT}/{body['machineType']}"
        machine["networkInterfaces"] = [{**body["networkInterfaces"][0], "networkIP": self._address("10.128")}]
        disk = {"name": parameters["diskName"], "labels": parameters.get("labels", {}), "status": "READY"}
        disk |= {"sizeGb": parameters["diskSizeGb"], "users": [machine["selfLink"]]}
        made = self._made("compute#disk", scope, "disks", disk)
        machine["disks"] = [{"boot": True, "autoDelete": body["disks"][0]["autoDelete"], "source": made["selfLink"]}]
        machine["disks"][0]["type"] = "PERSISTENT"
        if "a3-" in machine["machineType"]:
            machine["disks"] += [{"type": "SCRATCH", "autoDelete": True, "interface": "NVME"}]
        self.things["instances"][scope, name] = machine
        self.things["disks"][scope, made["name"]] = made
        code = self._failure(zone)
        ending = (lambda: self._vanish(scope, name)) if code else (lambda: self._run(machine))
        return self._operation(call, "instances", name, ending, code=code, target=machine["id"])

    def _start(self, call: Call) -> Thing:
        machine = self._get("instances", call)
        if machine["status"] not in ("TERMINATED", "RUNNING"):
            raise Refused(f"The resource is not ready: {machine['status']}", reason="resourceNotReady")
        code = ""
        if machine["status"] == "TERMINATED":
            code = self._failure(call.given["zone"])
            machine["status"] = "TERMINATED" if code else "STAGING"
        ending = (lambda: None) if code else (lambda: self._run(machine))
        return self._operation(call, "instances", machine["name"], ending, code=code, target=machine["id"])

    def _stop(self, call: Call) -> Thing:
        machine = self._get("instances", call)
        if machine["status"] not in ("TERMINATED", "RUNNING"):
            raise Refused(f"The resource is not ready: {machine['status']}", reason="resourceNotReady")
        if any(disk["type"] == "SCRATCH" for disk in machine["disks"]) and "discardLocalSsd" not in call.given:
            raise Refused("Stopping an instance with local SSDs requires discardLocalSsd", reason="invalid")
        if machine["status"] == "RUNNING":
            machine["status"] = "STOPPING"
        return self._operation(call, "instances", machine["name"], lambda: self._rest(machine), target=machine["id"])

    def _delete_instance(self, call: Call) -> Thing:
        machine = self._get("instances", call)
        if any(
            one["operationType"] == "delete" and one["targetId"] == machine["id"] and one["status"] != "DONE"
            for one in self.things["operations"].values()
        ):
            raise Refused("The resource is not ready: it is being deleted", reason="resourceNotReady")
        machine["status"] = "STOPPING"
        scope, name = f"zones/{call.given['zone']}", machine["name"]
        return self._operation(call, "instances", name, lambda: self._vanish(scope, name), target=machine["id"])

    def _run(self, machine: Thing) -> None:
        if machine["status"] in ("PROVISIONING", "STAGING"):
            machine["status"] = "RUNNING"
            access = {
                **machine["networkInterfaces"][0].get("accessConfigs", [{}])[0],
                "natIP": self._address("127.214"),
            }
            machine["networkInterfaces"][0]["accessConfigs"] = [access]

    def _rest(self, machine: Thing) -> None:
        if machine["status"] == "STOPPING":
            machine["status"] = "TERMINATED"
            machine["networkInterfaces"][0]["accessConfigs"][0].pop("natIP", None)

    def _vanish(self, scope: str, name: str) -> None:
        machine = self.things["instances"].pop((scope, name), None)
        for disk in (machine or {}).get("disks", ()):
            if path := disk.get("source"):
                key = (scope, path.rpartition("/")[2])
                if disk["autoDelete"]:
                    self.things["disks"].pop(key, None)
                else:
                    self.things["disks"][key]["users"] = []

    def _console(self, call: Call) -> Thing:
        machine = self._get("instances", call)
        text = f"[    0.000000] Linux version 6.8.0 ({machine['name']})\n" * 400
        start = int(call.given.get("start", "0"))
        text = text[start:]
        return {"kind": "compute#serialPortOutput", "contents": text, "start": "0", "next": str(len(text))}

    def _failure(self, zone: str) -> str:
        for number, (code, only) in enumerate(self.fail_next):
            if only in ("", zone):
                del self.fail_next[number]
                return code
        return ""

    # what is the same for all
    def _insert(self, service: str, call: Call) -> Thing:
        if replayed := self._replayed(call):
            return replayed
        name = call.body["name"]
        if ("global", name) in self.things[service]:
            raise Refused(f"The resource '{service}/{name}' already exists", status=409, reason="alreadyExists")
        if network := call.body.get("network", "").rpartition("/")[2]:
            if ("global", network) not in self.things["networks"]:
                raise Refused(f"The resource 'networks/{network}' was not found", status=404, reason="notFound")
            _with_sources(call.body)
        made = self._made(f"compute#{service[:-1]}", "global", service, call.body)
        if network:
            made["network"] = f"{ROOT}/{PROJECT}/global/networks/{network}"
        self.things[service]["global", name] = made
        return self._operation(call, service, name, lambda: None, target=made["id"])

    def _update(self, service: str, call: Call) -> Thing:
        """What the request does not name is not kept. Only firewall rules are ever replaced here."""
        found = self._get(service, call)
        made = {key: found[key] for key in ("kind", "id", "creationTimestamp", "selfLink", "network")}
        _with_sources(call.body)
        found.clear()
        found.update(call.body | made)
        return self._operation(call, service, found["name"], lambda: None, target=found["id"])

    def _delete(self, service: str, call: Call) -> Thing:
        found = self._get(service, call)
        if users := found.get("users") or (self._network_users(found["selfLink"]) if service == "networks" else []):
            text = f"The resource '{found['name']}' is already being used by '{users[0]}'"
            raise Refused(text, reason="resourceInUseByAnotherResource")
        del self.things[service][self._scope(call), found["name"]]
        return self._operation(call, service, found["name"], lambda: None, target=found["id"])

    def _network_users(self, link: str) -> list[str]:
        name = link.rpartition("/")[2]
        rules = [one["name"] for one in self.things["firewalls"].values() if one["network"].rpartition("/")[2] == name]
        machines = [
            one["name"]
            for one in self.things["instances"].values()
            if one["networkInterfaces"][0]["network"].rpartition("/")[2] == name
        ]
        return machines + rules

    def _get(self, service: str, call: Call) -> Thing:
        noun = service[:-1]
        name = call.given[noun]
        found = self.things[service].get((self._scope(call), name))
        if found is None:
            raise Refused(f"The resource '{service}/{name}' was not found", status=404, reason="notFound")
        return found

    def _list(self, service: str, call: Call) -> Thing:
        rows = [
            thing for _, thing in sorted(self.things[service].items()) if reader(call.given.get("filter", ""))(thing)
        ]
        page, more = self._page(call, rows)
        return {"kind": f"compute#{service[:-1]}List", "id": service, "items": page} | more

    def _aggregated(self, call: Call, service: str, rows: list[tuple[Path, Thing]]) -> Thing:
        passes = reader(call.given.get("filter", ""))
        page, more = self._page(call, sorted((row for row in rows if passes(row[1])), key=lambda row: row[0]))
        items: dict[str, Thing] = {f"zones/{zone}": {} for zone in ZONES}
        for (scope, _), thing in page:
            items.setdefault(scope, {}).setdefault(service, []).append(thing)
        for scope, scoped in items.items():
            if not scoped:
                scoped["warning"] = {"code": "NO_RESULTS_ON_PAGE", "message": f"There are no results for {scope}."}
        if self.warning and service == "instances":
            items[f"zones/{ZONES[-1]}"]["warning"] = {"code": self.warning, "message": "not complete"}
        return {"kind": f"compute#{service[:-1]}AggregatedList", "id": service, "items": items} | more

    def _page(self, call: Call, rows: list[Any]) -> tuple[list[Any], Thing]:
        size = self.page or int(call.given.get("maxResults", "500"))
        start = int(call.given.get("pageToken", "0"))
        more = {"nextPageToken": str(start + size)} if start + size < len(rows) else {}
        return rows[start : start + size], more

    def _scope(self, call: Call) -> str:
        return f"zones/{call.given['zone']}" if "zone" in call.given else "global"

    def _made(self, kind: str, scope: str, service: str, body: Mapping[str, Any]) -> Thing:
        return {
            **body,
            "kind": kind,
            "id": str(next(self._numbers)),
            "creationTimestamp": _now(),
            "selfLink": f"{ROOT}/{PROJECT}/{scope}/{service}/{body['name']}",
        }

    def _address(self, start: str) -> str:
        number = next(self._numbers) % 60_000
        return f"{start}.{number // 250}.{number % 250 + 1}"

    # operations
    def _replayed(self, call: Call) -> Thing | None:
        """The first answer to a request that came before."""
        token = call.given.get("requestId", "")
        if token:
            try:
                assert uuid.UUID(token).int
            except (ValueError, AssertionError):
                raise Refused(f"Invalid value for field 'requestId': '{token}'.") from None
        name = self._requests.get(token)
        return next((one for one in self.things["operations"].values() if one["name"] == name), None) if name else None

    def _operation(
        self, call: Call, service: str, name: str, change: Callable[[], None], *, code: str = "", target: str = "0"
    ) -> Thing:
        scope, own = self._scope(call), f"operation-{next(self._numbers)}-{uuid.uuid4().hex[:8]}"
        operation = {
            "kind": "compute#operation",
            "id": str(next(self._numbers)),
            "name": own,
            "operationType": call.id.rpartition(".")[2],
            "status": "RUNNING",
            "progress": 0,
            "insertTime": _now(),
            "startTime": _now(),
            "targetId": target,
            "targetLink": f"{ROOT}/{PROJECT}/{scope}/{service}/{name}",
            "selfLink": f"{ROOT}/{PROJECT}/{scope}/operations/{own}",
            "user": "somebody@example.com",
        }
        if scope != "global":
            operation["zone"] = f"{ROOT}/{PROJECT}/{scope}"
        self.things["operations"][scope, own] = operation
        message = f"The request for '{name}' ended in {code}." if code else ""
        self._endings[own] = _Ending(time.monotonic() + self.operation_s, change, code, message)
        if token := call.given.get("requestId"):
            self._requests[token] = own
        return dict(operation)

    def _wait(self, call: Call) -> Thing:
        """The server holds the answer back until the operation ends."""
        found = self.things["operations"].get((self._scope(call), call.given["operation"]))
        if found is None:
            raise Refused("The operation was not found", status=404, reason="notFound")
        if ending := self._endings.get(found["name"]):
            self.lock.release()
            try:
                time.sleep(max(ending.due - time.monotonic(), 0.0) + 0.001)
            finally:
                self.lock.acquire()
            self.advance()
        return dict(found)

    def _machine_types(self, call: Call) -> Thing:
        return self._aggregated(call, "machineTypes", market.machine_types())

    def _accelerator_types(self, call: Call) -> Thing:
        return self._aggregated(call, "acceleratorTypes", market.accelerator_types())

    def _images(self, call: Call) -> Thing:
        rows = [image for image in market.images(call.given["project"]) if reader(call.given.get("filter", ""))(image)]
        page, more = self._page(call, rows)
        return {"kind": "compute#imageList", "items": page} | more

    def _permissions(self, call: Call) -> Thing:
        return {"permissions": [one for one in call.body.get("permissions", ()) if self.held_permissions(one)]}


def _with_sources(rule: dict[str, Any]) -> None:
    """What Google does with a rule that names no source."""
    named = any(rule.get(key) for key in ("sourceRanges", "sourceTags", "sourceServiceAccounts"))
    if rule.get("direction") == "INGRESS" and not named:
        rule["sourceRanges"] = ["0.0.0.0/0"]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
