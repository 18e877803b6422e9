"""The agent's process: boot, serve, converge, leave."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleetctl.agent.api import EnginesAtShutdown, application
from fleetctl.agent.facts import FactsWatch
from fleetctl.agent.folder import Folder, read, write
from fleetctl.agent.gpus import discover
from fleetctl.agent.node import MachineGone, Node
from fleetctl.agent.notices.watch import Notices, watch
from fleetctl.agent.replica_run import STOP_GRACE_S
from fleetctl.agent.runtimes.choice import RuntimeChoice, Runtimes
from fleetctl.model.names import InstanceId
from fleetctl.model.replicas import Stage
from fleetctl.model.services import Gpu, LocalMachine

log = logging.getLogger(__name__)

_LISTEN_BACKLOG = 64
"""One controller and a few commands speak to an agent at a time."""

_LEAVE_GRACE_S = 0.5
"""For answers under way when the agent leaves; they are small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the agent is started with."""

    instance: InstanceId
    folder: Folder
    socket: Path
    gpus: Gpu
    rehearsed: LocalMachine
    runtime: RuntimeChoice
    owner: int | None = None
    """User id that the socket is given to; None: our own."""
    notices: Notices = "none"
    """Who says when this machine will be taken away."""
    notices_url: str | None = None
    """Where its metadata service is; None: where its cloud has it."""
    peers: str = "off"
    """Where other Nodes fetch from this one: `HOST:PORT`, `auto` or `off`."""
    images_limit_bytes: int | None = None
    """Of images that we brought and nothing wants any more; None: a share of Docker's disk."""
    store_limit_bytes: int | None = None
    """Of Artifacts that came in chunks; None: a share of the disk."""


async def serve(options: Options) -> None:
    """Be the node agent until asked to leave."""
    from aiohttp import web

    leave: asyncio.Future[EnginesAtShutdown] = asyncio.get_running_loop().create_future()

    def shut_down(engines: EnginesAtShutdown) -> None:
        if not leave.done():
            leave.set_result(engines)

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, shut_down, "keep")
    options.folder.make()
    options.socket.unlink(missing_ok=True)
    gpus, boot = await asyncio.gather(discover(options.gpus), _boot(options, leave))
    if boot is None:
        return
    runtimes = Runtimes(options.runtime, options.instance, options.folder, real_gpus=gpus.real)
    facts = FactsWatch(runtimes)
    watcher = watch(options.notices, url=options.notices_url, folder=options.folder)
    node = Node(
        instance=options.instance,
        folder=options.folder,
        gpus=gpus,
        rehearsed=options.rehearsed,
        runtimes=runtimes,
        boot=boot,
        facts=lambda: facts.facts,
        notice=lambda: watcher.notice,
        peers=options.peers,
        store_limit_bytes=options.store_limit_bytes,
        images_limit_bytes=options.images_limit_bytes,
    )
    await node.begin()
    runner = web.AppRunner(application(node, shut_down), access_log=None, shutdown_timeout=_LEAVE_GRACE_S)
    await runner.setup()
    await web.SockSite(runner, _listen(options.socket, options.owner)).start()
    log.info("%s serves %s", options.instance, options.socket)
    converging = asyncio.create_task(node.run())
    watching = asyncio.create_task(watcher.run(node.look))
    looking = asyncio.create_task(facts.watch())
    waited: list[asyncio.Future[Any]] = [converging, leave]
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    gone = False
    if converging.done():
        try:
            converging.result()
        except MachineGone as error:
            log.warning("%s; its engines are ended", error)
            gone = True
    for task in (converging, watching, looking):
        task.cancel()
    await asyncio.gather(converging, watching, looking, return_exceptions=True)
    with contextlib.suppress(FileNotFoundError):
        options.socket.unlink()
    await runner.cleanup()
    await node.close(
        stop_engines=gone or (leave.done() and leave.result() == "stop"),
        grace_s=0.0 if watcher.taken else STOP_GRACE_S,
    )
    await asyncio.to_thread(watcher.clear)
    log.info("%s left", options.instance)


async def _boot(options: Options, leave: asyncio.Future[EnginesAtShutdown]) -> Stage | None:
    """Rehearse the Instance's boot, once per start of the Instance. None: asked to leave meanwhile."""
    stage = read(options.folder.boot, Stage)
    if stage is None:
        began = Stage(name="boot", started_at=time.time())
        if options.rehearsed.boot_s > 0:
            await asyncio.wait({leave}, timeout=options.rehearsed.boot_s)
        stage = Stage(
            name="boot",
            started_at=began.started_at,
            ended_at=time.time(),
            detail="rehearsed" if options.rehearsed.boot_s > 0 else "",
        )
        if not leave.done():
            write(options.folder.boot, stage)
    return None if leave.done() else stage


def _listen(path: Path, owner: int | None) -> socket.socket:
    """A listening socket that only its owner can open from the moment it is there."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    if owner is not None and owner != os.getuid():
        os.chown(path, owner, -1)
    listener.listen(_LISTEN_BACKLOG)
    return listener
