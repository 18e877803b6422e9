"""The client of the library, against a store that a controller's ticks were committed to."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fleet_world import START, World, a_service, an_offer

import fleetctl
from fleetctl.controller.journal import Stretches, entry
from fleetctl.model.decisions import Event, Plan
from fleetctl.model.history import Interval
from fleetctl.model.names import PoolName, ProviderName, ReplicaId, ServiceName
from fleetctl.model.replicas import Stage
from fleetctl.model.services import Placement, Pool
from fleetctl.model.snapshots import Snapshot
from fleetctl.model.starts import Start
from fleetctl.paths import Home
from fleetctl.spec.fleet import FleetConfig
from fleetctl.store import SqlStore, open_store
from fleetctl.store.schema import MIGRATIONS
from fleetctl.wiring import save_config

CHAT = ServiceName("chat")
BEGAN = Start(
    service=CHAT,
    revision="r1",
    replica=ReplicaId("chat-1"),
    decided_at=START,
    ended_at=START + 40.0,
    stages=(Stage(name="boot", started_at=START, ended_at=START + 30.0),),
)
CAME = [
    Interval(t_from=START, t_to=START + 10.0, arrivals=5.0, input_tokens=500.0, output_tokens=100.0),
    Interval(t_from=START + 30.0, t_to=START + 40.0, arrivals=3.0, input_tokens=300.0, output_tokens=60.0),
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A fleet whose one service settled on one machine, as a controller stored it tick by tick."""
    save_config(Home(tmp_path), FleetConfig(gateway_listen="127.0.0.1:9"))
    service = a_service()
    world = World(service, offers=[an_offer(price=2.0)])
    stretches, kept = Stretches(), []

    def keep(snapshot: Snapshot, made: Plan, _: World) -> None:
        kept.append((made, entry(snapshot, made, stretches)))

    world.checks.append(keep)
    world.load(3)
    world.run(200.0)
    with closing(open_store(str(tmp_path / "fleet.db"))) as store:
        store.put_service(service, revision="r1", at=START)
        lease = store.acquire("test", ttl_s=60.0, now=START)
        assert lease is not None
        for made, body in kept:
            store.commit(made, fence=lease.fence, journal=body)
        last = Plan(at=world.now, starts=(BEGAN,), instances=tuple(world.instances.values()))
        store.commit(last, fence=lease.fence, journal=kept[-1][1], history=[(CHAT, one) for one in CAME])
        store.add_events([Event(at=START + 50.0, kind="scale", subject="service/code", message="1 → 2: more")])
    return tmp_path


@pytest.fixture
def client(home: Path) -> Iterator[fleetctl.Client]:
    with fleetctl.Client(home) as made:
        yield made


def stored(home: Path) -> SqlStore:
    return open_store(str(home / "fleet.db"), read_only=True)


def test_services_replicas_and_instances_are_those_of_ps(client: fleetctl.Client) -> None:
    (service,) = client.services()
    replicas, instances = client.replicas("chat"), client.instances()

    assert (service.name, service.ready, service.endpoint) == ("chat", 1, "http://127.0.0.1:9/chat/v1")
    assert [one.phase for one in replicas] == ["ready"]
    assert [one.price_per_hour for one in instances] == [2.0]
    assert [one.name for one in client.replicas()] == [one.name for one in replicas]
    assert replicas.to_dicts()[0]["instance"] == instances[0].name


def test_decisions_are_whole_and_explained(client: fleetctl.Client) -> None:
    (decision,) = client.decisions()

    found = client.explanation("chat", decision.at)

    assert found.decision == decision
    assert decision.stages
    assert fleetctl.explain(found, now=decision.at).startswith("service/chat  hold 1  at ")


def test_an_earlier_decision_is_told_by_unix_seconds_or_by_a_datetime(client: fleetctl.Client) -> None:
    then = START + 4.0

    by_seconds = client.explanation("chat", then)

    assert by_seconds.decision.at <= then
    assert client.explanation("chat", datetime.fromtimestamp(then, UTC)) == by_seconds
    with pytest.raises(fleetctl.NotFound, match="no decision about chat is recorded"):
        client.explanation("chat", START - 3600.0)


def test_events_are_cut_by_time_subject_and_number(client: fleetctl.Client) -> None:
    everything = client.events()

    assert len(everything) > 2
    assert [one.subject for one in client.events(since=START + 50.0)] == ["service/code"]
    assert {one.subject for one in client.events(subject="service/code")} == {"service/code"}
    assert client.events(limit=1) == everything[-1:]
    with pytest.raises(fleetctl.UsageError, match="limit is 0"):
        client.events(limit=0)


def test_starts_have_their_stages(client: fleetctl.Client) -> None:
    found = client.starts("chat")

    assert BEGAN in found
    assert found == client.starts()
    assert {one["name"] for one in found.to_dicts()[-1]["stages"]} >= {"boot"}


