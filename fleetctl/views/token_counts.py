"""Tokens that Services read and wrote in a stretch of time, and what is not known of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fleetctl.model.history import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCount:
    """Tokens read and written, as far as engines or the gateway counted them."""

    tokens: float | None
    """None: nothing was counted."""
    requests: float
    """That came meanwhile, as far as their number is known."""
    uncounted_requests: float = 0.0
    """Of them, those that came while no tokens were counted."""
    whole: bool = True
    """False: some tokens are not among them."""

    def lacking(self, service: str) -> str:
        """What is not known of them, in a sentence; empty: nothing."""
        if self.tokens is None and not self.requests:
            return f"no request came to {service}"
        if self.tokens is None:
            return (
                f"nobody counts the tokens of {service}: its engine says nothing of them at its /metrics, nor in the"
                " usage of its answers"
            )
        if not self.whole:
            return (
                f"no tokens were counted for {self.uncounted_requests:,.0f} of {self.requests:,.0f} requests to"
                f" {service}: a million cost at most so much"
            )
        return ""


NOTHING = TokenCount(tokens=None, requests=0.0)


def tokens_of(intervals: Iterable[Interval]) -> TokenCount:
    """Of one Service."""
    tokens = requests = uncounted = 0.0
    counted, whole = False, True
    for one in intervals:
        # What an older fleetctl kept has only what was asked for.
        read = one.read_tokens if one.read_tokens is not None else one.input_tokens
        written = one.written_tokens if one.written_tokens is not None else one.output_tokens
        requests += one.arrivals or 0.0
        if read is None or written is None:
            uncounted += one.arrivals or 0.0
            whole = whole and one.arrivals == 0
        counted = counted or bool(read) or bool(written)
        tokens += (read or 0.0) + (written or 0.0)
    return TokenCount(tokens=tokens if counted else None, requests=requests, uncounted_requests=uncounted, whole=whole)


def together(counts: Mapping[str, TokenCount]) -> TokenCount:
    """Of several Services; one to which nothing came has no tokens, and one that counts none makes the rest a part."""
    known = [one for one in counts.values() if one.tokens is not None]
    silent = [one for one in counts.values() if one.tokens is None]
    return TokenCount(
        tokens=sum(one.tokens or 0.0 for one in known) if known else None,
        requests=sum(one.requests for one in counts.values()),
        uncounted_requests=sum(one.uncounted_requests for one in known) + sum(one.requests for one in silent),
        whole=all(one.whole for one in known) and not any(one.requests for one in silent),
    )
