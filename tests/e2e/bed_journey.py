"""A service on the test bed, from `up` to nothing left: what a person types, with traffic running all the while."""

import asyncio
import contextlib
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import aiohttp
from bed.machines import Machine
from bed.testbed import Bed
from fleet_home import FleetHome, until
from streams import Answer, ask, client
from wheels import folder_of_wheels

from fleetctl.node.keys import public_key
from fleetctl.paths import Home

FILE = """\
kind: fleet
name: bed
gateway: {{listen: "127.0.0.1:{port}", auth: none}}
period: 500ms
providers: {{ssh: {{inventory: {inventory}}}}}
---
kind: service
name: chat
engine: vllm
image: {image}
model: {model}
args: {args}
gpu: L4:1
concurrency: 4
standby: {{slots: 2, tier: warm}}
scaling: {{policy: fixed, replicas: {replicas}, max: 3}}
startup_timeout: 4m
drain_timeout: 30s
placement: {{providers: [ssh]}}
"""

TOKENS = 16
STREAMS = 3
"""Requests at once, all the time: one for each replica of the largest fleet here."""
PAUSE_S = 0.3
"""Of each client between two requests, so that engines that start beside it have processors to start on."""
TRAFFIC_ENDS_S = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What stands behind the service, and how long it may take."""

    images: Sequence[str]
    """Two, that differ in their digests."""
    model: str
    args: str
    start_s: float
    """From the order to ready, with everything on the machine, when three start at once."""
    fetch_s: float
    """For the image to travel to three machines at once, and be unpacked."""


class Journey:
    """One fleet on one bed."""

    def __init__(self, bed: Bed, home: FleetHome, engine: Engine) -> None:
        self.bed = bed
        self.home = home
        self.engine = engine
        self.times: list[tuple[str, float]] = []
        home.environment["SSL_CERT_FILE"] = str(bed.origin.certificate)
        bed.lets_in(public_key(Home(home.root)))
        if not (home.root / "ssh" / "packages").exists():
            shutil.copytree(folder_of_wheels(), home.root / "ssh" / "packages")

    @contextlib.contextmanager
    def timed(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.times.append((what, time.monotonic() - began))
        print(f"{what:.<48} {self.times[-1][1]:6.1f} s", flush=True)  # noqa: T201  # what `pytest -s` is read for

    def write(self, *, release: int = 0, replicas: int = 1) -> None:
        text = FILE.format(
            port=self.home.port,
            inventory=json.dumps(self.bed.inventory()),
            image=self.engine.images[release],
            model=self.engine.model,
            args=self.engine.args,
            replicas=replicas,
        )
        self.home.write("fleet.yaml", text)

    def up(self, timeout_s: float) -> None:
        self.home.run("up", "-f", "fleet.yaml", "--timeout", f"{timeout_s:.0f}s", within_s=timeout_s + 30)

    def service(self) -> dict[str, object]:
        found = self.home.run("ps", "-o", "json").json()["items"]
        assert len(found) == 1, found
        return dict(found[0])

    def replicas(self) -> list[dict[str, object]]:
        return list(self.home.run("ps", "-r", "-o", "json").json()["items"])

    def instances(self) -> list[dict[str, object]]:
        return list(self.home.run("ps", "-i", "-o", "json").json()["items"])

    def until_ready(self, count: int, within_s: float) -> None:
        self.until(f"{count} replicas are ready", lambda: self.service()["ready"] == count, within_s=within_s)

    def until_everywhere(self, image: str, within_s: float) -> None:
        """Until every machine has the image, whole."""
        self.until(
            f"every machine has {image}",
            lambda: all(holds(machine, image) for machine in self.bed.machines),
            within_s=within_s,
        )

    def told(self) -> str:
        """What is read first when a step does not end."""
        parts = [self.home.run(*words, code=None) for words in (("ps",), ("ps", "-r"), ("ps", "-i"), ("events",))]
        shown = [f"{part.out}{part.err}" for part in parts]
        there = (machine for machine in self.bed.machines if machine.first_process())
        shown.extend(f"{machine.name}\n{machine.docker('ps', '--all', '--no-trunc')}" for machine in there)
        return "\n".join(shown)

    def until(self, what: str, look: Callable[[], object], *, within_s: float) -> None:
        """Wait for it; where it does not come, fail with what the fleet says."""
        try:
            until(what, lambda: look() or None, within_s=within_s, every_s=0.5)
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.told()}") from None

    def running(self) -> list[Machine]:
        """The machines on which an engine's container is."""
        return [machine for machine in self.bed.machines if machine.first_process() and machine.containers()]

    def registry_sent(self) -> tuple[int, int]:
        """Bytes of blobs as the registry counts them, and of everything on its cable."""
        return self.bed.registry.served(), self.bed.registry.link.sent()


def holds(machine: Machine, image: str) -> bool:
    """By digest, whatever it is called there."""
    digest = image.partition("@")[2]
    return digest in machine.docker("images", "--digests", "--format", "{{.Digest}}").split()


class Traffic:
    """So many streams at once through the gateway, from the first line of the block to its last."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._ends = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.answers: list[Answer] = []

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join(TRAFFIC_ENDS_S)
        assert not self._thread.is_alive(), "requests hang"

    def lost(self) -> list[Answer]:
        """What was not answered as it should, to its last token."""
        return [one for one in self.answers if not whole(one)]

    async def _run(self) -> None:
        async with client() as session:

            async def one() -> None:
                while not self._ends.is_set():
                    self.answers.append(await a_request(session, self._url))
                    await asyncio.sleep(PAUSE_S)

            await asyncio.gather(*(one() for _ in range(STREAMS)))


async def a_request(session: aiohttp.ClientSession, url: str) -> Answer:
    return await ask(session, url, tokens=TOKENS, model="chat", ignore_eos=True, temperature=0)


def whole(answer: Answer) -> bool:
    return answer.status == 200 and answer.done and answer.tokens == TOKENS and not answer.failure
