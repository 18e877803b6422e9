"""EC2's error codes, each with the one of our errors that says who must act.

Codes: EC2 API Reference, "Error codes for the Amazon EC2 API"; Service Quotas, SSM and STS references for theirs.
"""

from fleetctl.errors import (
    AuthFailure,
    FleetError,
    Gone,
    InvalidRequest,
    NoCapacity,
    OutcomeUnknown,
    ProviderError,
    QuotaExceeded,
    Throttled,
)

_CLASS_OF: dict[str, type[ProviderError]] = {
    code: kind
    for kind, codes in (
        (
            NoCapacity,
            (
                "InsufficientInstanceCapacity",
                "InsufficientHostCapacity",
                "InsufficientReservedInstanceCapacity",
                "InsufficientCapacityOnHost",
                "InsufficientCapacity",
                "InsufficientVolumeCapacity",
                "InsufficientFreeAddressesInSubnet",
                "ReservationCapacityExceeded",
                "SpotMaxPriceTooLow",
                "Unsupported",  # of a type that the zone does not have: another zone is the answer, as with the rest
            ),
        ),
        (
            QuotaExceeded,
            (
                "InstanceLimitExceeded",
                "VcpuLimitExceeded",
                "MaxSpotInstanceCountExceeded",
                "VolumeLimitExceeded",
                "NetworkInterfaceLimitExceeded",
                "SecurityGroupLimitExceeded",
                "RulesPerSecurityGroupLimitExceeded",
                "VpcLimitExceeded",
                "SubnetLimitExceeded",
                "InternetGatewayLimitExceeded",
                "KeyPairLimitExceeded",
                "TagLimitExceeded",
            ),
        ),
        (
            AuthFailure,
            (
                "AuthFailure",
                "AuthFailure.ServiceLinkedRoleCreationNotPermitted",
                "UnauthorizedOperation",
                "AccessDenied",
                "AccessDeniedException",
                "Blocked",
                "ExpiredToken",
                "ExpiredTokenException",
                "IncompleteSignature",
                "InvalidClientTokenId",
                "MissingAuthenticationToken",
                "OptInRequired",
                "PendingVerification",
                "RequestExpired",
                "SignatureDoesNotMatch",
                "UnrecognizedClientException",
            ),
        ),
        (
            Throttled,
            (
                "RequestLimitExceeded",
                "Throttling",
                "ThrottlingException",
                "ThrottledException",
                "RequestThrottled",
                "RequestThrottledException",
                "TooManyRequestsException",
                "EC2ThrottledException",
                "BandwidthLimitExceeded",
                "SlowDown",
            ),
        ),
        (Gone, ("InvalidInstanceID.NotFound",)),
        (
            InvalidRequest,
            (
                "DependencyViolation",
                "IdempotentParameterMismatch",
                "OperationNotPermitted",
                "ParameterNotFound",
                "UnknownParameter",
                "UnsupportedOperation",
                "ValidationError",
                "VolumeInUse",
            ),
        ),
    )
    for code in codes
}

_INVALID_STARTS = ("Invalid", "Missing")
"""Of the many codes for a request that is wrong in itself, as in `InvalidAMIID.NotFound`."""

_HINTS: dict[type[ProviderError], str] = {
    AuthFailure: "aws sts get-caller-identity, then: fleetctl provider permissions aws",
    QuotaExceeded: "ask for more: aws service-quotas list-service-quotas --service-code ec2",
}


def refusal(what: str, code: str, message: str, status: int, *, changing: bool) -> ProviderError:
    """Our error for one of EC2's answers: what was asked, its code, its words and its HTTP status."""
    kind = _CLASS_OF.get(code)
    if kind is None and code.startswith(_INVALID_STARTS) and status < 500:
        kind = InvalidRequest
    if kind is None and changing and status >= 500:
        # No verdict: EC2 may have done it before it broke.
        return OutcomeUnknown(f"aws: {what}: {status} {code}: {message}", provider_code=code)
    kind = kind or ProviderError
    return kind(f"aws: {what}: {code}: {message}", hint=_HINTS.get(kind, ""), provider_code=code)


_NO_CREDENTIALS = frozenset(
    {
        "NoCredentialsError",
        "PartialCredentialsError",
        "CredentialRetrievalError",
        "TokenRetrievalError",
        "SSOError",
        "SSOTokenLoadError",
        "UnauthorizedSSOTokenError",
        "ProfileNotFound",
        "LoginRefreshRequired",
    }
)
_NEVER_SENT = frozenset({"EndpointConnectionError", "ConnectTimeoutError", "ProxyConnectionError", "NoRegionError"})


def no_answer(what: str, error: Exception, *, changing: bool) -> FleetError:
    """Our error for a request that the SDK could not bring to an answer. Told apart by name, so nothing is imported."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    code = type(error).__name__
    if kinds & _NO_CREDENTIALS:
        return AuthFailure(f"aws: {what}: {error}", hint="aws configure, then: fleetctl doctor", provider_code=code)
    if "ParamValidationError" in kinds:
        return InvalidRequest(f"aws: {what}: {error}", provider_code=code)
    if changing and not kinds & _NEVER_SENT:
        return OutcomeUnknown(
            f"aws: {what}: no answer, and it may be done: {error}", hint="fleetctl ps", provider_code=code
        )
    return ProviderError(f"aws: {what}: no answer: {error}", provider_code=code)
