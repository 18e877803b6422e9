"""Compute Engine's calls that the provider makes, blocking, each with its errors translated. Imports the SDK late.

Two habits of the SDK must never get in. Its operations' own waiting builds a client without the endpoint given here and
asks the real cloud, so only the calls that end in `_unary` are used, and operations are waited for by clients of ours.
And it sends some calls again by itself, so every call is made with `retry=None`.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from fleetctl.errors import MissingDependency, ProviderError
from fleetctl.providers.gcp.failures import translated
from fleetctl.providers.gcp.settings import Settings

if TYPE_CHECKING:
    from google.cloud import compute_v1

T = TypeVar("T")

_PAGE = 500
"""The most that one page of a listing may hold."""

_PAGES_MAX = 400
"""Of one listing: 200,000 lines. Beyond that a server repeats itself."""

_SILENT = ("", "NO_RESULTS_ON_PAGE")
"""Warnings of a listing that tell of nothing missing."""

_RESOURCE_MANAGER = "https://cloudresourcemanager.googleapis.com"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long is waited, in seconds."""

    read_s: float = 30.0
    """For the answer to one reading request; a page of 500 machines takes a few."""
    change_s: float = 60.0
    """For the answer to one changing request, which only accepts it; the work itself is an operation."""
    operation_s: float = 240.0
    """For an operation whose end must be known: a launch, a start. A zone without capacity says so within a minute;
    machines with eight GPUs take up to three to come."""
    glance_s: float = 10.0
    """For an operation that ends by itself: a stop, a deletion. Refusals come in seconds, a guest's shutdown takes 90,
    and the listing shows how it goes."""
    pause_s: float = 0.5
    """Between two looks at an operation, where the server did not itself hold the answer back."""


class _Page(Protocol):
    next_page_token: str