def test_history_is_what_came_in_and_can_be_played(client: fleetctl.Client) -> None:
    rows = client.history("chat", since=START, until=START + 100.0)
    traffic = client.traffic("chat", since=START)

    assert list(rows) == CAME
    assert (len(traffic), traffic.duration_s) == (8, 40.0)
    (outcome,) = fleetctl.simulate(a_service(), traffic, best=False)
    assert outcome.share_within > 0
    assert client.history("chat") == (), "by default the last week, and this was in 2023"
    with pytest.raises(fleetctl.NotFound, match="nothing is recorded of traffic to chat"):
        client.traffic("chat")


def test_a_service_that_is_not_there_is_told_with_the_nearest(client: fleetctl.Client) -> None:
    for ask in (client.replicas, client.starts, client.history, client.explanation):
        with pytest.raises(fleetctl.NotFound, match="there is no service 'caht'") as caught:
            ask("caht")
        assert caught.value.hint == "did you mean chat?"


def test_it_changes_nothing_unless_it_may(home: Path, client: fleetctl.Client) -> None:
    with pytest.raises(fleetctl.ReadOnly, match="this client only looks"):
        client.scale("chat", 2)
    with pytest.raises(fleetctl.ReadOnly):
        client.release("chat")

    with closing(stored(home)) as store:
        assert store.intents()[0][0].override is None


def test_a_count_set_by_hand_is_kept_for_undo(home: Path) -> None:
    with fleetctl.Client(home, read_only=False) as client:
        client.scale("chat", 2, for_s=7200.0)

        with closing(stored(home)) as store:
            override = store.intents()[0][0].override
            changes = [one.command for one in store.changes_made(since=0.0)]
        client.release("chat")

    assert override is not None
    assert override.replicas == 2
    assert override.until is not None
    assert changes == ["scale chat=2 --for 7200s"]
    with closing(stored(home)) as store:
        assert store.intents()[0][0].override is None
        assert len(store.changes_made(since=0.0)) == 2


@pytest.mark.parametrize(
    ("replicas", "for_s", "message"),
    [(9, None, "chat: 9 is more than its max of 8"), (-1, None, "-1 replicas"), (1, 0.0, "1 replicas for 0.0 s")],
)
def test_a_count_that_cannot_be_is_refused(home: Path, replicas: int, for_s: float | None, message: str) -> None:
    with (
        fleetctl.Client(home, read_only=False) as client,
        pytest.raises(fleetctl.UsageError, match=message),
    ):
        client.scale("chat", replicas, for_s=for_s)

    with closing(stored(home)) as store:
        assert store.intents()[0][0].override is None


def with_limit(home: Path, limit: float) -> None:
    """A machine of the fleet's pool costs two dollars an hour, and the fleet may cost so many."""
    save_config(Home(home), FleetConfig(max_cost_per_hour=limit))
    with closing(open_store(str(home / "fleet.db"))) as store:
        store.put_pool(Pool(name=PoolName("chat"), gpu=a_service().gpu, price_per_hour=2.0), at=START)


async def test_a_count_above_the_fleets_limit_is_refused_beneath_a_running_event_loop_too(home: Path) -> None:
    with_limit(home, 5.0)

    with fleetctl.Client(home, read_only=False) as client:
        with pytest.raises(fleetctl.OverBudget, match=r"\$6.00/h are needed .* may cost at most \$5.00/h"):
            client.scale("chat", 3)
        client.scale("chat", 2)

    with closing(stored(home)) as store:
        override = store.intents()[0][0].override
    assert override is not None
    assert override.replicas == 2


def test_more_rented_machines_want_a_yes_and_nobody_is_asked(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    nowhere = {"regions": ["us-east-1"], "endpoint": "http://127.0.0.1:1"}
    save_config(Home(home), FleetConfig(providers={"aws": nowhere}))
    with closing(open_store(str(home / "fleet.db"))) as store:
        rented = replace(a_service(), placement=Placement(providers=(ProviderName("aws"),)))
        store.put_service(rented, revision="r1", at=START)

    with fleetctl.Client(home, read_only=False) as client:
        with pytest.raises(fleetctl.ConfirmationNeeded, match="nobody said yes to: This rents machines: ") as caught:
            client.scale("chat", 3)
        assert caught.value.hint == "agree with: scale('chat', …, yes=True)"
        client.scale("chat", 3, yes=True)

    with closing(stored(home)) as store:
        assert store.intents()[0][0].override is not None


def test_where_there_is_no_fleet_none_is_made(tmp_path: Path) -> None:
    for read_only in (True, False):
        with pytest.raises(fleetctl.NotFound, match="there is no fleet in"):
            fleetctl.Client(tmp_path / "empty", read_only=read_only)

    assert not (tmp_path / "empty").exists()


def test_a_store_may_lie_elsewhere(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")

    with fleetctl.Client(other, store=home / "fleet.db") as client:
        assert [one.name for one in client.services()] == ["chat"]


def test_a_store_of_a_newer_fleetctl_is_refused(home: Path) -> None:
    with closing(sqlite3.connect(home / "fleet.db")) as raw:
        raw.execute("UPDATE schema_version SET version = ?", (len(MIGRATIONS) + 1,))
        raw.commit()

    for read_only in (True, False):
        with pytest.raises(fleetctl.Conflict, match="was written by a newer fleetctl"):
            fleetctl.Client(home, read_only=read_only)
