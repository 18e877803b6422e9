"""`fleetctl demo` (Start here): See it all work: a rehearsed fleet under real traffic, in two minutes.

Example: fleetctl demo --seconds 60
"""

import asyncio
import contextlib
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from fleetctl.cli.driving import on_signals
from fleetctl.cli.output import Format, Output, document, say
from fleetctl.cli.recording import Recording, Replay, report
from fleetctl.controller.clock import SystemClock
from fleetctl.controller.controllers import Controller, Ticked
from fleetctl.controller.loop import run
from fleetctl.errors import NotFound, SpecError, TimedOut
from fleetctl.model.names import ServiceName
from fleetctl.paths import Home
from fleetctl.spec.fleet import FleetConfig
from fleetctl.store import SqlStore
from fleetctl.wiring import connected, controller, fleet_store

app = typer.Typer(add_completion=False)

SERVICE = ServiceName("chat")
READY_LIMIT_S = 90.0
"""The fleet is ready in about 15 s; a slow machine gets six times that."""
SETTLE_LIMIT_S = 45.0
"""After the traffic: the windows and the scale-down delay of the demo's file, and some."""
DOWN_LIMIT_S = 60.0
TRAFFIC_S = 100.0


@app.command()
def demo(
    trace: Annotated[
        Path | None, typer.Option("--trace", help="Replay this recorded trace (CSV, may be .gz) instead")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the generated traffic")] = 1,
    seconds: Annotated[float, typer.Option(min=60, max=600, help="Length of the traffic")] = TRAFFIC_S,
    output: Output = Format.TABLE,
) -> int:
    """Bring up a local fleet, send it minutes of bursty traffic over HTTP, and show what it did and why.

    The engines are rehearsals: real HTTP servers with the timing of a batching engine, and no model. The traffic is
    made of a seed after the published statistics of the Azure 2023 code trace (Patel et al., ISCA 2024; CC-BY 4.0).
    Exit code 1 if any request was lost.
    """
    if trace is not None and not trace.is_file():
        raise NotFound(f"there is no file {trace}", hint="leave out --trace to use generated traffic")
    if trace is not None:
        _check(trace, seconds)
    # Short: Unix sockets live below it.
    folder = Path(tempfile.mkdtemp(prefix="fleetctl-demo-"))
    try:
        return asyncio.run(_demo(folder, trace, seed, seconds, output))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check(trace: Path, seconds: float) -> None:
    """Whether the trace can be replayed. The process that sends it reads it again; here nothing is started yet."""
    from fleetctl.sim.traces import read_trace
    from fleetctl.sim.traffic import for_demo

    whole = read_trace(trace)
    if not for_demo(whole, seconds):
        raise SpecError(
            f"{trace}: no request arrives in the {seconds:g} s of it that would be replayed",
            hint=f"its first arrives at {whole.arrivals_s[0]:g} s: take that from every arrival_s",
        )


async def _demo(folder: Path, trace: Path | None, seed: int, seconds: float, output: Format) -> int:
    from fleetctl.spec.load import load
    from fleetctl.spec.revision import revision

    spec = folder / "demo.yaml"
    shutil.copyfile(Path(__file__).with_name("demo.yaml"), spec)
    fleet = load([spec])
    config = replace(fleet.config, gateway_listen=f"127.0.0.1:{_free_port()}")
    home = Home(folder / "home")
    stop = asyncio.Event()
    on_signals(stop)
    with contextlib.closing(fleet_store(home, config)) as store:
        async with connected(home, config) as ports:
            held = controller(store, ports, config)
            await held.acquire()
            stage = _Stage(home, config, store, held, stop)
            try:
                for pool in fleet.pools:
                    store.put_pool(pool, at=time.time())
                for service in fleet.services:
                    store.put_service(service, revision=revision(service), at=time.time())
                recording = Recording(service=fleet.services[0], pool=fleet.pools[0])
                with recording.shown(live=output is Format.TABLE and sys.stderr.isatty()):
                    replay = await stage.perform(recording, trace, seed, seconds)
            finally:
                with contextlib.suppress(TimedOut):
                    await stage.clear_away()
                await held.close()
    if replay is None:
        raise KeyboardInterrupt("interrupted; the demo's fleet has been cleared away")
    if output is Format.TABLE:
        sys.stdout.write(report(recording, replay))
    else:
        document(recording.summary(replay), Format.YAML if output is Format.YAML else Format.JSON)
    return 1 if replay.failed else 0


class _Stage:
    """The demo's fleet, and the play on it."""

    def __init__(self, home: Home, config: FleetConfig, store: SqlStore, held: Controller, stop: asyncio.Event) -> None:
        self._home = home
        self._config = config
        self._store = store
        self._held = held
        self._stop = stop

    async def perform(self, recording: Recording, trace: Path | None, seed: int, seconds: float) -> Replay | None:
        """Bring up, send traffic, let it settle. None: interrupted."""
        say("bringing up one replica and its standby: machine, image, weights, engine …")
        await self._tick_until(recording, recording.is_ready, READY_LIMIT_S, "the fleet did not get ready")
        if self._stop.is_set():
            return None
        url = f"http://{self._config.gateway_listen}/{SERVICE}"
        say(f"ready; the gateway is at {url}/v1. Now the traffic …")
        recording.begin()
        replay = Replay()
        asking = asyncio.create_task(replay.run(url, trace, seed, seconds))
        try:
            await self._tick_until(recording, asking.done, seconds + 120.0, "the traffic did not end")
            if self._stop.is_set():
                return None
            await asking
        finally:
            if not asking.done():
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
        say("the traffic is over; watching the fleet shrink …")
        with contextlib.suppress(TimedOut):
            await self._tick_until(recording, recording.is_small, SETTLE_LIMIT_S, "")
        recording.end()
        return None if self._stop.is_set() else replay

    async def clear_away(self) -> None:
        """Drain, give every machine back, end the gateway."""
        from fleetctl.gateway.supervise import stop_gateway

        for intent in self._store.intents()[0]:
            self._store.set_up(intent.service.name, False, at=time.time())
        gone = asyncio.Event()

        def look(ticked: Ticked) -> bool:
            rows = {**ticked.snapshot.instances, **{row.id: row for row in ticked.plan.instances}}
            return all(row.over for row in rows.values())

        async with asyncio.timeout(DOWN_LIMIT_S):
            await run(self._held, SystemClock(), period_s=0.3, until=look, stop=gone)
        await stop_gateway(self._home.gateway_socket)

    async def _tick_until(self, recording: Recording, done: Callable[[], bool], limit_s: float, failure: str) -> None:
        deadline = time.monotonic() + limit_s

        def look(ticked: Ticked) -> bool:
            recording.take(ticked)
            if time.monotonic() > deadline:
                raise TimedOut(failure, hint="is this machine very busy? try again, or: fleetctl doctor")
            return done()

        await run(self._held, SystemClock(), period_s=self._config.period_s, until=look, stop=self._stop)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