class Api:
    """The calls of one project. Safe for threads. `boundary` is called before each request; tests end there."""

    def __init__(self, settings: Settings, limits: Limits, boundary: Callable[[str], None] = lambda _: None) -> None:
        self.project = settings.project
        self._settings = settings
        self._limits = limits
        self._boundary = boundary
        self._clients: dict[str, Any] = {}
        self._credentials: Any = None
        self._lock = threading.RLock()

    # instances
    def instances(self, filtered: str) -> Iterator[tuple[str, "compute_v1.Instance"]]:
        """Each Instance that the filter lets through, with its zone. Raises where a zone is missing."""
        for scope, scoped in self._aggregated("instances", "Instances", "AggregatedListInstancesRequest", filtered):
            for instance in scoped.instances:
                yield scope.rpartition("/")[2], instance

    def instance(self, zone: str, name: str) -> "compute_v1.Instance":
        return cast("compute_v1.Instance", self._get("instances.get", "Instances", zone=zone, instance=name))

    def insert_instance(self, zone: str, body: Mapping[str, object], request_id: str) -> "compute_v1.Operation":
        sdk = _sdk()
        resource = sdk.Instance(body)
        return self._change(
            "instances.insert", "Instances", zone=zone, instance_resource=resource, request_id=request_id
        )

    def start_instance(self, zone: str, name: str) -> "compute_v1.Operation":
        return self._change("instances.start", "Instances", zone=zone, instance=name)

    def stop_instance(self, zone: str, name: str, *, discard_local_ssd: bool) -> "compute_v1.Operation":
        # A machine with local disks is stopped only with word on what becomes of them.
        more = {"discard_local_ssd": True} if discard_local_ssd else {}
        return self._change("instances.stop", "Instances", zone=zone, instance=name, **more)

    def delete_instance(self, zone: str, name: str) -> "compute_v1.Operation":
        return self._change("instances.delete", "Instances", zone=zone, instance=name)

    def console(self, zone: str, name: str, last_bytes: int) -> str:
        request = {"project": self.project, "zone": zone, "instance": name, "start": -last_bytes}
        found = self._ask("instances.getSerialPortOutput", "Instances", "get_serial_port_output", request)
        return cast("compute_v1.SerialPortOutput", found).contents

    # what launches need and leave
    def network(self, name: str) -> "compute_v1.Network":
        return cast("compute_v1.Network", self._get("networks.get", "Networks", network=name))

    def networks(self) -> Iterator["compute_v1.Network"]:
        return self._listed("networks.list", "Networks")

    def insert_network(self, body: Mapping[str, object]) -> "compute_v1.Operation":
        return self._change("networks.insert", "Networks", network_resource=_sdk().Network(body))

    def delete_network(self, name: str) -> "compute_v1.Operation":
        return self._change("networks.delete", "Networks", network=name)

    def firewall(self, name: str) -> "compute_v1.Firewall":
        return cast("compute_v1.Firewall", self._get("firewalls.get", "Firewalls", firewall=name))

    def firewalls(self) -> Iterator["compute_v1.Firewall"]:
        return self._listed("firewalls.list", "Firewalls")

    def insert_firewall(self, body: Mapping[str, object]) -> "compute_v1.Operation":
        return self._change("firewalls.insert", "Firewalls", firewall_resource=_sdk().Firewall(body))

    def update_firewall(self, name: str, body: Mapping[str, object]) -> "compute_v1.Operation":
        """Replace it: a patch could not take away what somebody has added, since the SDK sends no empty lists."""
        return self._change("firewalls.update", "Firewalls", firewall=name, firewall_resource=_sdk().Firewall(body))

    def delete_firewall(self, name: str) -> "compute_v1.Operation":
        return self._change("firewalls.delete", "Firewalls", firewall=name)

    def disk(self, zone: str, name: str) -> "compute_v1.Disk":
        return cast("compute_v1.Disk", self._get("disks.get", "Disks", zone=zone, disk=name))

    def disks(self, filtered: str) -> Iterator[tuple[str, "compute_v1.Disk"]]:
        for scope, scoped in self._aggregated("disks", "Disks", "AggregatedListDisksRequest", filtered):
            for disk in scoped.disks:
                yield scope.rpartition("/")[2], disk

    def delete_disk(self, zone: str, name: str) -> "compute_v1.Operation":
        return self._change("disks.delete", "Disks", zone=zone, disk=name)

    def images(self, project: str, filtered: str) -> Iterator["compute_v1.Image"]:
        return self._listed("images.list", "Images", project=project, filter=filtered)

    # what can be rented
    def machine_types(self, filtered: str) -> Iterator[tuple[str, "compute_v1.MachineType"]]:
        kind = "AggregatedListMachineTypesRequest"
        for scope, scoped in self._aggregated("machineTypes", "MachineTypes", kind, filtered):
            for machine in scoped.machine_types:
                yield scope.rpartition("/")[2], machine

    def accelerator_types(self, filtered: str) -> Iterator[tuple[str, "compute_v1.AcceleratorType"]]:
        kind = "AggregatedListAcceleratorTypesRequest"
        for scope, scoped in self._aggregated("acceleratorTypes", "AcceleratorTypes", kind, filtered):
            for accelerator in scoped.accelerator_types:
                yield scope.rpartition("/")[2], accelerator

    def region(self, name: str) -> "compute_v1.Region":
        return cast("compute_v1.Region", self._get("regions.get", "Regions", region=name))

    def own_project(self) -> "compute_v1.Project":
        return cast("compute_v1.Project", self._get("projects.get", "Projects"))

    def permissions(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """Those of the wanted permissions that these credentials have on the project. Asks the Resource Manager."""
        what = "projects.testIamPermissions"
        base = self._settings.endpoint if self._settings.loopback else _RESOURCE_MANAGER
        url = f"{base}/v3/projects/{self.project}:testIamPermissions"

        def ask() -> tuple[str, ...]:
            from google.api_core.exceptions import from_http_response
            from google.auth.transport.requests import AuthorizedSession

            with AuthorizedSession(self._chain()) as session:  # type: ignore[no-untyped-call]
                reply = session.post(url, json={"permissions": list(wanted)}, timeout=self._limits.read_s)
            if reply.status_code != 200:
                raise from_http_response(reply)  # type: ignore[no-untyped-call]
            return tuple(reply.json().get("permissions", ()))

        return self._guarded(what, ask, changing=False)

    # operations
    def wait(self, operation: "compute_v1.Operation", limit_s: float) -> "compute_v1.Operation":
        """The operation as it stands once it has ended, or when the server (or the limit) ends the waiting."""
        name = operation.name
        if operation.zone:
            where = {"zone": operation.zone.rpartition("/")[2]}
            kind = "ZoneOperations"
        elif operation.region:
            where = {"region": operation.region.rpartition("/")[2]}
            kind = "RegionOperations"
        else:
            where, kind = {}, "GlobalOperations"
        what = f"{kind[0].lower()}{kind[1:]}.wait"
        request = {"project": self.project, "operation": name, **where}
        return cast("compute_v1.Operation", self._ask(what, kind, "wait", request, limit_s=limit_s))

    def deletions(self) -> frozenset[str]:
        """The numbers of all resources of the project that are being deleted now."""
        found: set[str] = set()
        request = "AggregatedListGlobalOperationsRequest"
        filtered = '(operationType = "delete") (status != "DONE")'
        for _, scoped in self._aggregated("globalOperations", "GlobalOperations", request, filtered):
            found.update(str(one.target_id) for one in scoped.operations if one.operation_type == "delete")
        return frozenset(found)

    def close(self) -> None:
        """End the connections; a request that is under way breaks off."""
        with self._lock:
            for client in self._clients.values():
                client.transport.close()
            self._clients.clear()

    def _aggregated(self, noun: str, client: str, request: str, filtered: str) -> Iterator[tuple[str, Any]]:
        what = f"{noun}.aggregatedList"
        body = {"project": self.project, "filter": filtered, "max_results": _PAGE}
        for page in self._pages(what, client, "aggregated_list", getattr(_sdk(), request)(body)):
            _complete(what, page.warning.code, page.unreachables)
            for scope, scoped in page.items.items():
                _complete(f"{what} of {scope}", scoped.warning.code, ())
                yield scope, scoped

    def _listed(self, what: str, client: str, **asked: object) -> Iterator[Any]:
        body = {"project": self.project, "max_results": _PAGE, **asked}
        request = getattr(_sdk(), f"List{client}Request")(body)
        for page in self._pages(what, client, "list", request):
            _complete(what, page.warning.code, ())
            yield from page.items

    def _pages(self, what: str, client: str, method: str, request: Any) -> Iterator[Any]:
        """Each page of a listing; one that cannot be had is an error, never the end."""
        token = ""
        for _ in range(_PAGES_MAX):
            if token:
                request.page_token = token
            # The SDK's own paging would go on by itself; one page at a time has one place for errors and limits.
            page = next(iter(self._ask(what, client, method, request).pages))
            yield page
            if not page.next_page_token:
                return
            token = page.next_page_token
        raise ProviderError(f"gcp: {what}: no end after {_PAGES_MAX} pages")

    def _get(self, what: str, client: str, **asked: object) -> object:
        return self._ask(what, client, "get", {"project": self.project, **asked})

    def _change(self, what: str, client: str, **asked: object) -> "compute_v1.Operation":
        method = f"{what.rpartition('.')[2]}_unary"
        request = {"project": self.project, **asked}
        return cast("compute_v1.Operation", self._ask(what, client, method, request, changing=True))

    def _ask(
        self, what: str, client: str, method: str, request: Any, *, changing: bool = False, limit_s: float | None = None
    ) -> Any:
        """One request and its answer, as the SDK has it. Raises `ProviderError`s."""
        if limit_s is None:
            limit_s = self._limits.change_s if changing else self._limits.read_s

        def ask() -> Any:
            return getattr(self._client(client), method)(request=request, retry=None, timeout=limit_s)

        return self._guarded(what, ask, changing=changing)

    def _guarded(self, what: str, ask: Callable[[], T], *, changing: bool) -> T:
        _sdk()
        self._boundary(what)
        try:
            return ask()
        except Exception as error:
            ours = translated(error, what, changing=changing)
            if ours is None:
                raise
            raise ours from error

    def _client(self, kind: str) -> Any:
        with self._lock:
            if kind not in self._clients:
                options = {"api_endpoint": self._settings.endpoint} if self._settings.endpoint else None
                make = getattr(_sdk(), f"{kind}Client")
                made = make(credentials=self._chain(), client_options=options)
                if self._settings.loopback:
                    made.transport._session.trust_env = False  # no proxy leads to this machine
                self._clients[kind] = made
            return self._clients[kind]

    def _chain(self) -> Any:
        """The credentials that the SDK itself finds; a server on this machine gets none at all."""
        with self._lock:
            if self._credentials is None:
                import google.auth
                from google.auth.credentials import AnonymousCredentials

                if self._settings.loopback:
                    self._credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]
                else:
                    self._credentials, _ = google.auth.default(scopes=[_SCOPE])
            return self._credentials


def _complete(what: str, warning: str, unreachable: Sequence[str]) -> None:
    """Raises where a listing says that something is missing in it."""
    if warning not in _SILENT or unreachable:
        where = f": {', '.join(unreachable)}" if unreachable else ""
        raise ProviderError(
            f"gcp: {what}: the listing is not complete ({warning or 'UNREACHABLE'}){where}",
            hint="it is asked for again at the next tick",
            provider_code=warning or "UNREACHABLE",
        )


def _sdk() -> Any:
    try:
        from google.cloud import compute_v1
    except ImportError as error:
        raise MissingDependency(
            "the gcp provider needs google-cloud-compute", hint="pip install 'fleetctl[gcp]'"
        ) from error
    return compute_v1
