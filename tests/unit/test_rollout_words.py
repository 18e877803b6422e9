"""What people are told of a rollout, and where `rollout undo` goes."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from fleet_world import START, a_service

from fleetctl.cli.fleet_lists import SERVICES
from fleetctl.cli.following import earlier, given_up_or_paused
from fleetctl.decide.trial import told
from fleetctl.errors import Conflict, FleetError, NotFound
from fleetctl.model.decisions import Plan
from fleetctl.model.names import InstanceId, ReplicaId, ServiceName
from fleetctl.model.replicas import Replica, ReplicaPhase
from fleetctl.model.rollouts import Revision, Rollout, RolloutCounts, RolloutState
from fleetctl.model.snapshots import Intent
from fleetctl.store import SqlStore, open_store
from fleetctl.views.fleet import ServiceRow, fleet_view, service_rows

CHAT = ServiceName("chat")
ROW = Rollout(
    service=CHAT,
    from_revision="r1",
    to_revision="r2",
    started_at=START,
    counts=RolloutCounts(new=2, passed=1, old=3, draining=1, wanted=4),
)
ABORTED = replace(ROW, state=RolloutState.ABORTED, reason="3 starts in a row failed", ended_at=START + 90.0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    """A fleet that runs r1 and was handed r2."""
    with closing(open_store(str(tmp_path / "fleet.db"))) as made:
        made.put_service(a_service(image="old"), revision="r1", at=START)
        made.put_service(a_service(image="new"), revision="r2", at=START + 1.0)
        yield made


def row_of(store: SqlStore, rollout: Rollout) -> ServiceRow:
    """What `ps` shows of the fleet with this Rollout."""
    ready = Replica(
        id=ReplicaId("chat-1"),
        service=CHAT,
        revision="r1",
        phase=ReplicaPhase.READY,
        instance=InstanceId("i-1"),
        created_at=START,
        ready_at=START,
    )
    lease = store.acquire("test", ttl_s=60.0, now=START)
    assert lease is not None
    store.commit(Plan(at=START, replicas=(ready,), rollouts=(rollout,)), fence=lease.fence, journal=b"")
    (row,) = service_rows(fleet_view(store, "127.0.0.1:1", START + 100.0))
    return row


@pytest.mark.parametrize(
    ("rollout", "state", "cell", "why"),
    [
        (ROW, "rolling", "rolling 1/4", "one of four is counted on"),
        (replace(ROW, state=RolloutState.PAUSED), "paused", "paused 1/4", "by the user"),
        (ABORTED, "aborted", "aborted", "the old one serves"),
        (replace(ROW, state=RolloutState.DONE), "scaling", "scaling", "it is over"),
        (replace(ABORTED, ended_at=START), "scaling", "scaling", "handed in again since"),
        (replace(ROW, from_revision=""), "scaling", "scaling", "a first deployment replaces nothing"),
        (replace(ROW, to_revision="r0"), "scaling", "scaling", "declared anew; no controller has looked yet"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_ps_tells_a_rollout_in_a_word_with_counts(
    store: SqlStore, rollout: Rollout, state: str, cell: str, why: str
) -> None:
    row = row_of(store, rollout)

    shown = next(column for column in SERVICES if column.header == "STATE").cell(row)

    assert (row.state, shown) == (state, cell), why


def test_a_rollout_is_told_in_a_sentence_and_one_that_was_given_up_with_what_to_type() -> None:
    going, nothing = told(ROW)
    paused, _ = told(replace(ROW, state=RolloutState.PAUSED))
    _, trouble = told(ABORTED)

    assert going == "rollout r1 → r2: 1 of 4 count, 1 on their way, 3 old serve, 1 drain"
    assert nothing == ""
    assert paused == going + "; paused, go on with: fleetctl rollout resume chat"
    assert trouble == (
        "the rollout of r2 was given up, r1 goes on serving: 3 starts in a row failed; "
        "mend its file and run: fleetctl up chat; or take it back: fleetctl rollout undo chat"
    )
    assert told(None) == told(replace(ROW, state=RolloutState.DONE)) == told(replace(ROW, from_revision="")) == ("", "")


def test_who_waits_for_a_rollout_is_told_when_it_does_not_go_on() -> None:
    given_up_or_paused(ROW, START)
    given_up_or_paused(ABORTED, START + 91.0)  # an old story
    with pytest.raises(FleetError) as given_up:
        given_up_or_paused(ABORTED, START)
    with pytest.raises(Conflict) as paused:
        given_up_or_paused(replace(ROW, state=RolloutState.PAUSED), START)

    assert given_up.value.hint == "mend its file and run: fleetctl up chat; or take it back: fleetctl rollout undo chat"
    assert paused.value.hint == "fleetctl rollout resume chat"


def an_intent(*names: str) -> Intent:
    """Declared in this order; the last one holds."""
    revisions = tuple(Revision(name=name, service=a_service(), declared_at=float(at)) for at, name in enumerate(names))
    return Intent(service=a_service(), revision=names[-1], revisions=revisions)


@pytest.mark.parametrize(
    ("names", "row", "to", "expected", "why"),
    [
        (("r1", "r2"), ROW, None, "r1", "in the midst of it"),
        (("r1", "r2"), ABORTED, None, "r1", "given up"),
        (("r1", "rx", "r2"), ROW, None, "r1", "what serves, not what was declared in between"),
        (
            ("r1", "r2", "r3"),
            replace(ROW, state=RolloutState.DONE),
            None,
            "r2",
            "declared, not yet looked at: r2 serves",
        ),
        (("r1", "r2", "r3"), ROW, None, "r1", "declared, not yet looked at: r2 was on its way"),
        (("r1", "r2"), None, None, "r1", "no controller has ever looked"),
        (
            ("r0", "r2", "r1"),
            replace(ROW, from_revision="r2", to_revision="r1", state=RolloutState.UNDONE),
            None,
            "r0",
            "not back to what was left",
        ),
        (("abc", "abd", "r2"), ROW, "abd", "abd", "by its name"),
        (("abc", "r1", "r2"), ROW, "a", "abc", "by its first letter"),
    ],
)
def test_undo_goes_back_to_what_served_before(
    names: tuple[str, ...], row: Rollout | None, to: str | None, expected: str, why: str
) -> None:
    assert earlier(an_intent(*names), row, to).name == expected, why


@pytest.mark.parametrize(
    ("names", "to", "error", "message"),
    [
        (("r2",), None, Conflict, "no earlier revision to go back to"),
        (("r1", "r2"), "r2", NotFound, "revision r2 of chat is the present one"),
        (("r1", "r2"), "x", NotFound, "revision x of chat is not kept"),
        (("ab", "ac", "r2"), "a", NotFound, "revision a of chat fits several"),
    ],
)
def test_where_undo_cannot_go_is_said(
    names: tuple[str, ...], to: str | None, error: type[FleetError], message: str
) -> None:
    with pytest.raises(error) as caught:
        earlier(an_intent(*names), ROW, to)

    assert message in caught.value.message
