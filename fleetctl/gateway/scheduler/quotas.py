"""Who may ask how much: each Tenant's limits. Pure: no clock; time is an argument (seconds, of any origin).

One request goes through `admit`, maybe `dispatched` and `returned` any number of times, and `ended` once:

* `admit` takes what the request may need from its Tenant's limits, or refuses it and takes nothing;
* `dispatched` says that a replica has it: from now on it costs;
* `returned` says that the replica failed it and it waits again: it costs nothing once more;
* `ended` settles. One that no replica had gives back everything; the others pay what they really used.

Each is O(1) and may be repeated: what a request holds is noted in its Ticket and given back once.
"""

from datetime import UTC, datetime
from math import ceil, isfinite
from typing import Final

from fleetctl.errors import UsageError
from fleetctl.gateway.replies import Refusal
from fleetctl.gateway.scheduler.ticket import Ticket
from fleetctl.gateway.scheduler.token_buckets import TokenBucket
from fleetctl.model.routes import Identity, TenantEntry, TenantLimits, TenantUse

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
        if account.month != self._month:
            account.roll(self._month)
        taken, made = ticket.input_tokens, ticket.output_tokens
        tokens = (taken if taken > 0 else 0) + (made if made > 0 else 0)
        if account.limited:
            refusal = self._month_refusal(account, tokens, now) or account.refusal(tokens, now)
            if refusal is not None:
                return refusal
            account.take(tokens, now)
        account.in_flight += 1
        account.reserved += tokens
        ticket.held = _Held(account, tokens, now)
        return None

    def dispatched(self, ticket: Ticket, now: float) -> None:
        """A replica has it."""
        held = ticket.held
        if isinstance(held, _Held):
            held.dispatched = True

    def returned(self, ticket: Ticket, now: float) -> None:
        """The replica failed it before it had an answer, and it waits again."""
        held = ticket.held
        if isinstance(held, _Held):
            held.dispatched = False

    def ended(
        self, ticket: Ticket, now: float, input_tokens: int = 0, output_tokens: int = 0, *, answered: bool = True
    ) -> None:
        """It is over, in whatever way. Tokens as its engine counted them; none: it did not say, so an estimate counts.

        One that a replica failed (`answered` is false) costs its request and, unless they were counted, no tokens.
        """
        held = ticket.held
        if not isinstance(held, _Held):
            return
        ticket.held = None
        if now >= self._month_ends_s:
            self._begin_month(now)
        account = held.account
        if account.month != self._month:
            account.roll(self._month)
        used = 0
        if held.dispatched:
            used = (input_tokens if input_tokens > 0 else 0) + (output_tokens if output_tokens > 0 else 0)
            if not used and answered:
                used = max(0, ticket.input_tokens)
        account.in_flight -= 1
        account.reserved -= held.tokens
        account.used += used
        account.counted += used
        if account.limited:
            account.settle(held, used, now)

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


class _Held:
    """What one request has taken: one of the requests, and so many tokens of each limit that there was then."""

    __slots__ = ("account", "dispatched", "of_requests", "of_tokens", "since_s", "tokens")

    def __init__(self, account: "_Account", tokens: int, now: float) -> None:
        self.account = account
        self.tokens = tokens
        self.since_s = now
        self.dispatched = False
        self.of_requests = account.requests is not None
        self.of_tokens = account.tokens is not None


class _Account:
    """One Tenant: its limits, and what is taken of them."""

    __slots__ = (
        "_before", "_stay_s", "counted", "in_flight", "in_flight_limit", "limited", "month", "month_limit", "name",
        "requests", "reserved", "tokens", "used",
    )  # fmt: skip

    def __init__(self, name: str) -> None:
        self.name = name
        self.limited = False
        """By anything; else it is only counted."""
        self.in_flight = 0
        self.in_flight_limit: int | None = None
        self.month_limit: int | None = None
        self.used = 0
        """Tokens in the month, by all gateways as far as is known."""
        self.reserved = 0
        """Tokens that requests which wait or run may still use."""
        self.requests: TokenBucket | None = None
        self.tokens: TokenBucket | None = None
        self._stay_s = STAY_AT_FIRST_S
        self.month = ""
        """What `used` and `counted` are of."""
        self.counted = 0
        """Tokens in the month, by this gateway."""
        self._before: TenantUse | None = None

    def change(self, entry: TenantEntry, month: str, now: float) -> None:
        limits = entry.limits
        self.in_flight_limit = limits.in_flight
        self.month_limit = limits.tokens_per_month
        self.requests = _changed(self.requests, limits.requests_per_minute, now)
        self.tokens = _changed(self.tokens, limits.tokens_per_minute, now)
        self.limited = limits != TenantLimits()
        self.roll(month)
        if entry.month == month:
            self.used = max(self.used, entry.tokens_used)

    def roll(self, month: str) -> None:
        if month == self.month:
            return
        if self.counted:
            self._before = TenantUse(tenant=self.name, month=self.month, tokens=self.counted)
        self.month, self.counted, self.used = month, 0, 0

    def refusal(self, tokens: int, now: float) -> Refusal | None:
        """Why a request of so many tokens cannot be taken now; of two reasons the one that lasts longer."""
        requests_s = 0.0 if self.requests is None else self.requests.wait_s(1, now)
        tokens_s = 0.0 if self.tokens is None else self.tokens.wait_s(tokens, now)
        if self.tokens is not None and tokens_s > 0 and tokens_s >= requests_s:
            limit = self.tokens.rate_per_s * 60
            return _refuse(
                "tenant_tokens",
                f"Tenant {self.name} may use {limit:.15g} tokens per minute, and this request may take {tokens}, "
                "more than is left.",
                tokens_s,
            )
        if self.requests is not None and requests_s > 0:
            limit = self.requests.rate_per_s * 60
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

    def take(self, tokens: int, now: float) -> None:
        if self.requests is not None:
            self.requests.take(1, now)
        if self.tokens is not None:
            self.tokens.take(tokens, now)

    def settle(self, held: _Held, used: int, now: float) -> None:
        if self.requests is not None and held.of_requests and not held.dispatched:
            self.requests.give_back(1, now)
        if self.tokens is not None and held.of_tokens:  # what was used before there was a limit is not paid
            self.tokens.give_back(held.tokens - used, now)
        self._stay_s += STAY_SHARE * (max(0.0, now - held.since_s) - self._stay_s)

    def uses(self) -> tuple[TenantUse, ...]:
        now = () if not self.counted else (TenantUse(tenant=self.name, month=self.month, tokens=self.counted),)
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
