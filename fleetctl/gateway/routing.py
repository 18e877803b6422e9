"""Which Service a request is for, and which of its LoRA adapters."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from fleetctl.gateway.asked_models import model_in
from fleetctl.gateway.control_paths import steers
from fleetctl.gateway.entry import OPEN, Pass
from fleetctl.gateway.http1_heads import RequestHead
from fleetctl.gateway.prefixes import seed_of
from fleetctl.gateway.replies import Refusal
from fleetctl.model.names import ServiceName
from fleetctl.model.routes import Route

_NAMES_SHOWN_MAX: Final = 20
"""Names listed in a refusal; more do not help a reader."""
_HOST_LENGTH_MAX: Final = 255
"""Of a name in the DNS (RFC 1035); what is longer is nobody's, however many dots it has."""
_NAME_SHOWN_LENGTH: Final = 100
"""Of a name that a client sent; the rest is cut."""


class Named(NamedTuple):
    """What a value of `model` stands for."""

    service: ServiceName
    adapter: str
    """Empty: the model itself."""
    seed: int
    """What the hashes of its prompts begin with."""


class Choice(NamedTuple):
    service: ServiceName
    adapter: str
    seed: int
    target: bytes
    """What to ask the replica for."""


class _Scope:
    """Services among which a request's `model` chooses; one alone needs no `model`, unless it has adapters."""

    __slots__ = ("by_model", "only")

    def __init__(self, routes: Iterable[Route]) -> None:
        routes = tuple(routes)
        self.by_model: dict[str, Named] = {}
        for route in routes:
            for adapter in route.adapters:
                self.by_model.setdefault(adapter, _named(route, adapter))
        for route in routes:
            for model in route.models:
                if model not in self.by_model or self.by_model[model].adapter:
                    self.by_model[model] = _named(route)
        for route in routes:  # a Service's own name wins over all others of the same name
            self.by_model[route.service] = _named(route)
        self.only = _named(routes[0]) if len(routes) == 1 else None


class _Chosen(NamedTuple):
    """What a head tells alone: the Service, or else among which Services the body chooses."""

    scope: _Scope
    alone: Choice | None
    """Where there is one Service to choose: that, without an adapter."""
    reads_body: bool
    target: bytes


