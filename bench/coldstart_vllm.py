"""From the decision to the first token, with a real vLLM on the test bed. `python bench/coldstart_vllm.py [--rate …]`.

One machine of the test bed (`tests/bed`: its own network, sshd, dockerd; root on Debian), behind a link of that rate,
and a service without replicas. A request waits at the gateway; then one replica is ordered, and the request's first
token is what ends the start: cold (a machine that nobody has ever used, image of 2 GB and weights far away), warm (both
there) and hot (the engine loaded). The CPU build cannot sleep ("Sleep mode is not supported on current platform"): so
there is no figure for the tier asleep. The stages are those that fleetctl recorded, and "first token" after them.
"""

import argparse
import asyncio
import json
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.extend(str(Path(__file__).parents[1] / "tests" / name) for name in ("", "e2e", "contract/ssh"))

import aiohttp
from bed import needs, vllm
from bed.testbed import Bed, test_bed
from bed_journey import holds
from figures import report
from fleet_home import FleetHome, answers, fleet_home, until
from wheels import folder_of_wheels

from fleetctl.node.keys import public_key
from fleetctl.paths import Home

ATTRIBUTED_GOAL = 0.98
READY_S = 300.0
"""The coldest start here took a minute and a half on two busy cores."""
SETTLED_S = 60.0

FILE = """\
kind: fleet
name: bench
gateway: {{listen: "127.0.0.1:{port}", auth: none}}
period: 200ms
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
standby: {standby}
scaling: {{policy: fixed, replicas: 0, max: 1}}
startup_timeout: 4m
drain_timeout: 10s
queue_timeout: 5m
placement: {{providers: [ssh]}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One start, as the request that waited for it saw it and as fleetctl recorded it."""

    start: dict[str, Any]
    first_token_s: float
    """Since the decision."""
    registry_bytes: int
    weight_bytes: int
    drawn: str

    @property
    def attributed(self) -> float:
        """The share of the time to the first token that lies in some stage, or in "first token"."""
        took_s = float(self.start["took_s"])
        return (float(self.start["attributed"]) * took_s + self.first_token_s - took_s) / self.first_token_s


