"""What a look at one part of the fleet's surroundings found."""

from typing import Literal

from fleetctl.model.records import dataclass

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of `fleetctl doctor`."""

    check: str
    status: Status
    detail: str
    fix: str = ""
    """The exact next step, where there is one."""
