"""The gateway is told who may enter when that changes, or when it does not know; what it tells is kept."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fleetctl.controller.entrance import USE_EVERY_S, Entrance
from fleetctl.errors import AgentFailure, LeaseLost
from fleetctl.model.keys import ApiKey, EntryReport
from fleetctl.model.names import ServiceName
from fleetctl.model.routes import Identity, Routes, TenantEntry, TenantLimits, TenantUse
from fleetctl.model.signals import QueueStats, Starved
from fleetctl.store import SqlStore, open_store

START = datetime(2026, 11, 21, tzinfo=UTC).timestamp()
MONTH = "2026-11"


class Gateway:
    """A gateway that keeps what it is told, counts what it is asked to, and can be away or begin anew."""

    def __init__(self) -> None:
        self.incarnation = 1
        self.away = False
        self.told: list[Identity] = []
        self.known = False
        self.tokens: dict[str, int] = {}
        self.used_keys: tuple[str, ...] = ()

    async def route(self, routes: Routes) -> None: ...

    async def identify(self, identity: Identity) -> None:
        self._answer()
        self.told.append(identity)
        self.known = True

    async def entry(self) -> EntryReport:
        self._answer()
        uses = tuple(TenantUse(tenant=name, month=MONTH, tokens=count) for name, count in self.tokens.items())
        return EntryReport(gateway=f"g{self.incarnation}", known=self.known, uses=uses, keys=self.used_keys)

    async def stats(self) -> Mapping[ServiceName, QueueStats]:
        return {}

    async def starved(self, after: int) -> Starved:
        return Starved(count=after)

    async def close(self) -> None: ...

    def restart(self) -> None:
        self.incarnation += 1
        self.known = False
        self.tokens = {}

    def _answer(self) -> None:
        if self.away:
            raise AgentFailure("the gateway does not answer")


class World:
    """An Entrance, ticked by hand."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.gateway = Gateway()
        self.required = True
        self.entrance = Entrance(store, self.gateway, auth=lambda: self.required)
        lease = store.acquire("tests", ttl_s=1e9, now=START)
        assert lease is not None
        self.fence = lease.fence
        self.now = START

    def tick(self, after_s: float = 1.0) -> list[Identity]:
        """What the gateway was told in this tick."""
        self.now += after_s
        before = len(self.gateway.told)
        asyncio.run(self.entrance.tick(version=self.store.intents_version(), fence=self.fence, now=self.now))
        return self.gateway.told[before:]

    def key(self, number: int = 1, *, tenant: str = "acme", expires_at: float | None = None) -> ApiKey:
        made = ApiKey(
            id=f"fk-{number}",
            sha256=f"{number:064x}",
            tenant=tenant,
            created_at=self.now + number,
            expires_at=expires_at,
        )
        self.store.put_key(made, now=self.now)
        return made


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with closing(open_store(str(tmp_path / "fleet.db"))) as store:
        yield World(store)


def test_it_is_told_at_the_first_tick_and_then_only_of_changes(world: World) -> None:
    assert world.tick() == [Identity()]
    assert world.tick() == []
    world.key()
    (created,) = world.tick()
    assert [key.id for key in created.keys] == ["fk-1"]
    world.store.put_tenant(TenantEntry(name="acme", limits=TenantLimits(in_flight=1)))
    (limited,) = world.tick()
    assert limited.tenants[0].limits.in_flight == 1
    world.store.revoke_key("fk-1", at=world.now)
    (revoked,) = world.tick()
    assert revoked.keys == ()
    assert world.tick() == []


def test_a_key_that_expires_is_taken_out_in_time(world: World) -> None:
    world.key(expires_at=world.now + 3.0)
    assert len(world.tick()[0].keys) == 1
    assert world.tick() == []

    (after,) = world.tick(2.0)

    assert after.keys == ()


def test_an_open_gateway_is_told_so_and_a_closed_one_again(world: World) -> None:
    world.required = False
    world.key()

    assert world.tick() == [Identity(required=False)]
    world.required = True
    (closed,) = world.tick()

    assert closed.required
    assert [key.id for key in closed.keys] == ["fk-1"]


def test_a_gateway_that_was_away_is_told_when_it_is_back(world: World) -> None:
    world.tick()
    world.gateway.away = True
    world.key()
    assert world.tick() == []
    assert world.tick() == []

    world.gateway.away = False

    assert [len(told.keys) for told in world.tick()] == [1]


def test_a_gateway_that_was_restarted_unseen_is_told_again(world: World) -> None:
    world.key()
    world.tick()
    world.gateway.restart()

    assert len(world.tick(USE_EVERY_S)) == 1
    assert world.tick(USE_EVERY_S) == []


def test_what_is_used_is_kept_over_restarts_of_gateway_and_controller_and_counts_once(world: World) -> None:
    world.key()
    world.tick()
    world.gateway.tokens = {"acme": 40}
    world.tick(USE_EVERY_S)
    world.gateway.tokens = {"acme": 100}
    for _ in range(3):
        world.tick(USE_EVERY_S)
    assert world.store.tokens_used(MONTH) == {"acme": 100}

    world.gateway.restart()
    (again,) = world.tick(USE_EVERY_S)
    assert again.tenants[0].tokens_used == 100, "a new gateway goes on from there"
    world.gateway.tokens = {"acme": 7}
    world.entrance = Entrance(world.store, world.gateway)
    world.tick(USE_EVERY_S)
    (told,) = world.gateway.told[-1:]

    assert world.store.tokens_used(MONTH) == {"acme": 107}
    assert told.tenants[0].tokens_used == 107


def test_a_busy_gateway_is_not_told_again_of_what_it_counts_itself(world: World) -> None:
    world.key()
    world.tick()
    for tokens in (10, 20, 30):
        world.gateway.tokens = {"acme": tokens}
        assert world.tick(USE_EVERY_S) == []


def test_what_other_gateways_count_is_told(world: World) -> None:
    world.key()
    world.tick()
    other = EntryReport(gateway="elsewhere", uses=(TenantUse(tenant="acme", month=MONTH, tokens=50),))
    world.store.put_use(other, fence=world.fence, at=world.now)

    (told,) = world.tick(USE_EVERY_S)

    assert told.tenants[0].tokens_used == 50


def test_a_new_month_begins_at_nothing(world: World) -> None:
    world.key()
    world.gateway.tokens = {"acme": 40}
    world.tick()
    assert world.tick()[-1:] == []

    (told,) = world.tick(31 * 86_400.0)

    assert (told.tenants[0].month, told.tenants[0].tokens_used) == ("2026-12", 0)


def test_when_a_key_was_last_used_is_kept(world: World) -> None:
    world.key()
    world.gateway.used_keys = ("fk-1", "fk-unknown")
    world.tick()

    assert [key.last_used_at for key in world.store.api_keys()] == [world.now]


def test_a_displaced_controller_keeps_nothing(world: World) -> None:
    world.gateway.tokens = {"acme": 40}
    world.store.release("tests")
    assert world.store.acquire("another", ttl_s=60.0, now=world.now) is not None

    with pytest.raises(LeaseLost):
        world.tick()

    assert world.store.tokens_used(MONTH) == {}
