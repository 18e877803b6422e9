"""Who may ask how much: each Tenant's limits. Pure: no clock; time is an argument (seconds, of any origin).

One request goes through `admit`, maybe `dispatched` and `returned` any number of times, and `ended` once:

* `admit` takes what the request may need from its Tenant's limits, or refuses it and takes nothing;
* `dispatched` says that a replica has it: from now on it costs;
* `returned` says that the replica failed it and it waits again: it costs nothing once more;
* `ended` settles. One that no replica had gives back everything; the others pay what they really used.

Each is O(1) and may be repeated: what a request holds is noted in its Ticket and given back once.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil, isfinite
from typing import Final

from fleetctl.errors import UsageError
from fleetctl.gateway.replies import Refusal
from fleetctl.gateway.scheduler.ticket import Ticket
from fleetctl.gateway.scheduler.token_buckets import TokenBucket
from fleetctl.model.routes import Identity, TenantEntry, TenantUse

TENANTS_MAX: Final = 10_000
"""Tenants that are tracked; about 1 kB each, so that the largest list still takes only 10 MB."""
STAY_SHARE: Final = 0.1
"""Weight of the newest request in the average time that requests stay: the last dozen decide."""
STAY_AT_FIRST_S: Final = 1.0
"""How long requests stay, as long as none has ended."""
WAIT_MAX_S: Final = 60
"""The longest wait that is told where nobody can know: a request may end at any moment."""
MONTH_RESERVED_WAIT_S: Final = 5
"""Told when only what runs now could use up the month: most answers are shorter than they may be, and end soon."""


class Quotas:
    """The limits of every Tenant, and what is taken of them. A request without a Tenant has no limits."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}
        self._month = ""
        self._month_ends_s = float("-inf")
        self._unix_offset_s = 0.0
        """Unix time less `now`."""

    def identify(self, identity: Identity, now: float, at: float) -> None:
        """Replace the Tenants. `at`: Unix time at `now`. Those known before keep what they have taken.

        Raises `UsageError` for more Tenants than are tracked, and then changes nothing.
        """
        if len(identity.tenants) > TENANTS_MAX:
            raise UsageError(
                f"{len(identity.tenants)} tenants are more than the {TENANTS_MAX} that a gateway tracks",
                hint="give several of them one tenant",
            )
        self.set_clock(now, at)
        before = self._accounts
        self._accounts = {}
        for entry in identity.tenants:
            account = before.get(entry.name) or _Account(entry.name)
            account.change(entry, self._month, now)
            self._accounts[entry.name] = account
        # one that left stays known while requests of it run, and for what was counted: it may come back
        for name, account in before.items():
            kept = account.in_flight or (account.uses() and len(self._accounts) < TENANTS_MAX)
            if kept and name not in self._accounts:
                account.change(TenantEntry(name=name), self._month, now)
                self._accounts[name] = account

    def set_clock(self, now: float, at: float) -> None:
        """`at` is the Unix time at `now`; say so again from time to time, for clocks are set."""
        self._unix_offset_s = at - now
        self._begin_month(now)

    def admit(self, ticket: Ticket, now: float) -> Refusal | None:
        """Take what it may need of its Tenant's limits; or say which of them is used up, and take nothing."""
        account = self._accounts.get(ticket.tenant)
        if account is None or ticket.held is not None:
            return None
        if now >= self._month_ends_s:
            self._begin_month(now)
        account.roll(self._month)
        tokens = max(0, ticket.input_tokens) + max(0, ticket.output_tokens)
        refusal = self._month_refusal(account, tokens, now) or account.refusal(tokens, now)
        if refusal is None:
            ticket.held = account.hold(ticket, tokens, now)
        return refusal

    def dispatched(self, ticket: Ticket, now: float) -> None:
        """A replica has it."""
        if isinstance(ticket.held, _Held):
            ticket.held.dispatched = True

    def returned(self, ticket: Ticket, now: float) -> None:
        """The replica failed it before it had an answer, and it waits again."""
        if isinstance(ticket.held, _Held):
            ticket.held.dispatched = False

    def ended(
        self, ticket: Ticket, now: float, input_tokens: int = 0, output_tokens: int = 0, *, answered: bool = True
    ) -> None:
        """It is over, in whatever way. Tokens as its engine counted them; none: it did not say, so an estimate counts.

        One that a replica failed (`answered` is false) costs its request and, unless they were counted, no tokens.
        """
        held, ticket.held = ticket.held, None
        if not isinstance(held, _Held):
            return
        if now >= self._month_ends_s:
            self._begin_month(now)
        used = max(0, input_tokens) + max(0, output_tokens)
        if used == 0 and held.dispatched and answered:
            used = held.input_tokens
        held.account.roll(self._month)
        held.account.settle(held, used if held.dispatched else 0, now)

    def used(self) -> tuple[TenantUse, ...]:
        """What was counted here, of this month and, where there was one, the month before."""
        return tuple(use for account in self._accounts.values() for use in account.uses())

    def in_flight(self, tenant: str) -> int:
        """Requests of it that wait or run; 0 for one that is not known."""
        account = self._accounts.get(tenant)
        return 0 if account is None else account.in_flight

    def _month_refusal(self, account: "_Account", tokens: int, now: float) -> Refusal | None:
        """Strict, and never for longer than it must be: while others run, what they do not use comes back."""
        limit = account.month_limit
        if limit is None:
            return None
        if account.used >= limit:
            return _refuse(
                "tenant_month",
                f"Tenant {account.name} has used its {limit} tokens of {self._month} ({account.used} by now). They are "
                "counted anew when the month ends (UTC).",
                self._month_ends_s - now,
            )
        if account.reserved and account.used + account.reserved + tokens > limit:
            return _refuse(
                "tenant_month",
                f"Tenant {account.name} may use {limit} tokens in {self._month}; it has used {account.used}, and what "
                f"runs now may use {account.reserved} more.",
                MONTH_RESERVED_WAIT_S,
            )
        return None

    def _begin_month(self, now: float) -> None:
        at = datetime.fromtimestamp(now + self._unix_offset_s, UTC)
        after = datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)
        self._month = f"{at.year:04}-{at.month:02}"
        self._month_ends_s = after.timestamp() - self._unix_offset_s


