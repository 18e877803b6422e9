"""An ARM server of ours on loopback: addresses, paging, operations and faults as Azure's REST API has them.

Bodies of machines are held against Microsoft's schema where that is present. Everything else is what we know of Azure
from its documentation, and judged by nobody: addresses and states (`arm_state`), refusals and their codes.
"""

import asyncio
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import arm_schemas
from aiohttp import web
from arm_state import (
    DISK,
    IP,
    NIC,
    NSG,
    OTHER_REGION,
    REGION,
    SIZES,
    VM,
    VNET,
    ZONES,
    ArmError,
    Body,
    Cloud,
    Operation,
    shown,
    view,
)

PAGE = 50
SUBSCRIPTION = "00000000-0000-4000-8000-000000000001"

_KINDS = {kind.lower(): kind for kind in (VM, DISK, NIC, IP, NSG, VNET)}
_ROUTE = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)"
    r"(?:/resourceGroups/(?P<group>[^/]+))?"
    r"(?:/providers/(?P<kind>Microsoft\.[A-Za-z]+/[A-Za-z]+)(?:/(?P<name>[^/]+))?(?:/(?P<verb>[A-Za-z]+))?)?",
    re.IGNORECASE,
)
_FILTER = re.compile(r"tagName eq '([^']*)' and tagValue eq '([^']*)'")

SOON = {"x-ms-retry-after-ms": "1"}
"""When to look again; the SDK takes a Retry-After of 0 for none at all, and waits for seconds."""


@dataclass
class Rule:
    """A fault: the first requests that match meet it. What `act` raises, or does after the request was carried out."""

    matches: Callable[[str, str, Body], bool]
    """Method, path, body."""
    times: int
    before: ArmError | None = None
    after: str = ""
    """`broken`, `cut` or `slow`: done all the same, and the answer is lost."""
    hides: bool = False
    """A listing without a machine in it."""
    inside: ArmError | None = None
    """Accepted, and fails in its operation."""
    page: bool = False
    """Pages of one, the second of which fails."""


