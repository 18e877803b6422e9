"""The gateways that have joined a fleet, as `ps`, `describe` and `doctor` show them."""

from collections.abc import Sequence

from fleetctl.model.checks import Check
from fleetctl.model.gateways import GatewayBeat, GatewayGrant
from fleetctl.model.names import ServiceName
from fleetctl.model.records import dataclass
from fleetctl.model.replicas import Replica, ReplicaPhase
from fleetctl.store import SqlStore
from fleetctl.views.figures import ago

SILENT_AFTER_S = 5.0
"""It beats once a second; clocks of several computers may differ by as much as some seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayLine:
    """One gateway of several."""

    name: str
    address: str
    """Empty: the controller's own, which is where `ps` says."""
    host: str
    slots: int
    """That it may use now."""
    running: int
    queued: int
    age_s: float | None
    """Since it counted that; None: it has no queue yet."""


def gateway_lines(store: SqlStore, now: float, replicas: Sequence[Replica] | None = None) -> list[GatewayLine]:
    """All of them where there is more than one; with `replicas` what concerns these alone."""
    beats, grants = store.gateways()
    if not beats:
        return []
    of = {grant.incarnation: grant for grant in grants}
    beating = {beat.incarnation for beat in beats}
    lines = [_line(beat, of.get(beat.incarnation), now, replicas) for beat in beats]
    for grant in grants:
        if grant.incarnation not in beating:
            slots = _slots(grant, replicas)
            name, _, host = grant.name.partition("@")
            lines.append(GatewayLine(name=name, address="", host=host, slots=slots, running=0, queued=0, age_s=None))
    return sorted(lines, key=lambda line: (bool(line.address), line.name))


def told(lines: Sequence[GatewayLine]) -> list[str]:
    """One sentence for each."""
    return [_told(line) for line in lines]


def gateway_checks(store: SqlStore, replicas: Sequence[Replica], now: float) -> list[Check]:
    """Whether each gateway that joined is heard, and what it cannot reach."""
    beats, grants = store.gateways()
    own = {grant.name.partition("@")[2] for grant in grants if grant.name.startswith("controller@")}
    there = [row for row in replicas if row.phase is ReplicaPhase.READY and row.address is not None]
    checks = []
    for beat in beats:
        age_s = _age_s(beat, now)
        subject = f"gateway/{beat.name}"
        near = [row for row in there if (row.address or "").startswith(("127.", "localhost", "[::1]"))]
        if age_s is not None and age_s > SILENT_AFTER_S:
            checks.append(
                Check(
                    check=subject,
                    status="fail",
                    detail=f"{beat.address} on {beat.host} was last heard {ago(age_s)} ago",
                    fix=f"look at it on {beat.host}: it needs a way to the store",
                )
            )
        elif near and own and beat.host not in own:
            checks.append(
                Check(
                    check=subject,
                    status="warn",
                    detail=f"it has no way to {len(near)} of {len(there)} replicas: only {min(own)} reaches them,"
                    " through its SSH tunnels or on itself",
                    fix=f"send their services' requests to the gateway on {min(own)}",
                )
            )
        else:
            checks.append(Check(check=subject, status="ok", detail=f"{beat.address} on {beat.host}"))
    return checks


def _line(beat: GatewayBeat, grant: GatewayGrant | None, now: float, replicas: Sequence[Replica] | None) -> GatewayLine:
    services = None if replicas is None else {row.service for row in replicas}
    queues = [one for one in beat.queues if services is None or ServiceName(one.service) in services]
    return GatewayLine(
        name=beat.name,
        address=beat.address,
        host=beat.host,
        slots=0 if grant is None else _slots(grant, replicas),
        running=sum(count for one in queues for _, count in one.in_flight),
        queued=sum(one.queued for one in queues),
        age_s=_age_s(beat, now),
    )


def _slots(grant: GatewayGrant, replicas: Sequence[Replica] | None) -> int:
    if replicas is None:
        return sum(grant.slots.values())
    return sum(grant.slots.get(row.id, 0) for row in replicas)


def _age_s(beat: GatewayBeat, now: float) -> float | None:
    newest = max((one.at for one in beat.queues), default=None)
    return None if newest is None else max(0.0, now - newest)


def _told(line: GatewayLine) -> str:
    if not line.address:
        return f"gateway of the controller on {line.host}: {line.slots} slots"
    said = f"gateway {line.name} at {line.address} on {line.host}: {line.slots} slots, {line.running} running"
    if line.queued:
        said += f", {line.queued} queued"
    silent = line.age_s is not None and line.age_s > SILENT_AFTER_S
    return f"{said}; last heard {ago(line.age_s or 0.0)} ago" if silent else said
