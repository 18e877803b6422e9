"""Who may enter: from the API key of a request to its Tenant."""

import hashlib
from dataclasses import dataclass
from heapq import heapify, heappop
from typing import Final

from fleetctl.gateway.limits import CREDENTIAL_LIMIT_BYTES
from fleetctl.gateway.replies import Refusal
from fleetctl.gateway.scheduler.ticket import Band
from fleetctl.model.names import ServiceName
from fleetctl.model.routes import Identity, KeyEntry, TenantEntry

_BEARER: Final = b"bearer "
_BANDS: Final = {"high": Band.HIGH, "normal": Band.NORMAL, "low": Band.LOW}
_CHALLENGE: Final = 'WWW-Authenticate: Bearer realm="fleetctl"\r\n'


@dataclass(frozen=True, slots=True)
class Pass:
    """What its key lets a request do."""

    tenant: str
    key: str
    """The key's id, never the key."""
    band: Band
    services: frozenset[ServiceName] | None
    """None: all."""

    def may_use(self, service: ServiceName) -> bool:
        return self.services is None or service in self.services


OPEN: Final = Pass("", "", Band.NORMAL, None)
"""Where no key is asked for."""

_NOBODY_KNOWN: Final = Refusal(
    status=503,
    code="no_identity",
    message="The gateway has not been told yet who may use it. Its controller tells it within a second; where it runs "
    "alone, start it with keys or with `--auth none`.",
    retry_after_s=1,
)
_NO_KEY: Final = Refusal(
    status=401,
    code="missing_api_key",
    message="No API key was given. Send it as `Authorization: Bearer KEY`; make one with `fleetctl keys create`.",
    extra=_CHALLENGE,
)
_WRONG_KEY: Final = Refusal(
    status=401,
    code="invalid_api_key",
    message="The API key is unknown, expired or revoked. Make one with `fleetctl keys create`.",
    extra=_CHALLENGE,
)


class Entry:
    """The keys known now. A key is looked up by its SHA-256: how long that takes says nothing about other keys."""

    __slots__ = ("_by_digest", "_expiring", "_used", "generation", "known", "required")

    def __init__(self) -> None:
        self.known = False
        """Whether anybody has said who may enter."""
        self.required = True
        self.generation = 0
        """Changes with everything that a Pass was made from: an older one is void."""
        self._by_digest: dict[bytes, Pass] = {}
        self._expiring: list[tuple[float, bytes]] = []
        self._used: set[str] = set()

    def identify(self, identity: Identity, at: float) -> None:
        """Take this in place of what was known. A key whose Tenant is not listed does not open. `at` is Unix time.

        Raises `ValueError`, and nothing changes, for a digest or a priority that is none.
        """
        tenants = {tenant.name: tenant for tenant in identity.tenants}
        keys = [(bytes.fromhex(key.sha256), key) for key in identity.keys if key.tenant in tenants]
        self._by_digest = {digest: _pass(key, tenants[key.tenant]) for digest, key in keys}
        self._expiring = [(key.expires_at, digest) for digest, key in keys if key.expires_at is not None]
        heapify(self._expiring)
        self.generation += 1
        self.known, self.required = True, identity.required
        self.advance(at)

    def advance(self, at: float) -> None:
        """Forget the keys that have expired at this Unix time."""
        while self._expiring and self._expiring[0][0] <= at:
            self._by_digest.pop(heappop(self._expiring)[1], None)
            self.generation += 1

    def admit(self, authorization: bytes, api_key: bytes) -> Pass | Refusal:
        """By the value of `Authorization`, else by that of `x-api-key` or `api-key`; empty: not sent."""
        if not self.required:
            return OPEN
        if not self.known:
            return _NOBODY_KNOWN
        key = api_key
        if authorization[:7].lower() == _BEARER:
            key = authorization[7:].strip(b" ")
        if not key:
            return _NO_KEY
        if len(key) > CREDENTIAL_LIMIT_BYTES:
            return _WRONG_KEY
        found = self._by_digest.get(hashlib.sha256(key).digest())
        if found is None:
            return _WRONG_KEY
        self._used.add(found.key)
        return found

    def take_used(self) -> tuple[str, ...]:
        """Ids of the keys that came since this was last called."""
        used, self._used = self._used, set()
        if used:
            self.generation += 1  # or a key that comes again on an old connection would not be noted again
        return tuple(sorted(used))


def _pass(key: KeyEntry, tenant: TenantEntry) -> Pass:
    """A key narrows its Tenant, and never widens it."""
    band = _band(tenant.priority)
    if key.priority is not None:
        band = max(band, _band(key.priority))
    services = None if tenant.services is None else frozenset(tenant.services)
    if key.services is not None:
        services = frozenset(key.services) if services is None else services & frozenset(key.services)
    return Pass(tenant.name, key.id, band, services)


def _band(priority: str) -> Band:
    band = _BANDS.get(priority)
    if band is None:
        raise ValueError(f"{priority!r} is no priority: it is high, normal or low")
    return band
