"""Refusals of the data plane that say the same each time, and one that says how long."""

from typing import Final

from fleetctl.gateway.limits import BODY_LIMIT_BYTES
from fleetctl.gateway.replies import Refusal

TOO_LARGE: Final = Refusal(
    status=413,
    code="body_too_large",
    message=f"The request's body is larger than {BODY_LIMIT_BYTES // 2**20} MB, the most that the gateway holds.",
)
FULL: Final = Refusal(
    status=503,
    code="gateway_full",
    message="The gateway holds as many request bytes as it may. Try again.",
    retry_after_s=5,
)
TOO_MANY: Final = Refusal(
    status=503, code="too_many_connections", message="The gateway has no connection left.", retry_after_s=1
)
NO_WEBSOCKET: Final = Refusal(
    status=501, code="no_websocket", message="The gateway does not forward WebSocket connections."
)
LATE: Final = Refusal(status=408, code="request_timeout", message="The request did not arrive in time.")
STARTING: Final = Refusal(
    status=503,
    code="starting",
    message="The gateway has not been told yet what to serve. Its controller tells it within a second. Try again.",
    retry_after_s=1,
)
SILENT: Final = Refusal(status=504, code="upstream_silent", message="The replica did not begin to answer in time.")


def shutting_down(timeout_s: float) -> Refusal:
    """`timeout_s`: what runs has so long to end."""
    return Refusal(
        status=503,
        code="shutting_down",
        message=f"The gateway is shutting down: it takes no more requests, and what runs has {timeout_s:g} s to end. "
        "Try again.",
        retry_after_s=1,
    )
