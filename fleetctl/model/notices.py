"""What a cloud says beforehand of a machine that it will take away, or may."""

from typing import Literal

from fleetctl.model.records import dataclass

NoticeKind = Literal["spot", "maintenance", "rebalance"]

HEED_WITHIN_S = 1800.0
"""A machine announced to go later than this is left alone for now: bringing another takes half an hour at the very most
(`BOOT_LIMIT_S`), and maintenance is announced up to weeks ahead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One machine's notice, as its node agent read it from its cloud's metadata service."""

    kind: NoticeKind
    """spot: the cloud takes its capacity back. maintenance: the host goes down. rebalance: either is likely soon."""
    deadline_at: float | None = None
    """Unix seconds at which the machine goes; None: not said, so at any moment."""
    estimated: bool = False
    """The deadline is when the notice was first read plus the time that the cloud promises."""
    detail: str = ""
    """The cloud's own words."""

    def presses(self, now: float) -> bool:
        """Whether the machine has to be left now. A hint never presses."""
        if self.kind == "rebalance":
            return False
        return self.deadline_at is None or self.deadline_at - now <= HEED_WITHIN_S

    def told(self, now: float) -> str:
        """In words, as in `spot notice, gone in 118 s (terminate)`."""
        when = ""
        if self.deadline_at is not None:
            left_s = self.deadline_at - now
            when = f", gone in {left_s:.0f} s" if left_s > 0 else f", due {-left_s:.0f} s ago"
        return f"{self.kind} notice{when}" + (f" ({self.detail})" if self.detail else "")
