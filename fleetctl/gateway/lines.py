"""One Service in the data plane: what its answers measure, and what is known of its replicas' manners."""

from typing import TYPE_CHECKING

from fleetctl.gateway.measures import ServiceMeasures
from fleetctl.model.routes import Route

if TYPE_CHECKING:
    from fleetctl.gateway.exchange import Exchange
    from fleetctl.gateway.http1_answers import AnswerHead


class ServiceLine:
    """What belongs to one Service, but for its queue, which is the arbiter's."""

    __slots__ = ("known_answer", "measures", "probe_path")

    def __init__(self, route: Route) -> None:
        self.measures = ServiceMeasures(service=route.service)
        self.probe_path = route.probe_path
        self.known_answer: AnswerHead | None = None
        """The newest head of an answer; the next one differs in its Content-Length, once a second in its Date."""

    def observe(self, exchange: "Exchange", now: float) -> None:
        """An answer is complete."""
        measures = self.measures
        measures.duration.observe(now - exchange.arrived_s)
        taken, made, cached = exchange.usage
        measures.input_tokens += taken
        measures.output_tokens += made
        measures.cached_tokens += cached

    def observe_stream(self, exchange: "Exchange", tokens: int, now: float) -> None:
        """A stream of so many tokens is complete."""
        if tokens > 1:
            self.measures.inter_token.observe((now - exchange.first_s) / (tokens - 1), tokens - 1)