class Table:
    """The names that select a Service: the header `x-fleetctl-service`, the path `/SERVICE/…`, the Host, or `model` in
    the body, in this order.

    With one Service alone every request is for it; its body is looked into only for an adapter.
    """

    __slots__ = ("_all", "_by_header", "_hosts", "_of_service", "_wildcards", "names")

    def __init__(self, routes: tuple[Route, ...] = ()) -> None:
        self._by_header = {route.service.encode(): route.service for route in routes}
        self._all = _Scope(routes)
        self._of_service = {route.service: _Scope((route,)) for route in routes}
        hosts: dict[bytes, list[Route]] = {}
        for route in routes:
            for host in dict.fromkeys(route.hosts):
                hosts.setdefault(host.lower().encode(), []).append(route)
        scopes = {host: _Scope(given) for host, given in hosts.items()}
        self._hosts = {host: scope for host, scope in scopes.items() if not host.startswith(b"*.")}
        self._wildcards = {host[1:]: scope for host, scope in scopes.items() if host.startswith(b"*.")}
        invented = {route.service for route in routes if route.nameless and route.service not in route.models}
        self.names = tuple(
            sorted((name, named.service) for name, named in self._all.by_model.items() if name not in invented)
        )
        """Every name that a client may put into `model`, and its Service."""

    def find(self, model: str) -> ServiceName | None:
        named = self._all.by_model.get(model)
        return named.service if named is not None else None

    def names_for(self, pass_: Pass) -> tuple[tuple[str, ServiceName], ...]:
        """Those that a key may use."""
        if pass_.services is None:
            return self.names
        return tuple((name, service) for name, service in self.names if service in pass_.services)

    def choose(self, head: RequestHead, body: bytes, pass_: Pass = OPEN) -> Choice | Refusal:
        """Who is to answer, if this key may ask."""
        chosen = head.chosen
        if head.chosen_by is not self or not isinstance(chosen, _Chosen):
            found = self._by_head(head, pass_)
            if isinstance(found, Refusal):
                return found
            # A head that comes again need not be looked at again; and where it tells all, nor does the body.
            head.chosen = chosen = found
            head.chosen_by = self
            head.alone = None if chosen.reads_body else chosen.alone
        choice = chosen.alone
        if chosen.reads_body or choice is None:
            named = self._by_body(chosen, body, pass_)
            if isinstance(named, Refusal):
                return named
            choice = named
        if pass_.services is not None and choice.service not in pass_.services:
            return Refusal(
                status=403,
                code="service_forbidden",
                message=f"This API key may not use what was asked for. It may use: {self._known(pass_)}.",
            )
        return choice

    def _by_head(self, head: RequestHead, pass_: Pass) -> _Chosen | Refusal:
        target = head.target
        service = self._by_header.get(head.service) if head.service else None
        if head.service and service is None:
            return self._unknown(
                head.service.decode("latin-1"), "The header x-fleetctl-service names no service", pass_
            )
        if service is None:
            first, slash, rest = target[1:].partition(b"/")
            service = self._by_header.get(first) if slash and first != b"v1" else None
            if service is not None:
                target = b"/" + rest
        if steers(target):
            return Refusal(
                status=403,
                code="control_path",
                message="This path steers the engine; the gateway forwards only requests for inference.",
            )
        scope = self._of_service[service] if service is not None else self._of_host(head.host)
        only = scope.only
        adapters = only is not None and any(named.adapter for named in scope.by_model.values())
        return _Chosen(scope, Choice(*only, target) if only is not None else None, adapters, target)

    def _of_host(self, host: bytes) -> _Scope:
        if not self._hosts and not self._wildcards:
            return self._all
        host = _without_port(host).lower()
        if len(host) > _HOST_LENGTH_MAX:
            return self._all
        scope = self._hosts.get(host)
        while scope is None and host:
            _, dot, rest = host.partition(b".")
            scope = self._wildcards.get(dot + rest) if dot else None
            host = rest
        return scope or self._all

    def _by_body(self, chosen: _Chosen, body: bytes, pass_: Pass) -> Choice | Refusal:
        if not self._all.by_model:
            return Refusal(
                status=404,
                code="no_services",
                message="The gateway has no services yet. Bring one up with `fleetctl up -f FILE`; "
                "its controller tells the gateway within a second.",
            )
        wrong = ""
        model = None
        try:
            model = model_in(body) if body else None
        except ValueError as error:
            wrong = str(error)
        named = chosen.scope.by_model.get(model) if model is not None else None
        if named is not None:
            return Choice(*named, chosen.target)
        if chosen.alone is not None:
            return chosen.alone
        if model is not None:
            return self._unknown(model, "The model does not exist", pass_)
        if wrong and body.lstrip(b" \t\r\n").startswith(b"{"):
            return Refusal(
                status=400,
                code="invalid_body",
                message=f"The body cannot be read as JSON with a string `model`: {wrong[:_NAME_SHOWN_LENGTH]}.",
            )
        return Refusal(
            status=404,
            code="model_missing",
            message="Several services are behind this gateway: name one in the body's `model` (JSON), in the path "
            f"(/SERVICE/v1/...), or in the header x-fleetctl-service. Known: {self._known(pass_)}.",
        )

    def _unknown(self, name: str, what: str, pass_: Pass) -> Refusal:
        return Refusal(
            status=404,
            code="model_not_found",
            message=f"{what}: {name[:_NAME_SHOWN_LENGTH]!r}. Known: {self._known(pass_)}.",
        )

    def _known(self, pass_: Pass) -> str:
        """Of others' Services nothing is said."""
        names = self.names_for(pass_)
        shown = ", ".join(name for name, _ in names[:_NAMES_SHOWN_MAX])
        hidden = len(names) - _NAMES_SHOWN_MAX
        if hidden > 0:
            return f"{shown} and {hidden} more (GET /v1/models)"
        if not names and self.names:
            return "nothing that is up now"
        return shown or "none yet (fleetctl up -f FILE)"


def _named(route: Route, adapter: str = "") -> Named:
    return Named(route.service, adapter, seed_of(route.service, adapter))


def _without_port(host: bytes) -> bytes:
    name, colon, port = host.rpartition(b":")
    return name if colon and (not port or port.isdigit()) else host
