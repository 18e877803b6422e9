"""Weights to N Nodes over real shaped links, with and without bad luck. `python bench/coldstart_fanout.py [--only …]`.

Each machine is a network namespace with its own link of B each way, and runs the agent's own Node; the origin is a web
server behind such a link. The controller here is a loop of one second: it asks every Node for its status, has
`decide.feeds` say who follows whom, and tells those for whom that changed. Files lie in memory, so that links and not
one disk shared by sixteen Nodes are measured. Needs root, Linux, `ip` and `tc`.
"""

import argparse
import asyncio
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import msgspec
from fanout.corruptions import corruptions
from fanout.net import Net
from fanout.node import CONTROL_PORT, ORIGIN_PORT
from figures import report

from fleetctl.agent.chunks.layout import chunk_size
from fleetctl.decide.feeds import Member, feeds
from fleetctl.model.nodes import Artifact, ArtifactState, ArtifactStatus, Feed, NodeDesired, NodeStatus

TICK_S = 1.0
ASK_S = 0.8
LIMIT_S = 120.0
ORIGIN = 250
KEY = "5a" * 32
MIB = 1024**2
VERBOSE = "FANOUT_VERBOSE" in os.environ
HERE = Path(__file__).parent


@dataclass
class Machines:
    """N Nodes and an origin, each behind its own link."""

    net: Net
    folder: Path
    size: int
    mbit: float
    numbers: list[int] = field(default_factory=list)
    running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    artifact: Artifact = Artifact(kind="weights", name=f"http://{Net.address(ORIGIN)}:{ORIGIN_PORT}/model.bin")

    def build(self, count: int) -> None:
        content = self.folder / "origin"
        content.mkdir()
        (content / "model.bin").write_bytes(random.Random(1).randbytes(self.size))
        self.run(ORIGIN, "origin", content)
        self.numbers = list(range(1, count + 1))
        for number in self.numbers:
            self.net.machine(number, self.mbit)
            self.start(number)

    def start(self, number: int) -> None:
        folder = self.folder / f"n{number:02d}"
        folder.mkdir(exist_ok=True)
        self.spawn(number, "node", "--name", f"n{number:02d}", folder=folder)

    def run(self, number: int, what: str, folder: Path) -> None:
        self.net.machine(number, self.mbit)
        self.spawn(number, what, folder=folder)

    def spawn(self, number: int, what: str, *options: str, folder: Path) -> None:
        net = f"/run/netns/{self.net_name(number)}"
        place = ("--host", Net.address(number), "--folder", str(folder))
        with (self.folder / f"{number}.log").open("ab") as log:
            self.running[number] = subprocess.Popen(
                ["nsenter", f"--net={net}", sys.executable, "-m", "fanout.node", what, *options, *place],
                cwd=HERE,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(HERE.parent)},
                stdout=log,
                stderr=log,
            )

    def net_name(self, number: int) -> str:
        return f"{self.net.hub.removesuffix('-hub')}-{number}"

    def kill(self, number: int) -> None:
        self.running[number].kill()
        self.running[number].wait()

    def close(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()
        self.net.remove()
        if VERBOSE:
            for log in sorted(self.folder.glob("*.log")):
                sys.stderr.write(f"{log.name}: {log.read_text()}\n" if log.stat().st_size else "")


class Controller:
    """Asks, decides by `decide.feeds`, tells; keeps nothing but what it told last."""

    def __init__(self, machines: Machines, http: aiohttp.ClientSession) -> None:
        self._machines = machines
        self._http = http
        self._told: dict[int, tuple[Feed, ...]] = {}
        self.seen: dict[int, NodeStatus] = {}
        self.applies = 0

    async def look(self) -> dict[int, NodeStatus]:
        async def ask(number: int) -> tuple[int, NodeStatus | None]:
            try:
                async with self._http.get(self._url(number, "status")) as answer:
                    return number, msgspec.json.decode(await answer.read(), type=NodeStatus)
            except (aiohttp.ClientError, OSError, TimeoutError):
                return number, None

        answers = await asyncio.gather(*(ask(number) for number in self._machines.numbers))
        found = {number: status for number, status in answers if status is not None}
        self.seen.update(found)
        return found

    async def everyone(self) -> None:
        """Return when every Node answers."""
        there = 0
        while there < len(self._machines.numbers):
            there = len(await self.look())
            await asyncio.sleep(0.1)

    async def tick(self) -> None:
        statuses = await self.look()
        artifact = self._machines.artifact
        members = [
            Member(instance=status.instance, zone="z", address=status.peers, status=self.of(status))
            for status in statuses.values()
        ]
        wanted = feeds(artifact, members)
        tell = []
        for number, status in statuses.items():
            feed = wanted.get(status.instance)
            now = (feed,) if feed is not None else ()
            if self._told.get(number) != now:
                self._told[number] = now
                tell.append(self._apply(number, now))
        self.applies += len(tell)
        await asyncio.gather(*tell)

    def of(self, status: NodeStatus) -> ArtifactStatus | None:
        return next((one for one in status.artifacts if one.artifact == self._machines.artifact), None)

    async def _apply(self, number: int, told: tuple[Feed, ...]) -> None:
        desired = NodeDesired(
            generation=str(hash(told)),
            epoch="bench",
            fence=1,
            artifacts=(self._machines.artifact,),
            feeds=told,
            peer_key=KEY,
        )
        try:
            async with self._http.put(self._url(number, "desired"), data=msgspec.json.encode(desired)) as answer:
                answer.raise_for_status()
        except (aiohttp.ClientError, OSError, TimeoutError):
            self._told.pop(number, None)

    @staticmethod
    def _url(number: int, what: str) -> str:
        return f"http://{Net.address(number)}:{CONTROL_PORT}/v1/{what}"


@dataclass(frozen=True)
class Result:
    seconds: dict[int, float]
    """From the first word of the controller to the published folder, by machine."""
    origin_wire: int
    origin_payload: int
    applies: int


BadLuck = Callable[[Machines], None]


async def fan_out(machines: Machines, hurt: tuple[int, ...], at_share: float, luck: BadLuck | None) -> Result:
    """All but those that are hurt for good get the weights; `luck` strikes when half or so of it is through."""
    timeout = aiohttp.ClientTimeout(total=ASK_S)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        controller = Controller(machines, http)
        async with asyncio.timeout(LIMIT_S):
            await controller.everyone()
        before = machines.net.sent_bytes(ORIGIN)
        began_at, began = time.time(), time.monotonic()
        strike = began + at_share * machines.size * 8 / (machines.mbit * 1e6)
        next_tick = began
        rest = [number for number in machines.numbers if number not in hurt]
        while True:
            await controller.tick()
            if VERBOSE:
                show(controller, time.monotonic() - began)
            states = {number: controller.of(controller.seen[number]) for number in rest}
            if all(state is not None and state.state is ArtifactState.PRESENT for state in states.values()):
                break
            if time.monotonic() - began > LIMIT_S:
                raise SystemExit(f"not there after {LIMIT_S:g} s: {states}")
            next_tick += TICK_S
            if luck is not None and strike < next_tick:
                await asyncio.sleep(max(strike - time.monotonic(), 0))
                luck(machines)
                luck = None
            await asyncio.sleep(max(next_tick - time.monotonic(), 0))
    seconds = {}
    for number, state in states.items():
        assert state is not None and state.stage is not None and state.stage.ended_at is not None
        seconds[number] = state.stage.ended_at - began_at
    payload = sum(status.origin_bytes for one in controller.seen.values() if (status := controller.of(one)) is not None)
    return Result(seconds, machines.net.sent_bytes(ORIGIN) - before, payload, controller.applies)


def show(controller: Controller, at: float) -> None:
    parts = []
    for number, status in sorted(controller.seen.items()):
        one = controller.of(status)
        if one is not None:
            rate = "-" if one.rate is None else f"{one.rate / 1e6:.1f}"
            parts.append(f"{number}<{one.parent or 'o'}:{(one.bytes_done or 0) / 1e6:.1f}@{rate}")
    print(f"{at:5.1f} {' '.join(parts)}", file=sys.stderr)


def measure(
    name: str,
    count: int,
    size: int,
    mbit: float,
    goal: float,
    *,
    hurt: tuple[int, ...] = (),
    at_share: float = 0.35,
    luck: BadLuck | None = None,
    median: bool = False,
    slow: int = 0,
) -> None:
    """One case; `hurt` are those that cannot end, `slow` has half the rate."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        machines = Machines(Net(f"ff{os.getpid() % 10000}"), Path(folder), size, mbit)
        try:
            machines.build(count)
            if slow:
                machines.net.shape(slow, mbit / 2)
            machines.net.enter()
            result = asyncio.run(fan_out(machines, hurt, at_share, luck))
        finally:
            machines.close()
    chunks = -(-size // chunk_size(size))
    floor_s = size * 8 / (mbit * 1e6) * (1 + (count - 1) / chunks)
    others = [seconds for number, seconds in result.seconds.items() if number != slow]
    taken = statistics.median(others) if median else max(others)
    print(
        f"{name:>24} {taken:8.2f} s {taken / floor_s:8.3f} of {floor_s:.2f} s, "
        f"origin {result.origin_wire / size:.3f} W on the wire, {result.origin_payload / size:.3f} W of payload, "
        f"{result.applies} applies",
        file=sys.stderr,
    )
    report(f"{name}_to_floor", taken / floor_s, "ratio", at_most=goal)
    if luck is None and not slow:
        report(f"{name}_origin_wire", result.origin_wire / size, "W", at_most=1.05)


async def resume(machines: Machines) -> tuple[int, int, int]:
    """Kill the one Node at half; bytes that were missing, bytes fetched again, bytes of one chunk."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ASK_S)) as http:
        controller = Controller(machines, http)

        async def until(enough: Callable[[ArtifactStatus], bool]) -> ArtifactStatus:
            async with asyncio.timeout(LIMIT_S):
                while True:
                    await controller.look()
                    if 1 in controller.seen and (one := controller.of(controller.seen[1])) is not None and enough(one):
                        return one
                    await asyncio.sleep(0.01)

        async with asyncio.timeout(LIMIT_S):
            await controller.everyone()
        await controller.tick()
        await until(lambda one: (one.bytes_done or 0) >= machines.size / 2)
        machines.kill(1)
        journal = next((machines.folder / "n01/store/staging").glob("*/journal")).read_bytes()
        chunk = chunk_size(machines.size)
        here = sum(journal[at : at + 32] != bytes(32) for at in range(0, len(journal), 32))
        controller.seen.clear()
        machines.start(1)
        done = await until(lambda one: one.state is ArtifactState.PRESENT)
        return machines.size - here * chunk, done.origin_bytes, chunk


def measure_resume(size: int, mbit: float) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        machines = Machines(Net(f"ff{os.getpid() % 10000}"), Path(folder), size, mbit)
        try:
            machines.build(1)
            machines.net.enter()
            missing, again, chunk = asyncio.run(resume(machines))
        finally:
            machines.close()
    print(f"{'resume':>24} {missing} bytes missing, {again} fetched, a chunk is {chunk}", file=sys.stderr)
    report("resume_fetched_beyond_missing", max(again - missing, 0) / chunk, "chunks", at_most=1)


CASES: dict[str, Callable[[], None]] = {
    "chain_8": lambda: measure("chain_8", 8, 48 * MIB, 25, 1.15),
    "chain_16": lambda: measure("chain_16", 16, 32 * MIB, 20, 1.15),
    "killed": lambda: measure("killed", 8, 48 * MIB, 25, 1.20, hurt=(4,), luck=lambda machines: machines.kill(4)),
    "silent": lambda: measure("silent", 8, 48 * MIB, 25, 1.40, hurt=(4,), luck=lambda machines: machines.net.pull(4)),
    "half_rate": lambda: measure("half_rate", 8, 48 * MIB, 20, 1.15, hurt=(3,), median=True, slow=3),
    "resume": lambda: measure_resume(16 * MIB, 50),
    "corruptions": lambda: report("corruptions_published", corruptions(1000), "of 1000", at_most=0),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=tuple(CASES), action="append")
    for case in parser.parse_args().only or CASES:
        CASES[case]()


if __name__ == "__main__":
    main()
