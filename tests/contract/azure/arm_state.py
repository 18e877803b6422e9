"""What the ARM server holds: resource groups, networks, machines and what hangs on them. Rules and states are ours.

Operations go on with the requests that come in, not with time: each request brings every operation one step further,
so that nothing waits and a lost answer does not stop what it was about.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Body = dict[str, Any]

STEPS = 2
"""Requests until an operation has ended."""

REGION = "eastus"
OTHER_REGION = "westeurope"
ZONES = ("1", "2", "3")
SIZES: Mapping[str, tuple[int, str]] = {
    "Standard_NC40ads_H100_v5": (40, "StandardNCadsH100v5Family"),
    "Standard_NC80adis_H100_v5": (80, "StandardNCadsH100v5Family"),
    "Standard_NC4as_T4_v3": (4, "Standard NCASv3_T4 Family"),
}
NAMES = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.()-]{0,78}[a-zA-Z0-9_]|[a-zA-Z0-9]")

VM = "Microsoft.Compute/virtualMachines"
DISK = "Microsoft.Compute/disks"
NIC = "Microsoft.Network/networkInterfaces"
IP = "Microsoft.Network/publicIPAddresses"
NSG = "Microsoft.Network/networkSecurityGroups"
VNET = "Microsoft.Network/virtualNetworks"


class ArmError(Exception):
    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, message or f"refused: {code}"

    @property
    def body(self) -> Body:
        return {"error": {"code": self.code, "message": self.message}}


@dataclass
class Operation:
    id: str
    provider: str
    end: Callable[[], None]
    error: ArmError | None = None
    left: int = STEPS
    status: str = "InProgress"


@dataclass
class Cloud:
    """One subscription. `soldout` and `fail_inside` are levers; the rest is what requests made of it."""

    subscription: str
    groups: dict[str, Body] = field(default_factory=dict)
    resources: dict[str, Body] = field(default_factory=dict)
    """By resource id in lower case: ids are compared without case."""
    operations: dict[str, Operation] = field(default_factory=dict)
    quota: dict[str, int] = field(default_factory=lambda: {"cores": 10_000, "lowprioritycores": 10_000})
    fail_inside: list[ArmError] = field(default_factory=list)
    """The next launches or starts are accepted, and fail with these inside their operations."""
    orphans: bool = False
    """A creation that fails leaves interface and disk behind, and no machine."""
    random_suffix: str = ""
    """Appended to the names of interfaces and addresses that are made with a machine."""
    inherit_tags: bool = True
    """A disk made with a machine has the machine's tags."""
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def step(self) -> None:
        """Bring every operation one request further."""
        for operation in list(self.operations.values()):
            if operation.status != "InProgress":
                continue
            operation.left -= 1
            if operation.left <= 0:
                operation.status = "Failed" if operation.error else "Succeeded"
                operation.end()

    def of(self, kind: str, group: str | None = None) -> list[Body]:
        return [
            one
            for one in self.resources.values()
            if one["type"] == kind and (group is None or _group_of(one["id"]) == group.lower())
        ]

    def get(self, path: str) -> Body:
        found = self.resources.get(path.lower())
        if found is None:
            group = _group_of(path)
            if group not in self.groups:
                raise ArmError(404, "ResourceGroupNotFound", f"Resource group '{group}' could not be found.")
            raise ArmError(404, "ResourceNotFound", f"The Resource '{path}' was not found.")
        return found

    def put_group(self, name: str, body: Body) -> tuple[int, Body]:
        held = self.groups.get(name.lower())
        if held is not None and held["properties"]["provisioningState"] == "Deleting":
            raise ArmError(409, "ResourceGroupBeingDeleted")
        if held is not None and held["location"] != body["location"]:
            raise ArmError(409, "InvalidResourceGroupLocation")
        self.groups[name.lower()] = {
            "id": f"/subscriptions/{self.subscription}/resourceGroups/{name}",
            "name": name,
            "type": "Microsoft.Resources/resourceGroups",
            "location": body["location"],
            "tags": body.get("tags", {}),
            "properties": {"provisioningState": "Succeeded"},
        }
        return (200 if held else 201), self.groups[name.lower()]

    def delete_group(self, name: str) -> Operation:
        group = self.groups.get(name.lower())
        if group is None:
            raise ArmError(404, "ResourceGroupNotFound")
        group["properties"]["provisioningState"] = "Deleting"

        def end() -> None:
            self.groups.pop(name.lower(), None)
            for key in [key for key in self.resources if _group_of(key) == name.lower()]:
                del self.resources[key]

        return self.begin("Microsoft.Resources", end)

    def put(self, path: str, kind: str, body: Body) -> tuple[int, Body, Operation]:
        """Make or replace a network thing, or make a machine."""
        group = self.groups.get(_group_of(path))
        if group is None:
            raise ArmError(404, "ResourceGroupNotFound")
        if group["properties"]["provisioningState"] == "Deleting":
            raise ArmError(409, "ResourceGroupBeingDeleted")
        name = path.rpartition("/")[2]
        if NAMES.fullmatch(name) is None:
            raise ArmError(400, "InvalidResourceName")
        if kind == VM:
            return self._put_machine(path, body)
        held = path.lower() in self.resources
        made = self.resources[path.lower()] = self._resource(path, kind, body)
        made["properties"]["provisioningState"] = "Updating"
        if kind == VNET:
            for subnet in made["properties"].get("subnets", ()):
                subnet["id"] = f"{path}/subnets/{subnet['name']}"
                guard = subnet["properties"].get("networkSecurityGroup")
                if guard:
                    self._referred(guard["id"])

        def end() -> None:
            made["properties"]["provisioningState"] = "Succeeded"

        return (200 if held else 201), made, self.begin("Microsoft.Network", end)

    def _put_machine(self, path: str, body: Body) -> tuple[int, Body, Operation]:
        held = self.resources.get(path.lower())
        wanted = body["properties"]
        if held is not None:
            if held["properties"]["provisioningState"] == "Deleting":
                raise ArmError(409, "OperationNotAllowed", "The machine is being deleted.")
            if held["asked"] | {"tags": {}} != body | {"tags": {}}:
                raise ArmError(409, "PropertyChangeNotAllowed")
            held["tags"] = dict(body["tags"])  # tags may be changed at any time, and here would be
            return 200, held, self.begin("Microsoft.Compute", lambda: None)
        self._allowed(body)
        configuration = wanted["networkProfile"]["networkInterfaceConfigurations"][0]
        self._referred(configuration["properties"]["ipConfigurations"][0]["properties"]["subnet"]["id"])
        failure = self.fail_inside.pop(0) if self.fail_inside else None
        made = self.resources[path.lower()] = self._resource(path, VM, body)
        made["asked"] = body
        made["zones"] = body.get("zones", [])
        properties = made["properties"]
        properties |= {"provisioningState": "Creating", "vmId": str(next(self._numbers))}
        properties["timeCreated"] = datetime.now(UTC).isoformat()
        made["power"] = ""
        self._attach(made, configuration)

        def end() -> None:
            if properties["provisioningState"] != "Creating":
                return
            if failure is None:
                properties["provisioningState"] = "Succeeded"
                made["power"] = "running"
                return
            properties["provisioningState"] = "Failed"
            made["failure"] = failure.code
            if self.orphans:
                del self.resources[path.lower()]
                for one in self.resources.values():
                    _let_go(one, path)

        return 201, made, self.begin("Microsoft.Compute", end, failure)

    def _allowed(self, body: Body) -> None:
        wanted = body["properties"]
        size = wanted["hardwareProfile"]["vmSize"]
        if size not in SIZES or body["location"] not in (REGION, OTHER_REGION):
            raise ArmError(400, "InvalidParameter", f"The value {size} of vmSize is not valid.")
        if not set(body.get("zones", ())) <= set(ZONES):
            raise ArmError(400, "InvalidParameter", "The zone is not valid.")
        keys = wanted["osProfile"]["linuxConfiguration"]["ssh"]["publicKeys"]
        if not keys or not all(key["keyData"].split(" ")[0] in ("ssh-rsa", "ssh-ed25519") for key in keys):
            raise ArmError(400, "InvalidParameter", "The value of keyData is not valid.")
        counted = "lowprioritycores" if wanted.get("priority") == "Spot" else "cores"
        for quota in (counted, SIZES[size][1].lower()):
            limit = self.quota.get(quota)
            if limit is not None and self.used(quota) + SIZES[size][0] > limit:
                raise ArmError(
                    409,
                    "OperationNotAllowed",
                    f"Operation could not be completed as it results in exceeding approved {quota} Cores quota.",
                )

    def used(self, quota: str) -> int:
        used = 0
        for machine in self.of(VM):
            size = machine["properties"]["hardwareProfile"]["vmSize"]
            spot = machine["properties"].get("priority") == "Spot"
            counted = {"lowprioritycores"} if spot else {"cores", SIZES[size][1].lower()}
            if quota in counted and machine["power"] != "deallocated":
                used += SIZES[size][0]
        return used

    def _attach(self, machine: Body, configuration: Body) -> None:
        """The disk, the interface and the address that are made with a machine."""
        path, properties, location = machine["id"], machine["properties"], machine["location"]
        base = path.partition("/providers/")[0] + "/providers/"
        number = next(self._numbers)
        disk = properties["storageProfile"]["osDisk"]
        made = self._resource(f"{base}{DISK}/{disk['name']}", DISK, {"location": location, "properties": {}})
        made |= {"managedBy": path, "tags": dict(machine["tags"]) if self.inherit_tags else {}}
        made["properties"] |= {"diskSizeGB": disk["diskSizeGB"], "timeCreated": properties["timeCreated"]}
        made["goes"] = disk.get("deleteOption") == "Delete"
        self.resources[made["id"].lower()] = made
        disk["managedDisk"]["id"] = made["id"]

        nic_id = f"{base}{NIC}/{configuration['name']}{self.random_suffix}"
        one = configuration["properties"]["ipConfigurations"][0]
        address = one["properties"]["publicIPAddressConfiguration"]
        ip_id = f"{base}{IP}/{address['name']}{self.random_suffix}"
        nic = self._resource(
            nic_id,
            NIC,
            {
                "location": location,
                "tags": configuration.get("tags", {}),
                "properties": {
                    "virtualMachine": {"id": path},
                    "ipConfigurations": [
                        {
                            "name": one["name"],
                            "id": f"{nic_id}/ipConfigurations/{one['name']}",
                            "properties": {"subnet": one["properties"]["subnet"], "publicIPAddress": {"id": ip_id}},
                        }
                    ],
                },
            },
        )
        nic["goes"] = configuration["properties"].get("deleteOption") == "Delete"
        ip = self._resource(
            ip_id,
            IP,
            {
                "location": location,
                "tags": address.get("tags", {}),
                "properties": {
                    "ipAddress": f"127.9.{number // 250}.{number % 250 + 1}",
                    "ipConfiguration": {"id": f"{nic_id}/ipConfigurations/{one['name']}"},
                },
            },
        )
        ip["goes"] = address["properties"].get("deleteOption") == "Delete"
        self.resources |= {nic_id.lower(): nic, ip_id.lower(): ip}
        properties["networkProfile"] = {"networkInterfaces": [{"id": nic_id}]}

    def delete(self, path: str, kind: str) -> Operation | None:
        """None: there is none, which Azure answers with 204."""
        found = self.resources.get(path.lower())
        if found is None:
            return None
        if kind == VM:
            return self._delete_machine(found)
        if kind == NIC and found["properties"].get("virtualMachine"):
            raise ArmError(400, "NicInUse")
        if kind == IP and found["properties"].get("ipConfiguration"):
            raise ArmError(400, "PublicIPAddressCannotBeDeleted")
        if kind == DISK and found.get("managedBy"):
            raise ArmError(409, "OperationNotAllowed", "The disk is attached to a machine.")
        if kind == VNET and any(_subnet(nic).startswith(found["id"].lower() + "/") for nic in self.of(NIC)):
            raise ArmError(400, "InUseSubnetCannotBeDeleted")
        if kind == NSG and any(
            (subnet["properties"].get("networkSecurityGroup") or {}).get("id", "").lower() == found["id"].lower()
            for network in self.of(VNET)
            for subnet in network["properties"].get("subnets", ())
        ):
            raise ArmError(400, "InUseNetworkSecurityGroupCannotBeDeleted")

        def end() -> None:
            self.resources.pop(path.lower(), None)
            if kind == NIC:
                for ip in self.of(IP):
                    if (ip["properties"].get("ipConfiguration") or {}).get("id", "").startswith(found["id"] + "/"):
                        ip["properties"].pop("ipConfiguration")

        return self.begin(kind.partition("/")[0], end)

    def _delete_machine(self, machine: Body) -> Operation:
        machine["properties"]["provisioningState"] = "Deleting"
        path = machine["id"]

        def end() -> None:
            self.resources.pop(path.lower(), None)
            nics = [one for one in self.of(NIC) if _holder(one) == path]
            ips = [one for one in self.of(IP) if any(_on(one, nic) for nic in nics)]
            disks = [one for one in self.of(DISK) if one.get("managedBy") == path]
            for one in (*nics, *ips, *disks):
                if one["goes"]:
                    self.resources.pop(one["id"].lower(), None)
            for one in self.resources.values():
                _let_go(one, path)

        return self.begin("Microsoft.Compute", end)

    def power(self, path: str, verb: str) -> Operation:
        machine = self.get(path)
        properties = machine["properties"]
        if properties["provisioningState"] in ("Creating", "Deleting"):
            raise ArmError(409, "OperationNotAllowed", f"The machine is {properties['provisioningState']}.")
        failure = self.fail_inside.pop(0) if verb == "start" and self.fail_inside else None
        machine["power"] = {"start": "starting", "deallocate": "deallocating"}[verb]
        properties["provisioningState"] = "Updating"

        def end() -> None:
            if properties["provisioningState"] == "Deleting":
                return
            properties["provisioningState"] = "Failed" if failure else "Succeeded"
            machine["power"] = "running" if verb == "start" and not failure else "deallocated"

        return self.begin("Microsoft.Compute", end, failure)

    def begin(self, provider: str, end: Callable[[], None], error: ArmError | None = None) -> Operation:
        operation = Operation(id=f"op-{next(self._numbers)}", provider=provider, end=end, error=error)
        self.operations[operation.id] = operation
        return operation

    def _referred(self, path: str) -> None:
        network, _, subnet = path.partition("/subnets/")
        held = self.resources.get(network.lower())
        if held is None or (subnet and all(one["name"] != subnet for one in held["properties"].get("subnets", ()))):
            raise ArmError(400, "InvalidResourceReference", f"Resource {path} was not found.")

    def _resource(self, path: str, kind: str, body: Body) -> Body:
        return {
            "id": path,
            "name": path.rpartition("/")[2],
            "type": kind,
            "location": body["location"],
            "tags": dict(body.get("tags", {})),
            "properties": _copy(body.get("properties", {})) | {"provisioningState": "Succeeded"},
        }


