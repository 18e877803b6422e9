"""Starts of Replicas as pictures and as documents: those that are over and those that go on."""

from collections.abc import Sequence
from typing import Any

import msgspec

from fleetctl.decide.starts import over
from fleetctl.model.replicas import Replica, Stage
from fleetctl.model.starts import Start, attributed
from fleetctl.views.charts import Bar, WaterfallRow, waterfall
from fleetctl.views.figures import bytes_text


def whole(replica: Replica) -> Start | None:
    """The start of a Replica that has ended well; None: it goes on, or it was found running."""
    ended_at = replica.ready_at if replica.ready_at is not None else replica.asleep_at
    if ended_at is None or not over(replica):
        return None
    return Start(
        service=replica.service,
        revision=replica.revision,
        replica=replica.id,
        role=replica.role,
        instance=replica.instance,
        origin=replica.origin,
        decided_at=replica.created_at,
        ended_at=ended_at,
        stages=tuple(stage for stage in replica.stages if _within(stage, replica.created_at)),
    )


def cold_start(replica: Replica) -> WaterfallRow:
    """The stages of one start, in seconds since it was decided, in one row."""
    stages = [stage for stage in replica.stages if _within(stage, replica.created_at)]
    return WaterfallRow(
        label=f"{replica.id} ({replica.origin})", bars=tuple(_bar(stage, replica.created_at) for stage in stages)
    )


def drawn(stages: Sequence[Stage], *, since: float, width: int, colour: bool) -> list[str]:
    """One start, a row for each of its stages, with what moved in it and how fast."""
    rows: dict[str, WaterfallRow] = {}
    for stage in (stage for stage in stages if _within(stage, since)):
        known = rows.get(stage.name)
        bars = () if known is None else known.bars
        rows[stage.name] = WaterfallRow(label=stage.name, bars=(*bars, _bar(stage, since)), note=_moved(stage))
    return waterfall(list(rows.values()), width=width, colour=colour, legend=False)


def documented(start: Start) -> dict[str, Any]:
    """A start for programs, with what follows from it."""
    body: dict[str, Any] = msgspec.to_builtins(start)
    return {**body, "took_s": start.took_s, "attributed": attributed(start)}


def _within(stage: Stage, since: float) -> bool:
    """A standby fetched its artifacts before it was wanted; that is no part of the start."""
    return stage.ended_at is None or stage.ended_at > since


def _bar(stage: Stage, since: float) -> Bar:
    return Bar(
        stage=stage.name,
        start_s=max(0.0, stage.started_at - since),
        end_s=None if stage.ended_at is None else stage.ended_at - since,
    )


def _moved(stage: Stage) -> str:
    """`1.2 GB, 410 MB/s, 75 % from peers`; empty: nothing that was counted moved."""
    moved = (stage.origin_bytes or 0) + (stage.peer_bytes or 0)
    if not moved:
        return stage.detail
    took_s = stage.whole_s
    if took_s is None and stage.ended_at is not None:
        took_s = stage.ended_at - stage.started_at
    parts = [bytes_text(moved)]
    if took_s:
        parts.append(f"{bytes_text(moved / took_s)}/s")
    if stage.peer_bytes:
        parts.append(f"{stage.peer_bytes / moved:.0%} from peers")
    return ", ".join(parts)
