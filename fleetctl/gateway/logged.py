"""What the access log says of a request."""

from fleetctl.gateway.access_log import Line
from fleetctl.gateway.entry import Pass
from fleetctl.gateway.exchange import Exchange
from fleetctl.gateway.http1_heads import RequestHead
from fleetctl.gateway.replies import Refusal

_PATH_SHOWN_LENGTH = 200
"""Of a path; what is longer is no path of an API."""


def exchange_line(exchange: Exchange, outcome: str, refusal: Refusal | None, *, now: float, at: float) -> Line:
    """Of a request that the arbiter has heard of. `now` is the data plane's time, `at` is Unix time."""
    arrived, seat = exchange.arrived_s, exchange.seat
    taken, made, cached = exchange.usage
    return Line(
        time=at,
        request_id=exchange.request_id.decode(),
        trace_id=exchange.trace_id.decode(),
        tenant=exchange.tenant,
        key=exchange.pass_.key,
        method=exchange.asked.method.decode(),
        path=_path(exchange.asked),
        service=exchange.service,
        replica=seat.replica if seat is not None else "",
        status=exchange.status or (refusal.status if refusal is not None else 0),
        outcome=outcome,
        code=refusal.code if refusal is not None else "",
        queued_s=_rounded((exchange.seated_s or now) - arrived),
        ttft_s=_rounded(exchange.first_s - arrived) if exchange.first_s else 0.0,
        total_s=_rounded(now - arrived),
        input_tokens=taken,
        output_tokens=made,
        cached_tokens=cached,
        bytes_in=exchange.size_bytes,
        retried=exchange.retried,
    )


def refused_line(asked: RequestHead, refusal: Refusal, request_id: str, pass_: Pass | None, at: float) -> Line:
    """Of a request that the arbiter never heard of."""
    return Line(
        time=at,
        request_id=request_id,
        trace_id=request_id,
        tenant=pass_.tenant if pass_ is not None else "",
        key=pass_.key if pass_ is not None else "",
        method=asked.method.decode(),
        path=_path(asked),
        service="",
        replica="",
        status=refusal.status,
        outcome="refused",
        code=refusal.code,
        queued_s=0.0,
        ttft_s=0.0,
        total_s=0.0,
        input_tokens=0,
        output_tokens=0,
        cached_tokens=0,
        bytes_in=0,
        retried=False,
    )


def _path(asked: RequestHead) -> str:
    return asked.target.partition(b"?")[0][:_PATH_SHOWN_LENGTH].decode()


def _rounded(seconds: float) -> float:
    return round(max(0.0, seconds), 6)