class Waiting:
    """A request that is at the gateway before anything can answer it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.first_token_at: float | None = None
        self.failure = ""
        self._thread = threading.Thread(target=lambda: asyncio.run(self._ask()), daemon=True)
        self._thread.start()

    def answered_at(self) -> float:
        self._thread.join(READY_S)
        if self.first_token_at is None:
            raise RuntimeError(f"the request got no token: {self.failure or 'nothing came'}")
        return self.first_token_at

    async def _ask(self) -> None:
        body = {"model": "chat", "messages": [{"role": "user", "content": "hi"}], "stream": True, "max_tokens": 4}
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=READY_S)) as session,
                session.post(f"{self._url}/v1/chat/completions", json=body | {"ignore_eos": True}) as answer,
            ):
                if answer.status != 200:
                    self.failure = await answer.text()
                    return
                async for line in answer.content:
                    data = line.decode().strip().removeprefix("data: ")
                    if data not in ("", "[DONE]") and any(
                        choice["delta"].get("content") for choice in json.loads(data)["choices"]
                    ):
                        self.first_token_at = self.first_token_at or time.time()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            self.failure = repr(error)


class Bench:
    def __init__(self, bed: Bed, home: FleetHome) -> None:
        self.bed = bed
        self.home = home
        self.machine = bed.machines[0]
        self.image = vllm.image(bed.registry)
        self.model = vllm.model(bed.origin)
        bed.lets_in(public_key(Home(home.root)))
        home.environment["SSL_CERT_FILE"] = str(bed.origin.certificate)
        packages = home.root / "ssh" / "packages"
        packages.mkdir(parents=True)
        for wheel in folder_of_wheels().glob("*.whl"):
            (packages / wheel.name).write_bytes(wheel.read_bytes())

    def declare(self, standby: str) -> None:
        text = FILE.format(
            port=self.home.port,
            inventory=json.dumps(self.bed.inventory()),
            image=self.image,
            model=self.model,
            args=vllm.ARGUMENTS,
            standby=standby,
        )
        self.home.write("fleet.yaml", text)
        self.home.run("up", "-f", "fleet.yaml", "--no-wait")

    def routed(self) -> bool:
        """Whether a request would be held for it."""
        if not answers(self.home.url):
            return False
        try:
            with urllib.request.urlopen(f"{self.home.url}/v1/models", timeout=5) as answer:
                return bool(json.load(answer)["data"])
        except urllib.error.URLError:
            return False

    def replicas(self) -> list[dict[str, Any]]:
        return list(self.home.run("ps", "-r", "-o", "json").json()["items"])

    def scaled(self) -> Measured:
        """None to one, with a request waiting for it."""
        registry, weights = self.bed.registry.served(), self.bed.origin.sent()
        waiting = Waiting(f"{self.home.url}/chat")
        self.home.run("scale", "chat=1")
        first_token_at = waiting.answered_at()
        name = until(
            "a replica is ready",
            lambda: next((one["name"] for one in self.replicas() if one["phase"] == "ready"), None),
            within_s=SETTLED_S,
        )
        described = self.home.run("describe", f"replica/{name}", "-o", "json").json()
        start = described["start"]
        return Measured(
            start=start,
            first_token_s=first_token_at - start["decided_at"],
            registry_bytes=self.bed.registry.served() - registry,
            weight_bytes=self.bed.origin.sent() - weights,
            drawn=self.home.run("describe", f"replica/{name}").out,
        )

    def to_none(self) -> None:
        self.home.run("scale", "chat=0")
        until(
            "nothing serves",
            lambda: all(one["role"] not in ("serving", "draining") for one in self.replicas()),
            within_s=SETTLED_S,
        )

    def run(self) -> dict[str, Measured]:
        found = {}
        self.declare("none")
        self.home.start("run")
        until("the gateway knows the service", self.routed, within_s=SETTLED_S)
        self.home.run("scale", "chat=0")
        found["cold"] = self.scaled()
        self.declare("{slots: 1, tier: warm}")
        self.to_none()
        assert holds(self.machine, self.image)
        found["warm"] = self.scaled()
        self.declare("{slots: 1, tier: hot}")
        self.to_none()
        until(
            "an engine is loaded and idle",
            lambda: [one["phase"] for one in self.replicas() if one["role"] == "hot"] == ["ready"],
            within_s=READY_S,
            every_s=0.5,
        )
        found["hot"] = self.scaled()
        self.home.run("daemon", "stop")
        self.home.run("down", "--all")
        return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Cold, warm and hot starts of a real vLLM on the test bed.")
    parser.add_argument("--rate", default="1gbit", help="of the machine's link; default: %(default)s")
    given = parser.parse_args()
    lacking = needs.lacking() or vllm.lacking()
    if lacking:
        print(f"not measured: {lacking}", file=sys.stderr)
        return 0
    with test_bed(machines=1, rate=given.rate) as bed, fleet_home() as home:
        found = Bench(bed, home).run()
    for tier, one in found.items():
        after_s = one.first_token_s - float(one.start["took_s"])
        print(f"\n{tier}: first token {one.first_token_s:.1f} s after the decision\n{one.drawn}", file=sys.stderr)
        print(f"first token {after_s:.2f} s after the replica was ready", file=sys.stderr)
        print(f"{one.attributed:.1%} of the whole lie in a stage", file=sys.stderr)
        report(f"first_token_{tier}_{given.rate}", one.first_token_s, "s")
        report(f"attributed_{tier}", one.attributed, "share", at_least=ATTRIBUTED_GOAL)
    for what, moved in (("registry", found["warm"].registry_bytes), ("weight", found["warm"].weight_bytes)):
        report(f"prepulled_{what}_bytes", moved, "bytes", at_most=0)
    print("\nasleep: vLLM's CPU build cannot sleep; not measured", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
