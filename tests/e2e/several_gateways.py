"""A fleet with a controller in this process, its gateway, and further gateways that join it; all else is real."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
import psutil
from fleet_home import COMMAND_S, ENDS_S, fleet_text
from ports import free_port

from fleetctl.controller.clock import SystemClock
from fleetctl.controller.controllers import Controller, Ticked
from fleetctl.controller.loop import run
from fleetctl.gateway.leashed import runs_for
from fleetctl.gateway.supervise import stop_gateway
from fleetctl.model.replicas import ReplicaPhase
from fleetctl.paths import Home
from fleetctl.providers.local import LOCAL
from fleetctl.spec.load import load
from fleetctl.spec.revision import revision
from fleetctl.store import SqlStore
from fleetctl.wiring import connected, fleet_store, holder_is_dead, this_holder

GONE_S = 60.0
"""From the intent to have nothing until nothing is there."""

JOIN = """
import asyncio, pathlib, sys
from fleetctl.wiring import join_fleet
url, name, socket, fenced_s, *options = sys.argv[1:]
asyncio.run(join_fleet(
    url, name=name, listen="127.0.0.1:0", socket=pathlib.Path(socket), fenced_s=float(fenced_s),
    options=options, ready=lambda address: print(address, flush=True),
))
"""


@dataclass(slots=True)
class Fleet:
    """What a test sees of it."""

    folder: Path
    store: SqlStore
    store_url: str
    url: str
    held: Controller
    fenced_s: float
    ticks: list[tuple[float, Ticked]] = field(default_factory=list)
    """When each began, and what it was."""
    joined: "list[JoinedGateway]" = field(default_factory=list)
    ends: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    """What is done first when the block ends."""

    def addresses(self) -> list[str]:
        """Of the replicas that are ready."""
        rows = self.store.load().replicas.values()
        return [row.address for row in rows if row.phase is ReplicaPhase.READY and row.address is not None]

    async def join(self, name: str, *options: str) -> "JoinedGateway":
        """`options`: further words for `python -m fleetctl.gateway`."""
        words = (self.store_url, name, str(self.folder / f"{name}.sock"), str(self.fenced_s), *options)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", JOIN, *words),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        made = JoinedGateway(process=process, url="")
        self.joined.append(made)
        async with asyncio.timeout(COMMAND_S):
            made.url = f"http://{(await process.stdout.readline()).decode().strip()}"
        assert made.url != "http://", "it did not start"
        return made

    async def join_by_command(self, name: str) -> "JoinedGateway":
        """As a person does."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "fleetctl", "gateway", "--join", name, "--listen", "127.0.0.1:0"),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "FLEETCTL_HOME": str(self.folder / "home"), "FLEETCTL_STORE": self.store_url},
        )
        assert process.stdout is not None
        made = JoinedGateway(process=process, url="")
        self.joined.append(made)
        async with asyncio.timeout(COMMAND_S):
            made.url = (await process.stdout.readline()).decode().strip().removesuffix("/v1")
        assert made.url.startswith("http://"), "it did not start"
        return made


@dataclass(slots=True)
class JoinedGateway:
    process: asyncio.subprocess.Process
    url: str

    def kill(self) -> None:
        """All of it, at once."""
        family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        for one in family:
            with contextlib.suppress(psutil.Error):
                one.kill()

    async def end(self) -> None:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(ENDS_S):
                    await self.process.wait()
            except TimeoutError:
                self.kill()
                await self.process.wait()
        assert not runs_for(self.process.pid)


@asynccontextmanager
async def several_gateways(
    service: str, *, store_url: str | None = None, period: str = "300ms", silent_s: float = 60.0, fenced_s: float = 45.0
) -> AsyncIterator[Fleet]:
    """The service runs on machines of this computer; everything of it is ended with the block."""
    folder = Path(tempfile.mkdtemp(prefix="fe-"))
    files, home = folder / "files", Home(folder / "home")
    files.mkdir()
    home.root.mkdir(mode=0o700)
    port = free_port()
    text = fleet_text(port).replace("period: 300ms", f"period: {period}")
    (files / "fleet.yaml").write_text(f"{text}---\n{service}")
    declared = load([files], providers=(LOCAL,))
    config = replace(declared.config, store_url=store_url)
    store = fleet_store(home, config)
    stop = asyncio.Event()
    try:
        for pool in declared.pools:
            store.put_pool(pool, at=time.time())
        for one in declared.services:
            store.put_service(one, revision=revision(one), at=time.time())
        async with connected(home, config) as ports:
            held = Controller(
                store,
                ports,
                fleet=config.name,
                holder=this_holder(),
                holder_is_dead=holder_is_dead,
                auth=lambda: False,
                silent_s=silent_s,
            )
            fleet = Fleet(
                folder=folder,
                store=store,
                store_url=store_url or str(home.store),
                url=f"http://127.0.0.1:{port}",
                held=held,
                fenced_s=fenced_s,
            )

            def saw(ticked: Ticked) -> None:
                fleet.ticks.append((time.time() - ticked.wall_s, ticked))

            running = asyncio.create_task(run(held, SystemClock(), period_s=config.period_s, on_tick=saw, stop=stop))
            try:
                yield fleet
                fleet.ends.close()
                for gateway in fleet.joined:
                    await gateway.end()
                for one in declared.services:
                    store.set_up(one.name, False, at=time.time())
                async with asyncio.timeout(GONE_S):
                    while any(not row.over for row in store.load().instances.values()):
                        assert not running.done(), running.exception()
                        await asyncio.sleep(0.1)
            finally:
                fleet.ends.close()
                for gateway in fleet.joined:
                    if gateway.process.returncode is None:
                        gateway.kill()
                        await gateway.process.wait()
                stop.set()
                await asyncio.gather(running, return_exceptions=True)
                await held.close()
                await stop_gateway(home.gateway_socket)
    finally:
        store.close()
        shutil.rmtree(folder, ignore_errors=True)


async def load_of(session: aiohttp.ClientSession, address: str) -> float:
    """Requests that an engine has, running or waiting, by its own metrics."""
    async with session.get(f"http://{address}/metrics") as answer:
        text = await answer.text()
    return sum(
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith(("vllm:num_requests_running", "vllm:num_requests_waiting"))
        and not line.startswith("vllm:num_requests_waiting_")
    )
