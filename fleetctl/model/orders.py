"""What a user asks of single Pools, Instances and Replicas by command."""

from enum import StrEnum

from fleetctl.model.records import dataclass


class Wish(StrEnum):
    """What is asked."""

    CORDON = "cordon"
    """Of a Pool or an Instance: nothing new is placed there; what runs goes on."""
    DRAIN = "drain"
    """Of a Pool or an Instance: what runs there moves off, and Instances are given back once they are empty. Of a
    Replica: another one takes its place, then it drains."""
    STOP = "stop"
    """Of a Replica: it ends at once, whatever it serves, and is replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One such wish. It holds until it is taken back, or until its subject is no more."""

    subject: str
    """`pool/…`, `instance/…` or `replica/…`."""
    wish: Wish
    at: float
    """Unix seconds."""
