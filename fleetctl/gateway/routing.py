"""Which Service a request is for."""

from dataclasses import dataclass
from typing import Final

import msgspec

from fleetctl.gateway.control_paths import steers
from fleetctl.gateway.http1_heads import RequestHead
from fleetctl.gateway.replies import Refusal
from fleetctl.model.names import ServiceName
from fleetctl.model.routes import Route

_NAMES_SHOWN_MAX: Final = 20
"""Names listed in a refusal; more do not help a reader."""
_NAME_SHOWN_LENGTH: Final = 100
"""Of a name that a client sent; the rest is cut."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A body, of which only this is read; duplicates: the last one counts, as in the engines' own JSON parsers."""

    model: str | None = None


_BODY: Final = msgspec.json.Decoder(_Asked)


class Table:
    """The names that select a Service: the header `x-fleetctl-service`, the path `/SERVICE/…`, or `model` in the body.

    With one Service alone every request is for it, and no body is looked into.
    """

    __slots__ = ("_by_header", "_by_model", "_only", "names")

    def __init__(self, routes: tuple[Route, ...] = ()) -> None:
        self._by_header = {route.service.encode(): route.service for route in routes}
        self._by_model: dict[str, ServiceName] = {}
        for route in routes:
            for model in route.models:
                self._by_model.setdefault(model, route.service)
        for route in routes:  # a Service's own name wins over a model of the same name
            self._by_model[route.service] = route.service
        self._only = routes[0].service if len(routes) == 1 else None
        self.names = tuple(sorted(self._by_model.items()))
        """Every name that a client may put into `model`, and its Service."""

    def find(self, model: str) -> ServiceName | None:
        return self._by_model.get(model)

    def choose(self, head: RequestHead, body: bytes) -> tuple[ServiceName, bytes] | Refusal:
        """The Service, and the target to ask its replica for."""
        target = head.target
        service = self._by_header.get(head.service) if head.service else None
        if head.service and service is None:
            return self._unknown(head.service.decode("latin-1"), "The header x-fleetctl-service names no service")
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
        if service is None:
            service = self._only
        if service is not None:
            return service, target
        return self._by_body(target, body)

    def _by_body(self, target: bytes, body: bytes) -> tuple[ServiceName, bytes] | Refusal:
        if not self.names:
            return Refusal(
                status=404,
                code="no_services",
                message="The gateway has no services yet. Bring one up with `fleetctl up -f FILE`; "
                "its controller tells the gateway within a second.",
            )
        try:
            model = _BODY.decode(body).model if body else None
        except msgspec.DecodeError:  # also what is not UTF-8, and a `model` that is no string
            model = None
        if model is None:
            return Refusal(
                status=404,
                code="model_missing",
                message="Several services are behind this gateway: name one in the body's `model` (JSON), in the path "
                f"(/SERVICE/v1/...), or in the header x-fleetctl-service. Known: {self._known()}.",
            )
        service = self._by_model.get(model)
        if service is None:
            return self._unknown(model, "The model does not exist")
        return service, target

    def _unknown(self, name: str, what: str) -> Refusal:
        return Refusal(
            status=404,
            code="model_not_found",
            message=f"{what}: {name[:_NAME_SHOWN_LENGTH]!r}. Known: {self._known()}.",
        )

    def _known(self) -> str:
        shown = ", ".join(name for name, _ in self.names[:_NAMES_SHOWN_MAX])
        hidden = len(self.names) - _NAMES_SHOWN_MAX
        if hidden > 0:
            return f"{shown} and {hidden} more (GET /v1/models)"
        return shown or "none yet (fleetctl up -f FILE)"
