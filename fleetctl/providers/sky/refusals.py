"""SkyPilot's errors as ours. The class says who acts; SkyPilot's own word is kept.

SkyPilot tells most of what clouds refuse as ResourcesUnavailableError, with the attempts that led to it: what those
say decides between capacity, quota, credentials and throttling.
"""

import re
from dataclasses import dataclass

from fleetctl.errors import (
    AuthFailure,
    Gone,
    InvalidRequest,
    NoCapacity,
    OutcomeUnknown,
    ProviderError,
    QuotaExceeded,
    Throttled,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An exception on the far side of the bridge."""

    type: str
    bases: tuple[str, ...] = ()
    """Its classes, itself first."""
    code: str = ""
    """The cloud's own word, where SkyPilot keeps it."""
    message: str = ""
    attempts: tuple[str, ...] = ()


_BY_TYPE: tuple[tuple[frozenset[str], type[ProviderError]], ...] = (
    (frozenset({"ClusterDoesNotExist", "ClusterNotUpError"}), Gone),
    (
        frozenset(
            {
                "ApiServerAuthenticationError",
                "CloudUserIdentityError",
                "ClusterOwnerIdentityMismatchError",
                "InvalidCloudCredentials",
                "NoCloudAccessError",
                "PermissionDeniedError",
            }
        ),
        AuthFailure,
    ),
    (frozenset({"Busy", "ConcurrentWorkerExhaustedError", "ExecutionPoolFullError"}), Throttled),
    (
        frozenset(
            {
                "APINotSupportedError",
                "InvalidCloudConfigs",
                "InvalidClusterNameError",
                "InvalidSkyPilotConfigError",
                "NotSupportedError",
                "ProvisionUnsupportedError",
                "ResourcesMismatchError",
                "UserRequestRejectedByPolicy",
            }
        ),
        InvalidRequest,
    ),
    (
        frozenset(
            {
                "ApiServerConnectionError",
                "RequestException",  # of `requests`: the API server did not answer, or not in full
                "RequestInterruptedError",
                "ServerTemporarilyUnavailableError",
            }
        ),
        OutcomeUnknown,
    ),
)

_BY_WORDS: tuple[tuple[re.Pattern[str], type[ProviderError]], ...] = (
    (
        re.compile(r"RequestLimitExceeded|Too ?Many ?Requests|Throttl|rate limit|\b429\b", re.IGNORECASE),
        Throttled,
    ),
    (
        re.compile(
            r"quota|VcpuLimitExceeded|InstanceLimitExceeded|MaxSpotInstanceCountExceeded|limit exceeded", re.IGNORECASE
        ),
        QuotaExceeded,
    ),
    (
        re.compile(
            r"ExpiredToken|RequestExpired|InvalidClientTokenId|AuthFailure|Unauthori[sz]ed|Invalid API key|credentials"
            r"|\b401\b|\b403\b",
            re.IGNORECASE,
        ),
        AuthFailure,
    ),
    (re.compile(r"does not contain any instances|Invalid (region|zone|instance)|not found in"), InvalidRequest),
)
"""In this order: RequestLimitExceeded is about requests, and no quota."""

_HINTS: dict[type[ProviderError], str] = {
    AuthFailure: "fleetctl doctor; SkyPilot says more: sky check -v",
    QuotaExceeded: "ask the cloud for more, or let the pool rent elsewhere: fleetctl offers --gpu GPU",
    OutcomeUnknown: "the next listing settles it: fleetctl ps",
}


def refused(what: str, failure: Failure, *, changing: bool) -> ProviderError:
    """The error of ours for a failure of what was asked; what came of a change may be unknown, of a read never is."""
    kind = _kind(failure)
    if kind is OutcomeUnknown and not changing:
        kind = ProviderError
    return kind(
        f"sky: {what}: {_first_lines(failure)}", hint=_HINTS.get(kind, ""), provider_code=failure.code or failure.type
    )


def _kind(failure: Failure) -> type[ProviderError]:
    classes = {failure.type, *failure.bases}
    for names, kind in _BY_TYPE:
        if classes & names:
            return kind
    if failure.type == "RuntimeError" and "Failed to get request" in failure.message:
        return OutcomeUnknown  # the API server broke while it told what became of it
    unavailable = "ResourcesUnavailableError" in classes
    if unavailable or "CloudError" in classes or failure.type in ("RuntimeError", "ValueError", "ClientError"):
        words = "\n".join((failure.code, *failure.attempts, failure.message))
        for pattern, kind in _BY_WORDS:
            if pattern.search(words):
                return kind
    if unavailable:
        return NoCapacity
    return InvalidRequest if failure.type == "ValueError" else ProviderError


def _first_lines(failure: Failure) -> str:
    """What happened, in some lines: the last attempt says more than the summary of all."""
    told = [*failure.attempts[-1:], failure.message]
    lines = [line.strip() for text in told for line in text.splitlines() if line.strip()]
    return "; ".join(lines[:4]) or failure.type