@dataclass(slots=True, kw_only=True)
class _Held:
    """What one request has taken."""

    account: "_Account"
    requests: int
    """Of the bucket of requests; 0 where there was none."""
    bucket_tokens: int | None
    """Of the bucket of tokens; None: there was none."""
    tokens: int
    """Of the month."""
    input_tokens: int
    since_s: float
    dispatched: bool = False


class _Account:
    """One Tenant: its limits, and what is taken of them."""

    __slots__ = (
        "_before", "_counted", "_month", "_requests", "_stay_s", "_tokens", "in_flight", "in_flight_limit",
        "month_limit", "name", "reserved", "used",
    )  # fmt: skip

    def __init__(self, name: str) -> None:
        self.name = name
        self.in_flight = 0
        self.in_flight_limit: int | None = None
        self.month_limit: int | None = None
        self.used = 0
        """Tokens in the month, by all gateways as far as is known."""
        self.reserved = 0
        """Tokens that requests which wait or run may still use."""
        self._requests: TokenBucket | None = None
        self._tokens: TokenBucket | None = None
        self._stay_s = STAY_AT_FIRST_S
        self._month = ""
        self._counted = 0
        """Tokens in the month, by this gateway."""
        self._before: TenantUse | None = None

    def change(self, entry: TenantEntry, month: str, now: float) -> None:
        limits = entry.limits
        self.in_flight_limit = limits.in_flight
        self.month_limit = limits.tokens_per_month
        self._requests = _changed(self._requests, limits.requests_per_minute, now)
        self._tokens = _changed(self._tokens, limits.tokens_per_minute, now)
        self.roll(month)
        if entry.month == month:
            self.used = max(self.used, entry.tokens_used)

    def roll(self, month: str) -> None:
        if month == self._month:
            return
        if self._counted:
            self._before = TenantUse(tenant=self.name, month=self._month, tokens=self._counted)
        self._month, self._counted, self.used = month, 0, 0

    def refusal(self, tokens: int, now: float) -> Refusal | None:
        """Why a request of so many tokens cannot be taken now; of two reasons the one that lasts longer."""
        requests_s = 0.0 if self._requests is None else self._requests.wait_s(1, now)
        tokens_s = 0.0 if self._tokens is None else self._tokens.wait_s(tokens, now)
        if self._tokens is not None and tokens_s > 0 and tokens_s >= requests_s:
            limit = self._tokens.rate_per_s * 60
            return _refuse(
                "tenant_tokens",
                f"Tenant {self.name} may use {limit:.15g} tokens per minute, and this request may take {tokens}, "
                "more than is left.",
                tokens_s,
            )
        if self._requests is not None and requests_s > 0:
            limit = self._requests.rate_per_s * 60
            return _refuse(
                "tenant_requests", f"Tenant {self.name} may send {limit:.15g} requests per minute, and has.", requests_s
            )
        if self.in_flight_limit is not None and self.in_flight >= self.in_flight_limit:
            return _refuse(
                "tenant_in_flight",
                f"Tenant {self.name} may have {self.in_flight_limit} requests waiting or running at once, and has "
                f"{self.in_flight}.",
                min(self._stay_s / max(1, self.in_flight), WAIT_MAX_S),
            )
        return None

    def hold(self, ticket: Ticket, tokens: int, now: float) -> _Held:
        held = _Held(
            account=self,
            requests=0 if self._requests is None else 1,
            bucket_tokens=None if self._tokens is None else tokens,
            tokens=tokens,
            input_tokens=max(0, ticket.input_tokens),
            since_s=now,
        )
        self.in_flight += 1
        self.reserved += tokens
        if self._requests is not None:
            self._requests.take(1, now)
        if self._tokens is not None:
            self._tokens.take(tokens, now)
        return held

    def settle(self, held: _Held, used: int, now: float) -> None:
        self.in_flight -= 1
        self.reserved -= held.tokens
        self.used += used
        self._counted += used
        if self._requests is not None and not held.dispatched:
            self._requests.give_back(held.requests, now)
        if self._tokens is not None and held.bucket_tokens is not None:
            self._tokens.give_back(held.bucket_tokens - used, now)  # what was used before there was a limit is not paid
        self._stay_s += STAY_SHARE * (max(0.0, now - held.since_s) - self._stay_s)

    def uses(self) -> tuple[TenantUse, ...]:
        now = () if not self._counted else (TenantUse(tenant=self.name, month=self._month, tokens=self._counted),)
        return now if self._before is None else (self._before, *now)


def _changed(bucket: TokenBucket | None, per_minute: float | None, now: float) -> TokenBucket | None:
    if per_minute is None:
        return None
    if bucket is None:
        return TokenBucket(per_minute, least=1.0, now=now)
    bucket.change(per_minute, least=1.0, now=now)
    return bucket


def _refuse(code: str, message: str, wait_s: float) -> Refusal:
    return Refusal(
        status=429,
        code=code,
        message=message,
        retry_after_s=max(1, ceil(wait_s)) if isfinite(wait_s) else None,
    )