def view(machine: Body) -> Body:
    """A machine's instance view."""
    state = machine["properties"]["provisioningState"].lower()
    code = f"ProvisioningState/{state}"
    if state == "failed" and "failure" in machine:
        code += f"/{machine['failure']}"
    statuses = [{"code": code, "level": "Info", "displayStatus": state}]
    if machine["power"]:
        statuses.append({"code": f"PowerState/{machine['power']}", "level": "Info", "displayStatus": machine["power"]})
    return {"statuses": statuses}


def shown(resource: Body) -> Body:
    """A resource without what only the server knows."""
    return {key: value for key, value in resource.items() if key not in ("asked", "power", "failure", "goes")}


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(one) for key, one in value.items()}
    return [_copy(one) for one in value] if isinstance(value, list) else value


def _group_of(path: str) -> str:
    return path.lower().partition("/resourcegroups/")[2].partition("/")[0]


def _holder(nic: Body) -> str:
    return (nic["properties"].get("virtualMachine") or {}).get("id", "")


def _on(ip: Body, nic: Body) -> bool:
    return (ip["properties"].get("ipConfiguration") or {}).get("id", "").startswith(nic["id"] + "/")


def _subnet(nic: Body) -> str:
    return nic["properties"]["ipConfigurations"][0]["properties"]["subnet"]["id"].lower()


def _let_go(one: Body, machine: str) -> None:
    if one.get("managedBy") == machine:
        one.pop("managedBy")
    if one["type"] == NIC and _holder(one) == machine:
        one["properties"].pop("virtualMachine")
