"""Rollouts of real processes while clients stream through the gateway: through, paused, undone, given up."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from fleet_home import FleetHome, Ran, fleet_home, fleet_text, service_text
from streams import Answer, ask, client

from fleetctl.model.names import ServiceName
from fleetctl.model.replicas import ReplicaPhase, Role
from fleetctl.model.rollouts import RolloutState
from fleetctl.store import SqlStore, open_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

CHAT = ServiceName("chat")
LEAST = 3
CLIENTS = 5
"""Of the six requests that three replicas serve at once."""
TOKENS = 20
SERVED = "--load-s 0.2 --token-s 0.02 --served-model-name rehearsal-8b"
# It settles long enough that a rollout which goes is still going when a command has started that pauses it.
ROLLOUT = "rollout: {surge: 1, settle: 1500ms, failures: 2, deadline: 90s}\n"


def text(port: int, args: str) -> str:
    service = service_text("chat", least=LEAST, most=LEAST, args=args)
    return fleet_text(port) + "---\n" + service + ROLLOUT


@pytest.fixture
def fleet() -> Iterator[FleetHome]:
    """Three replicas under a daemon."""
    with fleet_home() as made:
        path = made.write("fleet.yaml", text(made.port, SERVED))
        made.run("up", "-f", path)
        made.run("daemon", "start")
        yield made
        made.run("down", "--all")
        made.run("daemon", "stop")


class Traffic:
    """Clients that ask again as soon as they are answered, and a look at what is ready meanwhile."""

    def __init__(self, fleet: FleetHome, store: SqlStore) -> None:
        self._url, self._store = f"{fleet.url}/chat", store
        self.answers: list[Answer] = []
        self.least = LEAST
        self.most = 0

    async def stream(self) -> None:
        async with client() as session:
            while True:
                self.answers.append(await ask(session, self._url, tokens=TOKENS))

    async def look(self) -> None:
        while True:
            rows = self._store.load().replicas.values()
            ready = [one for one in rows if one.role is Role.SERVING and one.phase is ReplicaPhase.READY]
            self.least, self.most = min(self.least, len(ready)), max(self.most, len(list(rows)))
            await asyncio.sleep(0.02)

    async def until(self, to: str, state: RolloutState) -> None:
        """Wait until the rollout to that revision is in this state, and one of its replicas counts."""
        deadline = time.monotonic() + 60.0
        while True:
            row = self._store.load().rollouts[CHAT]
            if (row.to_revision, row.state) == (to, state) and row.counts.passed:
                return
            assert time.monotonic() < deadline, row
            await asyncio.sleep(0.05)


@asynccontextmanager
async def traffic(fleet: FleetHome) -> AsyncIterator[Traffic]:
    with contextlib.closing(open_store(str(fleet.root / "fleet.db"), read_only=True)) as store:
        made = Traffic(fleet, store)
        tasks = [asyncio.create_task(made.stream()) for _ in range(CLIENTS)]
        tasks.append(asyncio.create_task(made.look()))
        try:
            yield made
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def run(fleet: FleetHome, *words: str, code: int = 0) -> Ran:
    return await asyncio.to_thread(fleet.run, *words, code=code)


async def test_no_stream_is_lost_however_a_rollout_goes(fleet: FleetHome) -> None:
    first = fleet.run("rollout", "status", "chat", "-o", "json").json()["revision"]

    async with traffic(fleet) as seen:
        # through
        deployed = (await run(fleet, "deploy", "chat", "--model", "rehearsal-9b", "-o", "json")).json()
        done = (await run(fleet, "rollout", "status", "chat", "-o", "json")).json()

        # paused halfway, and undone
        again = await run(fleet, "deploy", "chat", "--model", "rehearsal-10b", "--no-wait", "-o", "json")
        await seen.until(again.json()["revision"], RolloutState.GOING)
        await run(fleet, "rollout", "pause", "chat")
        await seen.until(again.json()["revision"], RolloutState.PAUSED)
        paused = (await run(fleet, "ps", "-o", "json")).json()["items"][0]
        shown = (await run(fleet, "ps")).out
        blocked = await run(fleet, "deploy", "chat", "--model", "rehearsal-10b", code=7)
        undone = await run(fleet, "rollout", "undo", "chat", "-o", "json")

        # given up, from a file
        fleet.write("fleet.yaml", text(fleet.port, SERVED + " --fail-load"))
        failed = await run(fleet, "up", "-f", str(fleet.files / "fleet.yaml"), code=1)
        aborted = (await run(fleet, "ps", "-o", "json")).json()["items"][0]
        told = (await run(fleet, "explain", "chat")).out
        watched = await run(fleet, "rollout", "status", "chat", "--watch", code=1)
        back = (await run(fleet, "rollout", "undo", "chat", "-o", "json")).json()
        after = (await run(fleet, "ps", "-o", "json")).json()["items"][0]
        events = (await run(fleet, "events", "service/chat", "-o", "json")).json()["items"]

    lost = [answer for answer in seen.answers if not answer.whole(TOKENS)]
    assert lost == [], (len(lost), len(seen.answers))
    assert len(seen.answers) > 50
    assert seen.least == LEAST  # at every look
    assert seen.most <= LEAST + 2  # the surge, and what still drained when it was undone

    assert deployed["before"] == first
    assert (done["rollout"]["state"], done["revision"]) == ("done", deployed["revision"])
    assert [one["name"] for one in done["revisions"]] == [deployed["revision"], first]
    assert paused["state"] == "paused"
    assert re.search(r"paused [123]/3", shown), shown  # what was on its way when it was paused arrives
    assert "fleetctl rollout resume chat" in blocked.err
    assert undone.json()["revision"] == deployed["revision"]
    assert undone.json()["rollout"]["state"] == "undone"

    assert "was given up" in failed.err
    assert "fleetctl rollout undo chat" in failed.err
    assert aborted["state"] == "aborted"
    assert aborted["ready"] == LEAST
    assert "cannot be loaded" in told or "exit" in told
    assert "was given up" in watched.err
    assert back["in_force"] == back["revision"] == deployed["revision"]
    assert after["state"] == "ready"
    assert after["trouble"] == ""
    messages = [event["message"] for event in events]
    for begins in ("rollout of ", "going back from ", "the rollout of "):
        assert [text for text in messages if text.startswith(begins)], messages


def test_what_cannot_be_deployed_is_refused(fleet: FleetHome) -> None:
    nothing = fleet.run("deploy", "chat", code=2)
    image = fleet.run("deploy", "chat", "--image", "vllm/vllm-openai:v1", "-o", "json", code=2)
    unknown = fleet.run("rollout", "undo", "chat", "--to", "zzz", code=4)
    alone = fleet.run("rollout", "undo", "chat", code=7)

    assert "--image IMAGE, or --model MODEL" in nothing.err
    assert "without an image" in image.error()["message"]
    assert "is not kept" in unknown.err
    assert "no earlier revision" in alone.err