class ArmServer:
    """Serves one `Cloud` from a thread of its own. Levers are set from the test's thread between requests."""

    def __init__(self) -> None:
        self.cloud = Cloud(SUBSCRIPTION)
        self.rules: list[Rule] = []
        self.actions: set[str] = set()
        """What Azure calls the right to do each of the requests so far."""
        self.requests: list[tuple[str, str]] = []
        self.refused: list[str] = []
        """What Microsoft's schema had against bodies."""
        self.accepted: list[Body] = []
        """Bodies of machines that were accepted."""
        self.granted: list[Body] = [{"actions": ["*"], "notActions": []}]
        self.unregistered: set[str] = set()
        self.page = PAGE
        self.slow_s = 1.0
        self.console = "Ubuntu 22.04 gpu ttyS0\n"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="arm-server", daemon=True)
        self._ready = threading.Event()
        self.url = ""

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(10), "the ARM server did not come up"

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._serve)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        for task in (left := asyncio.all_tasks(self._loop)):
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.close()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        body: Body = json.loads(text) if text else {}
        path = request.path
        if path.startswith("/blobs/"):
            return web.Response(text=self.console)
        self.requests.append((request.method, path))
        rule = next((one for one in self.rules if one.times > 0 and one.matches(request.method, path, body)), None)
        if rule is not None:
            rule.times -= 1
        try:
            self.cloud.step()
            if rule is not None and rule.before is not None:
                raise rule.before
            if rule is not None and rule.inside is not None:
                self.cloud.fail_inside.append(rule.inside)
            answer = self._answer(request, path, body, rule)
        except ArmError as error:
            return web.json_response(error.body, status=error.status)
        match rule.after if rule is not None else "":
            case "broken":
                return web.json_response(ArmError(500, "InternalServerError").body, status=500)
            case "cut":
                assert request.transport is not None
                request.transport.abort()
            case "slow":
                await asyncio.sleep(self.slow_s)
        return answer

    def _answer(self, request: web.Request, path: str, body: Body, rule: Rule | None) -> web.Response:
        if "api-version" not in request.query:
            raise ArmError(400, "MissingApiVersionParameter")
        operation = re.fullmatch(r"/subscriptions/[^/]+/(?:providers/.*/)?operation(?:s|results)/([^/]+)", path)
        if operation is not None:
            self._allow(_operation_action(path))
            return self._operation(request, operation[1])
        route = _ROUTE.match(path)
        if route is None or route["subscription"] != SUBSCRIPTION:
            raise ArmError(404, "SubscriptionNotFound")
        if route["kind"] is None:
            return self._groups(request, route["group"], path[route.end() :], body)
        if route["kind"].lower() not in _KINDS:
            return self._facts(request, path)
        kind = _KINDS[route["kind"].lower()]
        verb = (route["verb"] or "").lower()
        self._allow(_action(request.method, kind, route["verb"] or ""))
        if route["name"] is None:
            return self._list(request, kind, route["group"], rule)
        path = path.rstrip("/")
        match request.method, verb:
            case "GET", "":
                found = self.cloud.get(path)
                if request.query.get("$expand") == "instanceView":
                    found = found | {"properties": found["properties"] | {"instanceView": view(found)}}
                return web.json_response(shown(found))
            case "PUT", "":
                return self._put(request, path, kind, body)
            case "DELETE", "":
                begun = self.cloud.delete(path, kind)
                return web.Response(status=204) if begun is None else self._begun(begun, 202)
            case "POST", "start" | "deallocate":
                return self._begun(self.cloud.power(path.rpartition("/")[0], verb), 202)
            case "POST", "retrievebootdiagnosticsdata":
                self.cloud.get(path.rpartition("/")[0])
                return web.json_response({"serialConsoleLogBlobUri": f"{self.url}/blobs/{route['name']}"})
        raise ArmError(405, "MethodNotAllowed")

    def _put(self, request: web.Request, path: str, kind: str, body: Body) -> web.Response:
        if request.headers.get("If-None-Match") == "*" and path.lower() in self.cloud.resources:
            raise ArmError(412, "PreconditionFailed")
        if kind in (VM, DISK) and arm_schemas.present():
            complaint = arm_schemas.complaint(kind.rpartition("/")[2], body)
            if complaint is not None:
                self.refused.append(complaint)
                raise ArmError(400, "InvalidRequestContent", complaint)
        status, made, begun = self.cloud.put(path, kind, body)
        if kind == VM:
            self.accepted.append(body)
        return self._begun(begun, status, shown(made))

    def _groups(self, request: web.Request, name: str | None, rest: str, body: Body) -> web.Response:
        if rest.lower() == "/resourcegroups":
            self._allow("Microsoft.Resources/subscriptions/resourceGroups/read")
            held = list(self.cloud.groups.values())
            wanted = _FILTER.fullmatch(request.query.get("$filter", ""))
            if wanted is not None:
                held = [one for one in held if one["tags"].get(wanted[1]) == wanted[2]]
            return self._paged(request, held, self.page)
        if name is None:
            return self._facts(request, request.path)
        if rest == "/resources":
            self._allow("Microsoft.Resources/subscriptions/resourceGroups/resources/read")
            if name.lower() not in self.cloud.groups:
                raise ArmError(404, "ResourceGroupNotFound")
            inside = [one for kind in _KINDS.values() for one in self.cloud.of(kind, name)]
            return self._paged(
                request, [{key: one[key] for key in ("id", "name", "type")} for one in inside], self.page
            )
        self._allow(_action(request.method, "Microsoft.Resources/subscriptions/resourceGroups", ""))
        match request.method:
            case "GET":
                if name.lower() not in self.cloud.groups:
                    raise ArmError(404, "ResourceGroupNotFound")
                return web.json_response(self.cloud.groups[name.lower()])
            case "PUT":
                status, made = self.cloud.put_group(name, body)
                return web.json_response(made, status=status)
            case "DELETE":
                return self._begun(self.cloud.delete_group(name), 202)
        raise ArmError(405, "MethodNotAllowed")

    def _facts(self, request: web.Request, path: str) -> web.Response:
        """What there is to know of the subscription."""
        base = f"/subscriptions/{SUBSCRIPTION}/providers/"
        what = path.removeprefix(base)
        if what == "Microsoft.Authorization/permissions":
            self._allow("Microsoft.Authorization/permissions/read")
            return web.json_response({"value": self.granted})
        if what in ("Microsoft.Compute", "Microsoft.Network"):
            self._allow("Microsoft.Resources/subscriptions/providers/read")
            state = "NotRegistered" if what in self.unregistered else "Registered"
            return web.json_response({"id": path, "namespace": what, "registrationState": state})
        if what == "Microsoft.Compute/skus":
            self._allow("Microsoft.Compute/skus/read")
            region = request.query.get("$filter", "").partition("'")[2].rstrip("'")
            return self._paged(request, [_sku(name, region) for name in sorted(SIZES)], self.page)
        usage = re.fullmatch(r"Microsoft\.Compute/locations/([a-z]+)/usages", what)
        if usage is not None:
            self._allow("Microsoft.Compute/locations/usages/read")
            names = {"cores", "lowPriorityCores", *(family for _, family in SIZES.values())}
            return self._paged(
                request,
                [
                    {
                        "unit": "Count",
                        "name": {"value": name, "localizedValue": name},
                        "limit": self.cloud.quota.get(name.lower(), 1000),
                        "currentValue": self.cloud.used(name.lower()),
                    }
                    for name in sorted(names)
                ],
                self.page,
            )
        raise ArmError(404, "InvalidResourceType", path)

    def _list(self, request: web.Request, kind: str, group: str | None, rule: Rule | None) -> web.Response:
        if group is not None and group.lower() not in self.cloud.groups:
            raise ArmError(404, "ResourceGroupNotFound")
        held = [] if rule is not None and rule.hides else self.cloud.of(kind, group)
        if kind == VM and request.query.get("statusOnly") == "true":
            # The least that Azure could mean by it: nothing but states, and no tags.
            held = [
                {key: one[key] for key in ("id", "name", "location")} | {"properties": {"instanceView": view(one)}}
                for one in held
            ]
        if rule is not None and rule.page:
            return self._paged(request, held, 1, broken=True)
        return self._paged(request, held, self.page)

    def _paged(self, request: web.Request, held: list[Body], size: int, *, broken: bool = False) -> web.Response:
        if "$broken" in request.query:
            raise ArmError(500, "InternalServerError")
        first = int(request.query.get("$skiptoken", 0))
        answer: dict[str, Any] = {"value": [shown(one) for one in held[first : first + size]]}
        if first + size < len(held):
            query = {**request.query, "$skiptoken": str(first + size)} | ({"$broken": "1"} if broken else {})
            answer["nextLink"] = str(request.url.with_host("127.0.0.1").with_query(query))
        return web.json_response(answer)

    def _begun(self, operation: Operation, status: int, body: Body | None = None) -> web.Response:
        base = f"{self.url}/subscriptions/{SUBSCRIPTION}"
        if operation.provider == "Microsoft.Resources":
            headers = {"Location": f"{base}/operationresults/{operation.id}?api-version=2021-04-01"}
        else:
            link = f"{base}/providers/{operation.provider}/locations/{REGION}/operations/{operation.id}"
            headers = {"Azure-AsyncOperation": f"{link}?api-version=2021-04-01"}
            if status == 202:
                headers["Location"] = f"{link}?api-version=2021-04-01&monitor=true"
        headers |= SOON
        if body is None:
            return web.Response(status=status, headers=headers)
        return web.json_response(body, status=status, headers=headers)

    def _operation(self, request: web.Request, name: str) -> web.Response:
        operation = self.cloud.operations.get(name)
        if operation is None:
            raise ArmError(404, "NotFound")
        under_way = operation.status == "InProgress"
        if "operationresults" in request.path or "monitor" in request.query:
            headers = {"Location": str(request.url), **SOON} if under_way else {}
            return web.Response(status=202 if under_way else 200, headers=headers)
        told: Body = {"name": operation.id, "status": operation.status}
        if operation.error is not None and operation.status == "Failed":
            told |= operation.error.body
        return web.json_response(told, headers=SOON if under_way else {})

    def _allow(self, action: str) -> None:
        self.actions.add(action)


