"""Azure's errors, as ours. The table holds the codes whose meaning is known; every other keeps its own word."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError

_CLASSES: Mapping[type[ProviderError], tuple[str, ...]] = {
    NoCapacity: (
        "AllocationFailed",
        "ZonalAllocationFailed",
        "OverconstrainedAllocationRequest",
        "OverconstrainedZonalAllocationRequest",
        "SkuNotAvailable",
    ),
    QuotaExceeded: ("QuotaExceeded", "PublicIPCountLimitReached"),
    AuthFailure: (
        "AuthorizationFailed",
        "LinkedAuthorizationFailed",
        "AuthenticationFailed",
        "InvalidAuthenticationToken",
        "InvalidAuthenticationTokenTenant",
        "ExpiredAuthenticationToken",
        "SubscriptionNotFound",
        "ReadOnlyDisabledSubscription",
        "MissingSubscriptionRegistration",
    ),
    Throttled: ("TooManyRequests", "SubscriptionRequestsThrottled", "RetryableError", "AnotherOperationInProgress"),
    Gone: ("ResourceNotFound", "ResourceGroupNotFound", "ParentResourceNotFound", "NotFound", "OperationPreempted"),
    InvalidRequest: (
        "BadRequest",
        "InvalidParameter",
        "InvalidRequestContent",
        "InvalidRequestFormat",
        "InvalidResourceName",
        "PropertyChangeNotAllowed",
        "RequestDisallowedByPolicy",
        "ScopeLocked",
        "PlatformImageNotFound",
        "VMMarketplaceInvalidInput",
        "NicInUse",
        "NicReservedForAnotherVm",
        "PublicIPAddressCannotBeDeleted",
        "InUseSubnetCannotBeDeleted",
        "InUseNetworkSecurityGroupCannotBeDeleted",
    ),
}

_CLASS_OF: Mapping[str, type[ProviderError]] = {code: kind for kind, codes in _CLASSES.items() for code in codes}

UNKNOWN_HINT = "the next listing settles it: fleetctl ps -i"

_HINTS: Mapping[type[ProviderError], str] = {
    NoCapacity: "see where else it can be had: fleetctl offers --gpu GPU",
    QuotaExceeded: "ask Azure for more: portal, Quotas, Compute; see each quota: fleetctl doctor",
    AuthFailure: "az login, then fleetctl doctor; the role that is needed: fleetctl provider permissions azure",
    Throttled: "it is tried again later by itself",
    Gone: "fleetctl ps -i",
    OutcomeUnknown: UNKNOWN_HINT,
}


def error_class(code: str, message: str, status: int) -> type[ProviderError]:
    """The class of an answer with that code and HTTP status. `ProviderError` itself: nobody knows that code."""
    if status == 429:
        return Throttled
    if code == "OperationNotAllowed" and "quota" in message.lower():
        return QuotaExceeded  # the same code also says that a machine's state forbids the call
    if code in _CLASS_OF:
        return _CLASS_OF[code]
    return AuthFailure if status in (401, 403) else ProviderError


def translate(what: str, error: "AzureError", *, changes: bool) -> ProviderError:
    """Our error for one of the SDK's. `changes`: the call may have had an effect, so a lost answer is unknown."""
    from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ServiceRequestError

    if isinstance(error, HttpResponseError) and error.response is not None and error.status_code is not None:
        code, message = _verdict(error)
        kind = error_class(code, message, error.status_code)
        no_verdict = kind is ProviderError and (error.status_code >= 500 or error.status_code == 408)
        if changes and no_verdict:
            kind = OutcomeUnknown
        said = f"{code}: {message}" if message else code or f"HTTP status {error.status_code}"
        return kind(f"azure: {what}: {said}", hint=_HINTS.get(kind, ""), provider_code=code)
    if isinstance(error, ClientAuthenticationError):  # no credential was found, so nothing was asked
        return AuthFailure(f"azure: {what}: {_first_line(error)}", hint=_HINTS[AuthFailure])
    if changes and not (isinstance(error, ServiceRequestError) and _never_sent(error)):
        return OutcomeUnknown(f"azure: {what}: {_first_line(error)}", hint=_HINTS[OutcomeUnknown])
    return ProviderError(f"azure: {what}: {_first_line(error)}", hint="fleetctl doctor")


def timed_out(what: str, limit_s: float, *, changes: bool) -> ProviderError:
    """Our error for an answer that did not come in time."""
    kind = OutcomeUnknown if changes else ProviderError
    return kind(f"azure: {what}: no answer within {limit_s:g} s", hint=_HINTS.get(kind, "fleetctl doctor"))


def _verdict(error: object) -> tuple[str, str]:
    """Code and message, of the answer or of the operation that failed behind it."""
    found = getattr(error, "error", None)
    details = getattr(found, "details", None) or ()
    for one in (found, *details):
        # The outer code of some answers says only that something failed; the one that says why is inside.
        if one is not None and getattr(one, "code", None) in _CLASS_OF:
            return one.code, _one_line(one.message)
    if found is not None:
        return found.code or "", _one_line(found.message)
    return "", ""


def _never_sent(error: Exception) -> bool:
    """Whether the connection was refused or never came about: then the request had no effect."""
    from aiohttp import ClientConnectorError

    return isinstance(error.__cause__, ClientConnectorError)


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
