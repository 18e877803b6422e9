"""What a client is told whose request gets no slot, and when it may come again."""

from math import ceil
from typing import Final

from fleetctl.gateway.limits import RETRY_AFTER_LONGEST_S
from fleetctl.gateway.replies import Refusal
from fleetctl.model.names import ServiceName

PASSED_OVER: Final = 2.0
PASSED_OVER_COLD: Final = 3.0
"""An estimate is a mean. Where requests are passed over by those that a replica could continue, some wait about twice
as long, and those whose beginning no replica knows longer still; by the simulation of `bench/gateway_goodput.py`."""
PASSING_S: Final = 5.0
"""Requests are taken to be passed over for so long after one was; the drain rate remembers as long."""

SHUTTING_DOWN = Refusal(
    status=503, code="shutting_down", message="The gateway is shutting down. Try again.", retry_after_s=1
)


def queue_full(service: ServiceName, wait_s: float) -> Refusal:
    """`wait_s`: what one that got in now would wait, by all that is known; 0: nothing is known."""
    again_s = max(1, ceil(wait_s))
    return Refusal(
        status=429,
        code="queue_full",
        message=f"The queue of {service} is full. Try again in {again_s} s.",
        retry_after_s=again_s,
    )


def overloaded(service: ServiceName, estimate_s: float, budget_s: float) -> Refusal:
    """It would wait longer than it may; it comes in time once the queue is shorter by the difference."""
    again_s = max(1, ceil(estimate_s - budget_s))
    return Refusal(
        status=429,
        code="overloaded",
        message=(
            f"A request to {service} would wait about {ceil(estimate_s)} s now, and this one may wait {budget_s:g} s. "
            f"Try again in {again_s} s."
        ),
        retry_after_s=again_s,
    )


def displaced(service: ServiceName, wait_s: float) -> Refusal:
    again_s = max(1, ceil(wait_s))
    return Refusal(
        status=429,
        code="displaced",
        message=(
            f"The queue of {service} is full, and requests of higher priority have come. Try again in {again_s} s."
        ),
        retry_after_s=again_s,
    )


def waited_too_long(service: ServiceName, waited_s: float) -> Refusal:
    return Refusal(
        status=503,
        code="queue_timeout",
        message=f"No replica of {service} was free in {waited_s:.0f} s.",
        retry_after_s=RETRY_AFTER_LONGEST_S,
    )


def removed(service: ServiceName) -> Refusal:
    return Refusal(status=503, code="service_removed", message=f"The service {service} was taken down.")
