"""What past starts say, by origin and stage: what the next one takes, and what there is to take out of it."""

from collections.abc import Mapping, Sequence
from math import ceil

from fleetctl.decide.cold_start import cold_s, stages_s, standby_s
from fleetctl.decide.tiers import unsleepable
from fleetctl.model.records import dataclass
from fleetctl.model.replicas import Origin, Stage
from fleetctl.model.services import Service, Tier
from fleetctl.model.starts import Start, attributed, covered_s, spans

ORIGINS: tuple[Origin, ...] = ("hot", "asleep", "warm", "stopped", "cold")
"""Quickest first, which is the order in which they are taken."""
STAGES = (
    "slot",
    "launch",
    "boot",
    "install",
    "apply",
    "image",
    "weights",
    "cache",
    "gpus",
    "engine",
    "warm_up",
    "wake",
    "settle",
)
"""In the order of a start; one that is not here comes last."""
LATELY = 20
"""The next start is expected to be like so many before it: enough for a p95, few enough to follow a new image."""
_ALONGSIDE = ("image", "weights", "cache")
"""Stages that lie side by side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFigures:
    """One stage of the starts from one origin; seconds."""

    stage: str
    n: int
    """Starts that had it."""
    p50_s: float
    p95_s: float
    saves_s: float
    """By so much the median start would be shorter without it: the time in which nothing else went on."""
    origin_bytes: float | None
    """The median's; None: none were counted."""
    peer_bytes: float | None
    rate: float | None
    """Bytes a second, the median's; None: nothing moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginFigures:
    """The starts from one origin; seconds."""

    origin: Origin
    n: int
    """That ended well: the figures are of those."""
    failed: int
    p50_s: float | None
    """None: none ended well."""
    p95_s: float | None
    attributed: float | None
    """The least share of their time that lies in some stage."""
    stages: tuple[StageFigures, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStart:
    """What a start from one origin is expected to take."""

    origin: Origin
    seconds: float
    p95_s: float | None
    """None: not measured."""
    why: str
    """What it is taken from."""
    stages: tuple[tuple[str, float], ...]
    """(stage, seconds by which it would be shorter without it), in the order of a start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """The stage whose end would shorten a start most, and how to end it."""

    origin: Origin
    stage: str
    seconds: float
    share: float
    """Of the start."""
    advice: str


def figures(starts: Sequence[Start]) -> tuple[OriginFigures, ...]:
    """By origin, quickest first; an origin from which none started is left out."""
    found = (_of_origin(origin, [one for one in starts if one.origin == origin]) for origin in ORIGINS)
    return tuple(one for one in found if one.n or one.failed)


def _of_origin(origin: Origin, starts: Sequence[Start]) -> OriginFigures:
    good = [one for one in starts if one.outcome == "ready"]
    took = sorted(one.took_s for one in good)
    return OriginFigures(
        origin=origin,
        n=len(good),
        failed=len(starts) - len(good),
        p50_s=quantile(took, 0.5) if took else None,
        p95_s=quantile(took, 0.95) if took else None,
        attributed=min((attributed(one) for one in good), default=None),
        stages=tuple(_of_stage(stage, good) for stage in _stages_of(good)),
    )


def _stages_of(starts: Sequence[Start]) -> list[str]:
    order = {stage: place for place, stage in enumerate(STAGES)}
    names = {stage.name for one in starts for stage in one.stages}
    return sorted(names, key=lambda name: (order.get(name, len(order)), name))


def _of_stage(name: str, starts: Sequence[Start]) -> StageFigures:
    took, rates, from_origin, from_peers = [], [], [], []
    for start in starts:
        mine = [stage for stage in start.stages if stage.name == name]
        if not mine:
            continue
        took.append(covered_s(spans(mine, since=start.decided_at, until=start.ended_at)))
        for stage in mine:
            if stage.origin_bytes is None and stage.peer_bytes is None:
                continue
            from_origin.append(float(stage.origin_bytes or 0))
            from_peers.append(float(stage.peer_bytes or 0))
            moved_s = _moved_s(stage)
            if moved_s > 0 and from_origin[-1] + from_peers[-1] > 0:
                rates.append((from_origin[-1] + from_peers[-1]) / moved_s)
    return StageFigures(
        stage=name,
        n=len(took),
        p50_s=quantile(sorted(took), 0.5),
        p95_s=quantile(sorted(took), 0.95),
        # Of all starts, so that what few of them had counts little.
        saves_s=quantile(sorted(_alone_s(name, start) for start in starts), 0.5),
        origin_bytes=quantile(sorted(from_origin), 0.5) if from_origin else None,
        peer_bytes=quantile(sorted(from_peers), 0.5) if from_peers else None,
        rate=quantile(sorted(rates), 0.5) if rates else None,
    )


def _moved_s(stage: Stage) -> float:
    if stage.whole_s is not None:
        return stage.whole_s
    return 0.0 if stage.ended_at is None else stage.ended_at - stage.started_at


