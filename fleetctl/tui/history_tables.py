"""Tables of what happened and what will: events, starts, rollouts, schedules."""

import time
from collections.abc import Sequence
from typing import Final

from fleetctl.decide import trial
from fleetctl.model.decisions import Event
from fleetctl.model.rollouts import Rollout
from fleetctl.model.starts import Start
from fleetctl.tui.listing import Listing
from fleetctl.tui.table import Cell, TableColumn
from fleetctl.views.figures import ago
from fleetctl.views.looks import Look, ScheduleLine, schedule_lines

NIGHT_S: Final = 86400.0


def event_columns() -> tuple[TableColumn[Event], ...]:
    return (
        TableColumn(header="TIME", cell=lambda one: Cell(clock(one.at), "quiet"), width=8, order=lambda one: one.at),
        TableColumn(
            header="SUBJECT",
            cell=lambda one: Cell(one.subject.rpartition("/")[2], "strong"),
            width=16,
            drop=1,
            order=lambda one: one.subject,
        ),
        TableColumn(
            header="KIND",
            cell=lambda one: Cell(one.kind, _KINDS.get(one.kind, "")),
            width=8,
            drop=2,
            order=lambda one: one.kind,
        ),
        TableColumn(header="WHAT", cell=lambda one: Cell(one.message.replace("\n", "  ")), width=20, stretch=True),
    )


_KINDS = {"warning": "bad", "hold": "quiet", "scale": "busy", "rollout": "plan", "intent": "plan"}


def events() -> Listing[Event]:
    def rows(look: Look, of: str) -> Sequence[Event]:
        return [one for one in look.events if one.subject == of] if of else look.events

    return Listing(
        kind="",
        crumb="events",
        columns=event_columns(),
        rows=rows,
        name_of=lambda one: f"{one.at} {one.subject}",
        empty="nothing has happened yet",
    )


def schedules() -> Listing[ScheduleLine]:
    def rows(look: Look, of: str) -> Sequence[ScheduleLine]:
        lines = schedule_lines(look.view)
        return [one for one in lines if f"service/{one.service}" == of] if of else lines

    return Listing(
        kind="service",
        crumb="schedules",
        columns=(
            TableColumn(
                header="SERVICE", cell=lambda one: Cell(one.service, "strong"), width=10, order=lambda one: one.service
            ),
            TableColumn(
                header="LOCAL TIME",
                cell=lambda one: Cell(time.strftime("%a %H:%M", time.localtime(one.at))),
                width=10,
                order=lambda one: one.at,
            ),
            TableColumn(
                header="UTC",
                cell=lambda one: Cell(time.strftime("%a %H:%M", time.gmtime(one.at)), "quiet"),
                width=9,
                drop=2,
            ),
            TableColumn(
                header="IN",
                cell=lambda one: Cell(ago(one.at - time.time())),
                width=5,
                right=True,
                order=lambda one: one.at,
            ),
            TableColumn(header="SETS", cell=lambda one: Cell(one.what, "plan"), width=8),
            TableColumn(header="FOR", cell=lambda one: Cell(ago(one.duration_s)), width=5, right=True, drop=1),
            TableColumn(
                header="CRON", cell=lambda one: Cell(f"{one.cron} {one.tz}", "quiet"), width=20, drop=3, stretch=True
            ),
        ),
        rows=rows,
        name_of=lambda one: one.service,
        empty="no service has a schedule",
    )


def rollouts() -> Listing[Rollout]:
    def rows(look: Look, of: str) -> Sequence[Rollout]:
        found = [one for one in look.view.rollouts.values() if one.from_revision]
        return [one for one in found if not of or f"service/{one.service}" == of]

    return Listing(
        kind="service",
        crumb="rollouts",
        columns=(
            TableColumn(
                header="SERVICE", cell=lambda one: Cell(one.service, "strong"), width=10, order=lambda one: one.service
            ),
            TableColumn(
                header="STATE",
                cell=lambda one: Cell(
                    one.state, {"going": "busy", "paused": "warn", "aborted": "bad"}.get(one.state, "good")
                ),
                width=9,
                order=lambda one: one.state,
            ),
            TableColumn(header="FROM", cell=lambda one: Cell(one.from_revision, "quiet"), width=10, drop=2),
            TableColumn(header="TO", cell=lambda one: Cell(one.to_revision), width=10, drop=1),
            TableColumn(header="HOW IT STANDS", cell=lambda one: Cell(trial.told(one)[0]), width=20, stretch=True),
        ),
        rows=rows,
        name_of=lambda one: one.service,
        empty="no rollout yet; begin one: fleetctl deploy SERVICE --image IMAGE",
    )


def starts() -> Listing[Start]:
    def longest(one: Start) -> str:
        stages = [(stage.ended_at - stage.started_at, stage.name) for stage in one.stages if stage.ended_at is not None]
        return "{1} {0:.1f}s".format(*max(stages)) if stages else "-"

    return Listing(
        kind="replica",
        crumb="starts",
        columns=(
            TableColumn(
                header="REPLICA", cell=lambda one: Cell(one.replica, "strong"), width=12, order=lambda one: one.replica
            ),
            TableColumn(
                header="ENDED",
                cell=lambda one: Cell(clock(one.ended_at), "quiet"),
                width=8,
                order=lambda one: one.ended_at,
            ),
            TableColumn(
                header="OUTCOME",
                cell=lambda one: Cell(one.outcome, "good" if one.outcome == "ready" else "bad"),
                width=7,
                order=lambda one: one.outcome,
            ),
            TableColumn(
                header="TOOK",
                cell=lambda one: Cell(f"{one.took_s:.1f}s"),
                width=8,
                right=True,
                order=lambda one: one.took_s,
            ),
            TableColumn(
                header="FROM", cell=lambda one: Cell(one.origin, "plan"), width=7, order=lambda one: one.origin
            ),
            TableColumn(header="LONGEST STAGE", cell=lambda one: Cell(longest(one)), width=18, drop=1),
            TableColumn(
                header="MACHINE",
                cell=lambda one: Cell(f"{one.machine} {one.gpu} {one.provider}".strip(), "quiet"),
                width=14,
                drop=2,
                stretch=True,
            ),
        ),
        rows=lambda look, of: [one for one in look.starts if not of or f"service/{one.service}" == of],
        name_of=lambda one: one.replica,
        empty="no start is over yet",
    )


def clock(at: float) -> str:
    """`14:03:22`, of today; before, the day."""
    if time.time() - at > NIGHT_S:
        return time.strftime("%d %b", time.localtime(at))
    return time.strftime("%H:%M:%S", time.localtime(at))
