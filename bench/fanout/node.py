"""The two programs on the machines of `coldstart_fanout.py`: a Node, and the web server that is the origin."""

import argparse
import asyncio
from pathlib import Path

from aiohttp import web

from fleetctl.agent.api import application
from fleetctl.agent.folder import Folder
from fleetctl.agent.gpus import Gpus
from fleetctl.agent.node import Node
from fleetctl.agent.runtimes.choice import Runtimes
from fleetctl.model.names import InstanceId
from fleetctl.model.replicas import Stage
from fleetctl.model.services import LocalMachine

CONTROL_PORT = 7000
PEERS_PORT = 7001
ORIGIN_PORT = 8000


async def node(name: str, host: str, folder: Path) -> None:
    """The agent's own Node and its own HTTP interface, here on TCP."""
    place = Folder(folder)
    place.make()
    instance = InstanceId(name)
    runtimes = Runtimes("process", instance, place, real_gpus=False)
    made = Node(
        instance=instance,
        folder=place,
        gpus=Gpus(gpus=(), real=False),
        rehearsed=LocalMachine(),
        runtimes=runtimes,
        boot=Stage(name="boot", started_at=0.0, ended_at=0.0),
        peers=f"{host}:{PEERS_PORT}",
    )
    await made.begin()
    await _serve(application(made, lambda _: None), host, CONTROL_PORT)
    await made.run()


async def origin(host: str, folder: Path) -> None:
    app = web.Application()
    app.router.add_static("/", folder)
    await _serve(app, host, ORIGIN_PORT)
    await asyncio.Event().wait()


async def _serve(app: web.Application, host: str, port: int) -> None:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("node", "origin"))
    parser.add_argument("--name", default="")
    parser.add_argument("--host", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args()
    work = origin(given.host, given.folder) if given.what == "origin" else node(given.name, given.host, given.folder)
    asyncio.run(work)


if __name__ == "__main__":
    main()