def _action(method: str, kind: str, verb: str) -> str:
    match method:
        case "POST":
            return f"{kind}/{verb}/action"
        case "PUT":
            return f"{kind}/write"
        case "DELETE":
            return f"{kind}/delete"
    return f"{kind}/read"


def _operation_action(path: str) -> str:
    provider = re.search(r"/providers/([^/]+)/", path)
    return (
        f"{provider[1]}/locations/operations/read"
        if provider
        else "Microsoft.Resources/subscriptions/operationresults/read"
    )


def _sku(name: str, region: str) -> Body:
    zones = list(ZONES) if region == REGION else []
    restrictions = []
    if region == REGION:
        restrictions.append(
            {
                "type": "Zone",
                "reasonCode": "NotAvailableForSubscription",
                "restrictionInfo": {"locations": [region], "zones": ["3"]},
            }
        )
    if region == OTHER_REGION and name.endswith("T4_v3"):
        restrictions.append(
            {
                "type": "Location",
                "reasonCode": "QuotaId",
                "values": [region],
                "restrictionInfo": {"locations": [region]},
            }
        )
    return {
        "resourceType": "virtualMachines",
        "name": name,
        "family": SIZES[name][1],
        "locations": [region],
        "locationInfo": [{"location": region, "zones": zones}],
        "capabilities": [
            {"name": "vCPUs", "value": str(SIZES[name][0])},
            {"name": "LowPriorityCapable", "value": str(name != "Standard_NC4as_T4_v3")},
        ],
        "restrictions": restrictions,
    }
