"""What a process of the gateway is started with."""

import socket
import ssl
from dataclasses import dataclass
from typing import Final

from fleetctl.gateway.listening import Claim, Listening
from fleetctl.gateway.settings import Settings
from fleetctl.gateway.workers.controls import ControlEnd

SCHEDULER: Final = 0
"""The number of the scheduler; workers are counted from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What every process of one gateway shares."""

    public: Listening
    admin: socket.socket | None
    metrics: Listening | None
    claim: Claim | None
    connections_max: int
    """Of each worker."""
    context: ssl.SSLContext | None
    """The first process's, renewed when it is told to: what is started later need not find the files well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """What a process is started with."""

    number: int
    settings: Settings
    place: Place
    control: ControlEnd
    address: str
    guardian: int
    """The pid of the first process."""
    workers: int
    """How many there are now; the scheduler hears from each of them before it begins."""
