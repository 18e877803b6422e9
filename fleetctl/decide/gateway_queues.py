"""The queues of several gateways as one, as if there were one gateway that never ends."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fleetctl.decide.histograms import grown, together
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.signals import Histogram, QueuePart, QueueStats

PARTS_MAX = 51
"""Tenants told by name, and the others as one: as many as one gateway tells of."""
OTHERS = "other"

GONE_REMEMBERED_MAX = 64
"""Gateways that are gone and may be heard again: one that was cut off goes on counting from where it was."""

Queues = Mapping[ServiceName, QueueStats]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What all gateways have counted, also those that are gone, and how far each of them had counted."""

    last: Mapping[str, Queues] = field(default_factory=dict)
    """By gateway's incarnation."""
    sums: Queues = field(default_factory=dict)
    """Their counters grow and never begin anew, whichever gateways come and go; the rest of them is of no meaning."""


def counted(before: Counted | None, now: Mapping[str, Queues]) -> Counted:
    """`before` brought up to `now`. None: what was counted before this moment is not known, and not told."""
    if before is None:
        return Counted(last=dict(now))
    sums = dict(before.sums)
    for incarnation, queues in now.items():
        for service, stats in queues.items():
            was = before.last.get(incarnation, {}).get(service)
            gained = stats if was is None else _gained(stats, was)
            sums[service] = _added(sums[service], gained) if service in sums else gained
    gone = [incarnation for incarnation in before.last if incarnation not in now][-GONE_REMEMBERED_MAX:]
    return Counted(last={**{one: before.last[one] for one in gone}, **now}, sums=sums)


def as_one(total: Counted, now: Iterable[Queues]) -> dict[ServiceName, QueueStats]:
    """What waits and runs at this moment in all of them, with the counters of `total`."""
    by_service: dict[ServiceName, list[QueueStats]] = {}
    for queues in now:
        for service, stats in queues.items():
            by_service.setdefault(service, []).append(stats)
    merged = {}
    for service, parts in by_service.items():
        in_flight: dict[ReplicaId, int] = {}
        for part in parts:
            for replica, count in part.in_flight:
                in_flight[replica] = in_flight.get(replica, 0) + count
        sums = total.sums.get(service) or _nothing(parts[0])
        merged[service] = replace(
            sums,
            at=min(part.at for part in parts),
            queued=sum(part.queued for part in parts),
            oldest_wait_s=max(part.oldest_wait_s for part in parts),
            in_flight=tuple(in_flight.items()),
            bands=_parts([part.bands for part in parts]),
            tenants=_largest(_parts([part.tenants for part in parts])),
        )
    return merged


def _nothing(like: QueueStats) -> QueueStats:
    """Counters that have counted nothing yet, of all that `like` counts."""
    return _gained(like, like)


def _gained(now: QueueStats, was: QueueStats) -> QueueStats:
    before = dict(was.sheds)
    return replace(
        now,
        arrived=_since(now.arrived, was.arrived),
        completed=_since(now.completed, was.completed),
        failed=_since(now.failed, was.failed),
        retries=_since(now.retries, was.retries),
        prefix_hits=_since(now.prefix_hits, was.prefix_hits),
        prefix_misses=_since(now.prefix_misses, was.prefix_misses),
        sheds=tuple((reason, _since(count, before.get(reason, 0))) for reason, count in now.sheds),
        input_tokens=_known_since(now.input_tokens, was.input_tokens),
        output_tokens=_known_since(now.output_tokens, was.output_tokens),
        ttft=grown(now.ttft, was.ttft),
        end_to_end=grown(now.end_to_end, was.end_to_end),
        inter_token=grown(now.inter_token, was.inter_token),
    )


def _added(sums: QueueStats, gained: QueueStats) -> QueueStats:
    sheds = dict(sums.sheds)
    for reason, count in gained.sheds:
        sheds[reason] = sheds.get(reason, 0) + count
    return replace(
        sums,
        arrived=sums.arrived + gained.arrived,
        completed=sums.completed + gained.completed,
        failed=sums.failed + gained.failed,
        retries=sums.retries + gained.retries,
        prefix_hits=sums.prefix_hits + gained.prefix_hits,
        prefix_misses=sums.prefix_misses + gained.prefix_misses,
        sheds=tuple(sheds.items()),
        input_tokens=_sum(sums.input_tokens, gained.input_tokens),
        output_tokens=_sum(sums.output_tokens, gained.output_tokens),
        ttft=_both(sums.ttft, gained.ttft),
        end_to_end=_both(sums.end_to_end, gained.end_to_end),
        inter_token=_both(sums.inter_token, gained.inter_token),
    )


def _since(now: int, was: int) -> int:
    """A counter that went back belongs to a gateway that was started anew: what it shows came since."""
    return now - was if now >= was else now


def _known_since(now: float | None, was: float | None) -> float | None:
    if now is None:
        return None
    return now - (was or 0.0) if now >= (was or 0.0) else now


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None and other is None else (one or 0.0) + (other or 0.0)


def _both(one: Histogram | None, other: Histogram | None) -> Histogram | None:
    known = [part for part in (one, other) if part is not None]
    return together(known) if known else None


def _parts(several: Sequence[Sequence[QueuePart]]) -> tuple[QueuePart, ...]:
    found: dict[str, QueuePart] = {}
    for parts in several:
        for part in parts:
            was = found.get(part.name)
            found[part.name] = (
                part
                if was is None
                else replace(was, queued=was.queued + part.queued, running=was.running + part.running)
            )
    return tuple(found.values())


def _largest(parts: Sequence[QueuePart]) -> tuple[QueuePart, ...]:
    if len(parts) <= PARTS_MAX:
        return tuple(parts)
    named = sorted(
        (part for part in parts if part.name != OTHERS), key=lambda part: (-part.queued - part.running, part.name)
    )
    rest = [*named[PARTS_MAX - 1 :], *(part for part in parts if part.name == OTHERS)]
    other = QueuePart(name=OTHERS, queued=sum(one.queued for one in rest), running=sum(one.running for one in rest))
    return (*named[: PARTS_MAX - 1], other)
