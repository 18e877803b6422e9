"""What is noted of requests that the arbiter does not count: refusals by their code, and the access log."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from fleetctl.gateway.access_log import AccessLog
from fleetctl.gateway.logged import exchange_line, refused_line
from fleetctl.gateway.replies import Refusal

if TYPE_CHECKING:
    from fleetctl.gateway.entry import Pass
    from fleetctl.gateway.exchange import Exchange
    from fleetctl.gateway.http1_heads import RequestHead


class Records:
    """Counts since the data plane began."""

    __slots__ = ("_now", "log", "malformed", "refusals", "unrouted")

    def __init__(self, now: Callable[[], float], log: AccessLog | None) -> None:
        self.unrouted = 0
        self.malformed = 0
        self.refusals: dict[str, int] = {}
        """By code; codes are the gateway's own words."""
        self._now = now
        self.log = log

    @property
    def dropped(self) -> int:
        """Lines that the access log could not take."""
        return self.log.dropped if self.log is not None else 0

    def count(self, refusal: Refusal) -> None:
        self.refusals[refusal.code] = self.refusals.get(refusal.code, 0) + 1

    def refused(self, asked: "RequestHead", refusal: Refusal, request_id: bytes, pass_: "Pass | None") -> None:
        """Of this request the arbiter never heard."""
        if self.log is not None:
            self.log.note(refused_line(asked, refusal, request_id.decode(), pass_, time.time()))

    def answered(self, exchange: "Exchange") -> None:
        log = self.log
        if log is not None and log.wants(exchange.trace_id):
            self.ended(exchange, "answered")

    def ended(self, exchange: "Exchange", outcome: str, refusal: Refusal | None = None) -> None:
        """However it ended; what failed is never left out."""
        if self.log is not None:
            self.log.note(exchange_line(exchange, outcome, refusal, now=self._now(), at=time.time()))

    def flush(self) -> None:
        if self.log is not None:
            self.log.flush()
