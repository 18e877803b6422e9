"""`explain --at` a time of which nothing is kept: the error names the oldest time, and a command that answers."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fleet_world import NO_STANDBY, START, World, a_service

from fleetctl.cli.explain import unrecorded
from fleetctl.controller.journal import Stretches, entry
from fleetctl.model.decisions import Plan
from fleetctl.model.names import ServiceName
from fleetctl.model.snapshots import Snapshot
from fleetctl.store import SqlStore, open_store
from fleetctl.views.explanation import explanation

CHAT, CODE = ServiceName("chat"), ServiceName("code")
BEGINS, SINCE = "2023-11-14T22:13:23Z", 1_700_000_003.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    """A journal of `chat` alone, from a fraction of a second after `START` + 2 s."""
    stretches, kept = Stretches(), []
    world = World(a_service(standby=NO_STANDBY))

    def keep(snapshot: Snapshot, made: Plan, _: World) -> None:
        kept.append((snapshot.now, entry(snapshot, made, stretches)))

    world.now = START + 2.25
    world.checks.append(keep)
    world.run(20.0)
    with closing(open_store(str(tmp_path / "fleet.db"))) as made:
        lease = made.acquire("test", ttl_s=60.0, now=START)
        assert lease is not None
        for at, body in kept:
            made.commit(Plan(at=at), fence=lease.fence, journal=body)
        yield made


def test_before_the_journal_begins_the_error_names_the_oldest_time_and_what_to_type(store: SqlStore) -> None:
    error = unrecorded(store, CHAT, "2023-11-14T22:00:00Z")

    assert str(error) == (
        f"no decision about chat is recorded at 2023-11-14T22:00:00Z: the oldest time that is kept is {BEGINS}"
    )
    assert error.hint == f"fleetctl explain chat --at {BEGINS}"
    assert explanation(store, CHAT, SINCE) is not None, "what is to be typed answers"


def test_a_service_that_is_younger_than_the_journal_is_explained_as_it_is_now(store: SqlStore) -> None:
    before, within = unrecorded(store, CODE, "2023-11-14T22:00:00Z"), unrecorded(store, CODE, "2023-11-14T22:13:30Z")

    assert before.hint == within.hint == "fleetctl explain code"
    assert BEGINS in str(before)
    assert "the fleet did not have it then" in str(within)


@pytest.mark.parametrize(("at", "when"), [(None, "yet"), ("10m", "at 10m")])
def test_without_any_journal_there_is_nothing_to_name(tmp_path: Path, at: str | None, when: str) -> None:
    with closing(open_store(str(tmp_path / "empty.db"))) as empty:
        error = unrecorded(empty, CHAT, at)

    assert str(error) == f"no decision about chat is recorded {when}"
    assert error.hint == "fleetctl run"
