"""Other autoscalers' published rules, restated as Scalers: what their users have today.

Each is written anew from its documentation and source, with its defaults; the source stands in each file. Each is
tuned by its documented target alone. All see what fleetctl sees, one line per tick: where a peer samples faster
than the tick, its windows are filled with the lines there are; where it decides more rarely, it holds its last wish
in between.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fleetctl.sim.peers.aibrix import Aibrix
from fleetctl.sim.peers.dynamo import Dynamo
from fleetctl.sim.peers.hpa import Hpa
from fleetctl.sim.peers.keda import Keda
from fleetctl.sim.peers.knative import Knative
from fleetctl.sim.peers.ray_serve import RayServe
from fleetctl.sim.peers.skyserve import SkyServe
from fleetctl.sim.scalers import Scaler

CONCURRENCY_SHARES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7)
"""Of the engine's batch limit: the targets tried for whoever scales by concurrency. Knative's own default is 0.7."""
RATE_SHARES = (0.1, 0.2, 0.35, 0.5, 0.7)
"""Of the requests per second that a replica does at a full batch: the targets tried for whoever scales by rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What a user would find out by a load test before writing a peer's target down."""

    concurrency: int
    """Batch limit."""
    requests_per_s: float
    """Of the trace's mean request, at a full batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """How to make one peer's Scaler, with its documented target at a share of a replica's capacity."""

    name: str
    make: Callable[[Capacity, float, int], Scaler]
    """Capacity, share, and the replicas it starts with."""
    shares: Sequence[float]


PEERS: Mapping[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer(
            name="knative",
            make=lambda capacity, share, start: Knative(target=share * capacity.concurrency, start=start),
            shares=CONCURRENCY_SHARES,
        ),
        Peer(
            name="hpa",
            make=lambda capacity, share, start: Hpa(target=share * capacity.concurrency),
            shares=CONCURRENCY_SHARES,
        ),
        Peer(
            name="keda",
            make=lambda capacity, share, start: Keda(target=share * capacity.concurrency, min_replicas=1),
            shares=CONCURRENCY_SHARES,
        ),
        Peer(
            name="ray",
            make=lambda capacity, share, start: RayServe(target=share * capacity.concurrency),
            shares=CONCURRENCY_SHARES,
        ),
        Peer(
            name="skyserve",
            make=lambda capacity, share, start: SkyServe(target=share * capacity.requests_per_s, start=start),
            shares=RATE_SHARES,
        ),
        Peer(
            name="aibrix",
            make=lambda capacity, share, start: Aibrix(target=share * capacity.concurrency),
            shares=CONCURRENCY_SHARES,
        ),
        Peer(
            name="dynamo",
            make=lambda capacity, share, start: Dynamo(target=share * capacity.requests_per_s),
            shares=RATE_SHARES,
        ),
    )
}
