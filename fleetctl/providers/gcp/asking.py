"""How the provider asks without blocking: requests in threads, and operations waited for within a limit."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from fleetctl.errors import Gone, OutcomeUnknown, ProviderError
from fleetctl.providers._shared.threads import Calls
from fleetctl.providers.gcp.api import Api, Limits
from fleetctl.providers.gcp.failures import of_codes

if TYPE_CHECKING:
    from google.cloud import compute_v1

T = TypeVar("T")

_WAITS = 64
"""Operations waited for at once. Each is a thread on a socket while the server holds its answer back, for up to two
minutes; more launches than this wait for a place, not for a listing."""

_MARGIN_S = 5.0
"""More than a request's own limit is left to its thread: the SDK's limit, which knows more, is to strike first."""

_LISTING_REQUESTS = 6
"""A call that reads may take this many requests' time: a listing of 3,000 machines has six pages."""


class Asking:
    """Calls of one `Api`, each in a thread. Raises `ProviderError`s."""

    def __init__(self, api: Api, limits: Limits) -> None:
        self._api = api
        self._limits = limits
        self._calls = Calls("gcp")
        self._waits = Calls("gcp-operations", threads=_WAITS)

    async def read(self, what: str, call: Callable[[], T]) -> T:
        """What the call brings: one request or all pages of a listing."""
        return await self._calls.read(what, call, limit_s=self._limits.read_s * _LISTING_REQUESTS + _MARGIN_S)

    async def change(self, what: str, call: Callable[[], T]) -> T:
        """What the call brings: one changing request, answered once it is accepted."""
        return await self._calls.change(what, call, limit_s=self._limits.change_s + _MARGIN_S)

    async def changed(self, what: str, call: Callable[[], "compute_v1.Operation"]) -> None:
        """Make the change and see it to its end."""
        await self.ended(what, await self.change(what, call))

    async def ended(self, what: str, operation: "compute_v1.Operation") -> None:
        """Wait until the operation has ended. Raises what went wrong; `OutcomeUnknown` when that stays unknown."""
        last = await self._settled(what, operation, self._limits.operation_s)
        if last is not None:
            raise OutcomeUnknown(
                f"gcp: {what} was accepted; how it ended is not known: {last}",
                hint="the next listing settles it: fleetctl ps",
                provider_code=getattr(last, "provider_code", ""),
            )

    async def accepted(self, what: str, operation: "compute_v1.Operation") -> None:
        """Give the operation a moment to be refused. One that goes on is no error: the listing shows how it goes."""
        await self._settled(what, operation, self._limits.glance_s)

    def close(self) -> None:
        self._calls.close()
        self._waits.close()

    async def _settled(self, what: str, operation: "compute_v1.Operation", limit_s: float) -> Exception | None:
        """None once it has ended well. Else why that is not known. Raises when it has ended in an error."""
        deadline = time.monotonic() + limit_s
        while not done(operation):
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return TimeoutError(f"it goes on after {limit_s:g} s")
            asked_at = time.monotonic()
            try:
                operation = await self._waits.read(
                    f"how it goes: {what}",
                    partial(self._api.wait, operation, left_s),
                    limit_s=left_s + _MARGIN_S,
                )
            except Gone as error:
                return error  # Google keeps operations for some weeks; one that it has forgotten tells nothing
            except ProviderError as error:
                if not error.retryable:
                    return error
                if deadline - time.monotonic() <= self._limits.pause_s:
                    return error
            if not done(operation) and time.monotonic() - asked_at < self._limits.pause_s:
                await asyncio.sleep(self._limits.pause_s)
        raise_its_error(what, operation)
        return None


def done(operation: "compute_v1.Operation") -> bool:
    return operation.status == type(operation).Status.DONE


def raise_its_error(what: str, operation: "compute_v1.Operation") -> None:
    """Raises what a finished operation says went wrong, if anything."""
    if told := [(error.code, error.message) for error in operation.error.errors]:
        raise of_codes(what, told)
    if operation.http_error_status_code >= 400:
        raise of_codes(what, [(str(operation.http_error_status_code), operation.http_error_message)])
