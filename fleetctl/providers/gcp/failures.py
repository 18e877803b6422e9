"""What an error of Google's means for us: who must act on it, and whether anything may have been done."""

import re
from collections.abc import Sequence

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

_LOGIN = (
    "gcloud auth application-default login, or a service account with the role of: fleetctl provider permissions gcp"
)
_SETTLE = "the next listing settles it: fleetctl ps"
_LATER = "it is tried again at the next tick"


class AlreadyThere(ProviderError):
    """Something of that name is there already; answered inside this package."""


_CLASSES: dict[str, type[ProviderError]] = {
    # An operation of Compute Engine says these in its error; cloud.google.com/compute/docs/troubleshooting
    "ZONE_RESOURCE_POOL_EXHAUSTED": NoCapacity,
    "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS": NoCapacity,
    "REGION_RESOURCE_POOL_EXHAUSTED": NoCapacity,
    "RESOURCE_POOL_EXHAUSTED": NoCapacity,
    "VM_MIN_COUNT_NOT_REACHED": NoCapacity,
    "insufficientCapacity": NoCapacity,
    "QUOTA_EXCEEDED": QuotaExceeded,
    "GPU_QUOTA_EXCEEDED": QuotaExceeded,
    "RATE_LIMIT_EXCEEDED": Throttled,
    "RESOURCE_OPERATION_RATE_EXCEEDED": Throttled,
    "CONCURRENT_OPERATIONS_QUOTA_EXCEEDED": Throttled,
    "PERMISSIONS_ERROR": AuthFailure,
    "PERMISSION_DENIED": AuthFailure,
    "INVALID_FIELD_VALUE": InvalidRequest,
    "INVALID_USAGE": InvalidRequest,
    "RESOURCE_NOT_FOUND": InvalidRequest,
    "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE": InvalidRequest,
    "RESOURCE_NOT_READY": ProviderError,
    "RESOURCE_ALREADY_EXISTS": AlreadyThere,
    # The reply to a call has these as the reason of its error.
    "quotaExceeded": QuotaExceeded,
    "dailyLimitExceeded": QuotaExceeded,
    "rateLimitExceeded": Throttled,
    "userRateLimitExceeded": Throttled,
    "concurrentLimitExceeded": Throttled,
    "authError": AuthFailure,
    "forbidden": AuthFailure,
    "insufficientPermissions": AuthFailure,
    "accessNotConfigured": AuthFailure,
    "billingNotEnabled": AuthFailure,
    "IAM_PERMISSION_DENIED": AuthFailure,
    "SERVICE_DISABLED": AuthFailure,
    "BILLING_DISABLED": AuthFailure,
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": AuthFailure,
    "invalid": InvalidRequest,
    "invalidParameter": InvalidRequest,
    "badRequest": InvalidRequest,
    "required": InvalidRequest,
    "conditionNotMet": InvalidRequest,
    "resourceInUseByAnotherResource": InvalidRequest,
    "notFound": Gone,
    "resourceNotReady": ProviderError,
}

_REQUEST = re.compile(r"^[A-Z]+ https?://\S+: ")
"""What the SDK puts before Google's own words."""

_HINTS: dict[type[ProviderError], str] = {
    NoCapacity: "another zone, type or market is tried: fleetctl explain SERVICE",
    QuotaExceeded: "ask for more at https://console.cloud.google.com/iam-admin/quotas",
    AuthFailure: _LOGIN,
    Throttled: "it is tried again later",
    InvalidRequest: "see what is asked for under providers.gcp of the fleet's file",
    Gone: "fleetctl ps",
    OutcomeUnknown: _SETTLE,
    ProviderError: _LATER,
}


def of_codes(what: str, told: Sequence[tuple[str, str]]) -> ProviderError:
    """The error that stands for what a finished operation says of itself: code and message, one or several.

    The first code that is known decides; of none, it is a plain `ProviderError` that carries the first.
    """
    code, message = next((one for one in told if one[0] in _CLASSES), told[0] if told else ("", "no reason given"))
    kind = _CLASSES.get(code, ProviderError)
    return kind(f"gcp: {what}: {message or code}", hint=_HINTS.get(kind, _LATER), provider_code=code)


def of_reply(what: str, *, status: int, reasons: Sequence[str], message: str, changing: bool) -> ProviderError:
    """The error that stands for a reply other than 2xx. A 5xx without a known reason leaves a change unknown."""
    code = next((reason for reason in reasons if reason in _CLASSES), reasons[0] if reasons else "")
    text = f"gcp: {what}: {message or f'HTTP {status}'}"
    kind = _CLASSES.get(code)
    if status == 409 and code in ("alreadyExists", "duplicate", ""):
        return AlreadyThere(text, provider_code=code)
    if status >= 500 and kind not in (NoCapacity, QuotaExceeded, Throttled):
        kind = OutcomeUnknown if changing else ProviderError
    elif status == 401:
        kind = AuthFailure
    elif status == 429 and kind is not QuotaExceeded:
        kind = Throttled
    elif kind is None:
        kind = ProviderError if code else _of_status(status)
    return kind(text, hint=_HINTS[kind], provider_code=code or str(status))


def _of_status(status: int) -> type[ProviderError]:
    match status:
        case 400 | 412:
            return InvalidRequest
        case 403:
            return AuthFailure
        case 404:
            return Gone
    return ProviderError


def translated(error: Exception, what: str, *, changing: bool) -> ProviderError | None:
    """Ours for an error that the SDK raised; None for one that is not the SDK's. Imports the SDK's core."""
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError, TransportError
    from google.protobuf.json_format import ParseError  # type: ignore[import-untyped]
    from requests.exceptions import ConnectTimeout, RequestException

    if isinstance(error, GoogleAPICallError):
        reasons = [str(one["reason"]) for one in error.errors if isinstance(one, dict) and one.get("reason")]
        if error.reason:
            reasons.append(str(error.reason))
        status = int(error.code or 500)
        message = _REQUEST.sub("", error.message)
        return of_reply(what, status=status, reasons=reasons, message=message, changing=changing)
    if isinstance(error, TransportError):
        return ProviderError(f"gcp: {what}: no token to be had: {error}", hint=_LATER)  # so nothing was sent
    if isinstance(error, GoogleAuthError):
        return AuthFailure(f"gcp: {what}: {error}", hint=_LOGIN, provider_code=type(error).__name__)
    if isinstance(error, RequestException | ParseError | OSError):
        if changing and not isinstance(error, ConnectTimeout) and not _never_connected(error):
            return OutcomeUnknown(f"gcp: {what}: the answer was lost: {error}", hint=_SETTLE)
        return ProviderError(f"gcp: {what}: no answer: {error}", hint=_LATER)
    return None


def _never_connected(error: BaseException) -> bool:
    """Whether no connection came about, so that the request cannot have arrived."""
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return type(reason).__name__ in ("NewConnectionError", "NameResolutionError", "ConnectTimeoutError")
