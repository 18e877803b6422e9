"""Three services on one GPU: their engines sleep on it, and whoever is asked wakes, answers and sleeps again."""

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest
from fleet_home import FleetHome, fleet_home, fleet_text, service_text
from streams import ask, client

from fleetctl.model.replicas import Replica, ReplicaPhase, Role
from fleetctl.store import SqlStore, open_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

NAMES = ("ant", "bee", "cat")
ASLEEP_S = 90.0
"""Each starts, serves nobody, goes to zero and sleeps, one after another on one GPU; on a busy machine."""
WAKE_MOST_S = 20.0
"""A few ticks and a wake; a start of these engines alone would take longer."""
LOAD_S = 3.0


@pytest.fixture(params=[1, 2], ids=["level 1", "level 2"])
def fleet(request: pytest.FixtureRequest) -> Iterator[FleetHome]:
    standby = f"standby: {{tier: asleep, slots: 1, share: true, sleep_level: {request.param}}}"
    with fleet_home() as made:
        path = made.write(
            "fleet.yaml",
            fleet_text(made.port, machines=1, gpus=1).replace("standby: none", standby)
            + "".join(
                "---\n" + service_text(name, least=0, most=2, args=f"--load-s {LOAD_S} --wake-s 0.2", idle="1s")
                for name in NAMES
            ),
        )
        made.run("up", "-f", path, "--no-wait")
        made.run("daemon", "start")
        yield made
        made.run("down", "--all")
        made.run("daemon", "stop")


async def until(store: SqlStore, holds: Callable[[dict[str, list[Replica]]], bool], limit_s: float) -> float:
    """Look at the store until it holds; the seconds it took."""
    begun = time.monotonic()
    while time.monotonic() - begun < limit_s:
        found: dict[str, list[Replica]] = {name: [] for name in NAMES}
        for replica in store.load().replicas.values():
            found[replica.service].append(replica)
        both = [
            one
            for some in found.values()
            for one in some
            if (one.role, one.phase) != (Role.ASLEEP, ReplicaPhase.ASLEEP) and one.instance is not None
        ]
        assert len(both) <= 1, f"two awake on one GPU: {both}"
        if holds(found):
            return time.monotonic() - begun
        await asyncio.sleep(0.05)
    raise AssertionError(f"not within {limit_s:g} s: {store.load().replicas.values()}")


def all_asleep(found: dict[str, list[Replica]]) -> bool:
    asleep = (Role.ASLEEP, ReplicaPhase.ASLEEP)
    return all([(one.role, one.phase) for one in some] == [asleep] for some in found.values())


async def test_who_is_asked_wakes_and_goes_back_to_sleep(fleet: FleetHome) -> None:
    store = open_store(str(fleet.root / "fleet.db"), read_only=True)
    try:
        await until(store, all_asleep, ASLEEP_S)
        before = {one.service: one.id for one in store.load().replicas.values()}

        async with client() as session:
            for name in ("bee", "cat", "bee"):
                begun = time.monotonic()
                answer = await ask(session, f"{fleet.url}/{name}", tokens=3)
                took_s = time.monotonic() - begun

                assert answer.whole(3), answer
                assert took_s < WAKE_MOST_S, "it waits for the one before to sleep, and wakes"
        await until(store, all_asleep, ASLEEP_S)

        assert {one.service: one.id for one in store.load().replicas.values()} == before, "no engine was started anew"
    finally:
        store.close()
    table = fleet.run("describe", "pool/box").out
    assert table.count("asleep*") == 3
    assert "measured" in table
