"""Tables of what was decided, what happened and what will: decisions, starts, rollouts, schedules."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from rich.text import Text

from fleetctl.decide import trial
from fleetctl.model.rollouts import Rollout
from fleetctl.model.starts import Start
from fleetctl.tui.listing import Listing
from fleetctl.tui.table import Cell, TableColumn, ends_of
from fleetctl.tui.tones import kind_glyph, kind_tone, state_text, state_tone, style_of
from fleetctl.views.decided import Told, told
from fleetctl.views.figures import ago, dollars
from fleetctl.views.looks import Look
from fleetctl.views.timetables import Turn, turns

SUBJECT: Final = 14
"""Columns of what a decision or an event is about."""
NIGHT_S: Final = 86400.0
TURNS_SHOWN: Final = 60
"""Of schedules: two screens of them; a schedule of every minute has as many in an hour."""


def told_columns(now: Callable[[], float]) -> tuple[TableColumn[Told], ...]:
    """Of decisions that stand, holds too, and of events."""

    def what(one: Told) -> Cell:
        glyph, word = kind_glyph(one.kind), one.what or one.kind
        if one.kind == "scale" and one.what:
            before, _, after = one.what.partition(" → ")
            glyph = kind_glyph("down" if _number(after) < _number(before) else "up")
        return Cell(f"{glyph} {word}", kind_tone(one.kind))

    return (
        TableColumn(
            header="TIME", cell=lambda one: Cell(clock(one.at, now()), "quiet"), width=8, order=lambda one: one.at
        ),
        TableColumn(
            header="SUBJECT",
            cell=lambda one: Cell(ends_of(one.subject.rpartition("/")[2], SUBJECT), "strong"),
            width=SUBJECT,
            drop=1,
            order=lambda one: one.subject,
        ),
        TableColumn(header="WHAT", cell=what, width=11, order=lambda one: one.kind),
        TableColumn(header="WHY", cell=lambda one: Cell(one.reason), width=20, stretch=True),
    )


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def told_name(one: Told) -> str:
    """What a decision that stands is called does not change when it says something else."""
    return one.subject if one.stands else f"{one.at} {one.subject} {one.reason}"


def told_text(one: Told, now: float) -> Text:
    """All of it."""
    text = Text(f"{clock(one.at, now)}  ", style_of("quiet")).append(one.subject, style_of("strong"))
    text.append(f"  {kind_glyph(one.kind)} {one.what or one.kind}\n\n", style_of(kind_tone(one.kind))).append(
        one.reason
    )
    if one.stands:
        text.append(f"\n\nThis is what holds now: fleetctl explain {one.subject.rpartition('/')[2]}", style_of("quiet"))
    return text


def events(now: Callable[[], float]) -> Listing[Told]:
    def rows(look: Look, of: str) -> Sequence[Told]:
        lines = told(look)
        return [one for one in lines if one.subject == of] if of else lines

    return Listing(
        crumb="events",
        columns=told_columns(now),
        rows=rows,
        name_of=told_name,
        subject_of=lambda one: one.subject,
        text_of=lambda one: told_text(one, now()),
        empty="nothing has happened yet",
        unnamed=True,
    )


def schedules(now: Callable[[], float]) -> Listing[Turn]:
    """Every moment to come at which a schedule begins or ends, and what becomes of the count and the price."""

    def rows(look: Look, of: str) -> Sequence[Turn]:
        return turns(look.view, TURNS_SHOWN, of.partition("/")[2] or None)

    def price(one: Turn) -> Cell:
        change = one.price_change_per_hour
        if change is None:
            return Cell("?", "quiet")
        return Cell(f"{'+' if change > 0 else '−' if change < 0 else ''}{dollars(abs(change))}")

    return Listing(
        crumb="schedules",
        columns=(
            TableColumn(
                header="SERVICE", cell=lambda one: Cell(one.service, "strong"), width=12, order=lambda one: one.service
            ),
            TableColumn(header="LOCAL TIME", cell=lambda one: Cell(one.clock), width=25, order=lambda one: one.at),
            TableColumn(header="UTC", cell=lambda one: Cell(one.utc, "quiet"), width=24, drop=4),
            TableColumn(
                header="IN",
                cell=lambda one: Cell(ago(one.at - now())),
                width=4,
                right=True,
                drop=3,
                order=lambda one: one.at,
            ),
            TableColumn(header="WHAT", cell=lambda one: Cell(f"◷ {', '.join(one.what)}", "plan"), width=16),
            TableColumn(
                header="COUNT", cell=lambda one: Cell(f"{one.before} → {one.after}"), width=7, right=True, drop=1
            ),
            TableColumn(
                header="$/H",
                cell=price,
                width=8,
                right=True,
                drop=2,
                order=lambda one: one.price_change_per_hour,
            ),
            TableColumn(
                header="NOTES", cell=lambda one: Cell("; ".join(one.notes), "warn"), width=16, drop=5, stretch=True
            ),
        ),
        rows=rows,
        name_of=lambda one: f"{one.service} {one.at} {one.what}",
        subject_of=lambda one: f"service/{one.service}",
        empty="no service has a schedule; a file gives it one: schedule: [{cron: ..., for: ..., min: ...}]",
        unnamed=True,
    )


def rollouts(now: Callable[[], float]) -> Listing[Rollout]:
    """The newest of each Service, its first revision's too: the same rows as `fleetctl get rollouts`."""

    def rows(look: Look, of: str) -> Sequence[Rollout]:
        found = look.view.rollouts.values()
        return sorted(
            (one for one in found if not of or f"service/{one.service}" == of),
            key=lambda one: (not one.open, -one.started_at),
        )

    def stands(one: Rollout) -> Cell:
        told, trouble = trial.told(one)
        if told:
            # Which revisions they are stands in columns of their own.
            return Cell(told.partition(": ")[2] or told, "bad" if trouble else "")
        ended = f"done {ago(now() - one.ended_at)} ago" if one.ended_at is not None else "as it was declared"
        took = f" in {ago(one.ended_at - one.started_at)}" if one.ended_at is not None else ""
        return Cell(f"{ended}{took}" if one.from_revision else "its first revision", "quiet")

    return Listing(
        crumb="rollouts",
        columns=(
            TableColumn(
                header="SERVICE", cell=lambda one: Cell(one.service, "strong"), width=8, order=lambda one: one.service
            ),
            TableColumn(
                header="STATE",
                cell=lambda one: Cell(state_text(one.state), state_tone(one.state)),
                width=10,
                order=lambda one: one.state,
            ),
            TableColumn(header="FROM", cell=lambda one: Cell(one.from_revision or "-", "quiet"), width=12, drop=2),
            TableColumn(header="TO", cell=lambda one: Cell(one.to_revision), width=12, drop=1),
            TableColumn(header="HOW IT STANDS", cell=stands, width=41, stretch=True),
        ),
        rows=rows,
        name_of=lambda one: one.service,
        subject_of=lambda one: f"service/{one.service}",
        played=False,
        empty="no rollout yet; begin one: fleetctl deploy SERVICE --image IMAGE",
    )


