"""From a machine's notice until it is drained: a real controller, gateway, agents and engines, with clients throughout.

Each time a machine that serves is told that it goes, as its cloud would tell it. Counted is the moment from which its
engine has nothing to do any more, as the engine itself says, less the time that one answer takes by itself; and beside
it when the controller began to drain it. `python bench/coldstart_notice.py [--times 30] [--period 2s]`.
"""

import argparse
import asyncio
import contextlib
import re
import statistics
import sys
import time
from pathlib import Path

import aiohttp

sys.path.extend(str(Path(__file__).parents[1] / "tests" / name) for name in ("", "e2e"))
from figures import report
from fleet_home import fleet_home, until
from test_reclaims import FLEET, TOKENS, Fleet, Traffic

from fleetctl.store import open_store

OWN_S = TOKENS * 0.02
"""Of one answer, alone on its engine; beside others it takes longer, which counts against us."""
WITHIN_S = 30.0
NOTICE_S = 20
QUIET_S = 0.4
"""Six clients ask again at once, so that an engine which still gets requests is never idle for so long."""


def measure(times: int, period: str) -> None:
    left, drained = [], []
    with fleet_home() as here:
        fleet = Fleet(here)
        here.write("fleet.yaml", FLEET.format(port=here.port).replace("period: 300ms", f"period: {period}"))
        here.run("up", "-f", "fleet.yaml")
        here.run("daemon", "start")
        fleet.settled()
        with Traffic(f"{here.url}/chat") as traffic:
            for number in range(times):
                places = fleet.settled().places
                machine = sorted(set(places.values()))[0]
                traffic.goes_on()
                address = address_on(fleet, machine)
                time.sleep(0.137 * (number % 10))  # anywhere between two ticks
                told_at = time.time()
                fleet.notice(machine, str(NOTICE_S))
                empty_at = asyncio.run(emptied(address))
                left.append(heeded_at(fleet, machine) - told_at)
                drained.append(empty_at - told_at - OWN_S)
                print(f"  {number + 1}: left {left[-1]:.2f} s, drained {drained[-1]:.2f} s + own", file=sys.stderr)
                fleet.settled(without=machine)
        broken = len(traffic.broken)
        retries = fleet.retries()
        here.run("daemon", "stop")
        here.run("down", "--all")
    report("notice_to_left_p50", statistics.median(left), "s")
    report("notice_to_left_p99", worst(left), f"s of {times}, at a period of {period}")
    report("notice_to_drained_p99", worst(drained), f"s of {times} beyond the answers' own {OWN_S:g} s", at_most=2.0)
    report("requests_broken", broken, f"of {len(traffic.answers)}", at_most=0)
    report("requests_retried", retries, f"of {len(traffic.answers)}", at_most=0)


def address_on(fleet: Fleet, machine: str) -> str:
    """Of the engine there."""
    with contextlib.closing(open_store(str(fleet.home.store), read_only=True)) as store:
        rows = store.load().replicas.values()
        return next(row.address for row in rows if row.instance == machine and row.address is not None)


async def emptied(address: str) -> float:
    """When its engine had nothing running or waiting any more, and got nothing new for a while; Unix seconds."""
    since: float | None = None
    async with aiohttp.ClientSession() as session, asyncio.timeout(WITHIN_S):
        while since is None or time.time() - since < QUIET_S:
            try:
                async with session.get(f"http://{address}/metrics") as answer:
                    text = await answer.text()
            except aiohttp.ClientError:
                return since if since is not None else time.time()  # it has ended
            busy = any(
                float(found) for found in re.findall(r"^vllm:num_requests_(?:running|waiting)\S* (\S+)", text, re.M)
            )
            since = None if busy else since or time.time()
            await asyncio.sleep(0.02)
    return since


def heeded_at(fleet: Fleet, machine: str) -> float:
    """When the controller began to drain it."""

    def said() -> float | None:
        found = [event.at for event in fleet.said("draining it") if event.subject == f"instance/{machine}"]
        return max(found) if found else None

    return until("heeded", said, within_s=WITHIN_S)


def worst(values: list[float]) -> float:
    """The 99th percentile; of fewer than a hundred, the largest."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=30)
    parser.add_argument("--period", default="2s", help="of the controller; 2s is its own default")
    given = parser.parse_args()
    measure(given.times, given.period)


if __name__ == "__main__":
    main()