def _alone_s(name: str, start: Start) -> float:
    """Seconds of the start in which that stage went on and no other."""
    others = [stage for stage in start.stages if stage.name != name]
    since, until = start.decided_at, start.ended_at
    return covered_s(spans(start.stages, since=since, until=until)) - covered_s(spans(others, since=since, until=until))


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest of the values that so many of them do not exceed."""
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def next_start(
    service: Service, origin: Origin, starts: Sequence[Start], *, learned: Sequence[float] = (), revision: str = ""
) -> NextStart:
    """What the next start from there is expected to take: as the last ones did, as was learned, or as is guessed.

    `starts` are oldest first and from any origin; those of `revision` are preferred. `learned` are seconds of starts
    from there that the policy has seen.
    """
    good = [one for one in starts if one.outcome == "ready"]
    same = [one for one in good if one.origin == origin]
    last = ([one for one in same if one.revision == revision] or same)[-LATELY:]
    if last:
        found = _of_origin(origin, last)
        assert found.p50_s is not None
        what = "the last start" if len(last) == 1 else f"the last {len(last)} starts"
        older = "" if last[-1].revision == revision or not revision else " of an earlier revision"
        return NextStart(
            origin=origin,
            seconds=found.p50_s,
            p95_s=found.p95_s,
            why=f"as {what} from there{older}",
            stages=tuple((one.stage, one.saves_s) for one in found.stages),
        )
    parts = stages_s(service, origin)
    measured = {stage: _median_of(stage, good) for stage in parts}
    parts = {stage: known if (known := measured[stage]) is not None else guess for stage, guess in parts.items()}
    told = service.cold_start.cold_s if origin == "cold" else service.cold_start.standby_s
    total = _together(parts)
    if learned:
        seen_by_policy = "the one start" if len(learned) == 1 else f"{len(learned)} starts"
        seconds, why = quantile(sorted(learned), 0.5), f"as {seen_by_policy} that its policy has seen"
    elif told is not None:
        seconds, why = told, "as its file says in cold_start"
    elif any(value is not None for value in measured.values()):
        seen = [stage for stage, value in measured.items() if value is not None]
        rest = ", the rest guessed" if len(seen) < len(parts) else ""
        seconds, why = total, f"{' and '.join(seen)} as measured in other starts{rest}"
    else:
        seconds = cold_s(service) if origin == "cold" else standby_s(service, Tier(origin))
        why = "a guess by its image and its model's size"
    # Of a whole that is known, the parts are guessed shares.
    scale = seconds / total if total > 0 and (learned or told is not None) else 1.0
    return NextStart(
        origin=origin,
        seconds=seconds,
        p95_s=None,
        why=why,
        stages=tuple((stage, part * scale) for stage, part in _alone(parts).items()),
    )


def _median_of(stage: str, starts: Sequence[Start]) -> float | None:
    took = [
        covered_s(
            spans([one for one in start.stages if one.name == stage], since=start.decided_at, until=start.ended_at)
        )
        for start in starts
        if any(one.name == stage for one in start.stages)
    ]
    return quantile(sorted(took), 0.5) if took else None


def _together(parts: Mapping[str, float]) -> float:
    """Seconds of a start with these stages."""
    beside = [seconds for stage, seconds in parts.items() if stage in _ALONGSIDE]
    return sum(seconds for stage, seconds in parts.items() if stage not in _ALONGSIDE) + max(beside, default=0.0)


def _alone(parts: Mapping[str, float]) -> dict[str, float]:
    """By how much each stage makes the start longer."""
    total = _together(parts)
    return {
        stage: total - _together({other: seconds for other, seconds in parts.items() if other != stage})
        for stage in parts
    }


def biggest(service: Service, expected: NextStart) -> Saving | None:
    """What would shorten that start most; None: nothing is left to take out."""
    stage, seconds = max(expected.stages, key=lambda one: one[1], default=("", 0.0))
    if seconds <= 0 or expected.seconds <= 0:
        return None
    return Saving(
        origin=expected.origin,
        stage=stage,
        seconds=seconds,
        share=min(1.0, seconds / expected.seconds),
        advice=_advice(service, stage, expected.origin),
    )


def _advice(service: Service, stage: str, origin: Origin) -> str:
    loaded = "`standby: {tier: hot}`" if unsleepable(service) else "`standby: {tier: asleep}` or `{tier: hot}`"
    match stage:
        case "slot":
            return "it waits for a free slot: raise `max` of its pool, or the fleet's limit of cost"
        case "launch" | "boot" | "install" if origin == "stopped":
            return "`standby: {tier: warm}` has machines that run"
        case "launch" | "boot" | "install":
            return (
                "`standby: {tier: stopped}` or `{tier: warm}` has machines at hand; a machine image of one's own boots"
                " sooner: fleetctl image script"
            )
        case "image":
            return "`standby: {tier: warm}` holds it pulled; or put it into the machine image: fleetctl image script"
        case "weights":
            return (
                "`standby: {tier: warm}` holds them; nodes of one pool feed each other, and a bucket in the machines'"
                " region is nearer than a hub"
            )
        case "engine" | "cache" | "warm_up":
            return f"{loaded} has it loaded; what it compiles is kept for the same image, GPU and arguments: pin those"
        case "wake":
            return "`standby: {tier: hot}` is awake"
        case "gpus":
            return "it waits until another engine has left its GPUs: one more slot of standby is free at once"
        case "apply" | "settle":
            return "a shorter `period` of the fleet sees and tells it sooner"
    return "see it in: fleetctl describe replica/…"