def starts(now: Callable[[], float]) -> Listing[Start]:
    def longest(one: Start) -> str:
        stages = [(stage.ended_at - stage.started_at, stage.name) for stage in one.stages if stage.ended_at is not None]
        return "{1} {0:.1f}s".format(*max(stages)) if stages else "-"

    return Listing(
        crumb="starts",
        columns=(
            TableColumn(
                header="REPLICA", cell=lambda one: Cell(one.replica, "strong"), width=18, order=lambda one: one.replica
            ),
            TableColumn(
                header="ENDED",
                cell=lambda one: Cell(clock(one.ended_at, now()), "quiet"),
                width=8,
                order=lambda one: one.ended_at,
            ),
            TableColumn(
                header="OUTCOME",
                cell=lambda one: Cell(state_text(one.outcome), state_tone(one.outcome)),
                width=8,
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
        name_of=lambda one: f"{one.replica} {one.ended_at}",
        subject_of=lambda one: f"replica/{one.replica}",
        empty="no start is over yet",
        unnamed=True,
    )


def clock(at: float, now: float) -> str:
    """`14:03:22` within a day of `now`; else the day."""
    if abs(now - at) > NIGHT_S:
        return time.strftime("%d %b", time.localtime(at))
    return time.strftime("%H:%M:%S", time.localtime(at))
