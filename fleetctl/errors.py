"""Every error fleetctl raises on purpose. The class says who must act; each carries its exit code.

FleetError
├── UsageError                exit 2    the user: the words of the command are wrong
│   └── SpecError             exit 2    the user: a file is wrong, at file:line
├── ConfirmationNeeded        exit 3    the user: it spends or destroys, and nobody said yes
├── ReadOnly                  exit 5    the user: this context is only looked at
├── OverBudget                exit 9    the user: it would cost more an hour than the fleet may
├── NotFound                  exit 4    the user: no such service, pool, instance, replica
├── TimedOut                  exit 6    nobody: the operation goes on, the command stopped waiting
├── Conflict                  exit 7    the user: another controller, a port in use, a newer store
│   └── LeaseLost             exit 7    the controller: it must stop acting at once
├── StoreFailure              exit 1    a person: the store cannot be read or written
├── AgentFailure              exit 1    the next tick: a node did not answer as expected
├── MissingDependency         exit 1    the user: an extra is not installed
└── ProviderError             exit 1    the next tick: one attempt at a provider failed
    ├── NoCapacity            exit 8    the next tick, elsewhere
    ├── QuotaExceeded         exit 8    a person: raise the quota
    ├── AuthFailure           exit 5    a person: credentials or permissions
    ├── Throttled             exit 1    the next tick, later
    ├── InvalidRequest        exit 1    a person: the provider refuses what we ask
    ├── Gone                  exit 1    the next tick: the thing no longer exists
    └── OutcomeUnknown        exit 1    the next listing settles it, never a guess
"""

from typing import ClassVar


class FleetError(Exception):
    """What happened, to what; `hint` is the exact next command or step, `code` the stable name for JSON output."""

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "failure"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(FleetError):
    exit_code = 2
    code = "usage"


class SpecError(UsageError):
    """A file that cannot be used; `message` starts with `file:line:`."""

    code = "spec"


class ConfirmationNeeded(FleetError):
    exit_code = 3
    code = "confirmation_needed"


class ReadOnly(FleetError):
    exit_code = 5
    code = "read_only"


class OverBudget(FleetError):
    exit_code = 9
    code = "budget"


class NotFound(FleetError):
    exit_code = 4
    code = "not_found"


class TimedOut(FleetError):
    exit_code = 6
    code = "timeout"
    retryable = True


class Conflict(FleetError):
    exit_code = 7
    code = "conflict"


class LeaseLost(Conflict):
    code = "lease_lost"


class StoreFailure(FleetError):
    code = "store"


class AgentFailure(FleetError):
    code = "agent"
    retryable = True


class MissingDependency(FleetError):
    code = "missing_dependency"


class ProviderError(FleetError):
    """One attempt failed; `provider_code` is the provider's own word for it, kept for people."""

    code = "provider"
    retryable = True

    def __init__(self, message: str, *, hint: str = "", provider_code: str = "") -> None:
        super().__init__(message, hint=hint)
        self.provider_code = provider_code


class NoCapacity(ProviderError):
    exit_code = 8
    code = "capacity"


class QuotaExceeded(ProviderError):
    exit_code = 8
    code = "quota"
    retryable = False


class AuthFailure(ProviderError):
    exit_code = 5
    code = "auth"
    retryable = False


class Throttled(ProviderError):
    code = "throttled"


class InvalidRequest(ProviderError):
    code = "invalid"
    retryable = False


class Gone(ProviderError):
    code = "gone"
    retryable = False


class OutcomeUnknown(ProviderError):
    code = "unknown_outcome"
