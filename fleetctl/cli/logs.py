"""`fleetctl logs` (Look): What the engine of a replica wrote."""

import asyncio
import sys
from typing import Annotated

import typer

from fleetctl.cli.output import Format, Output, document, say
from fleetctl.cli.session import Session, session
from fleetctl.cli.streams import pause
from fleetctl.errors import NotFound
from fleetctl.model.names import ReplicaId
from fleetctl.model.replicas import Replica
from fleetctl.paths import Home

app = typer.Typer(add_completion=False)

FOLLOW_S = 0.5


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help="A replica, or a service (its newest replica)")],
    tail: Annotated[int, typer.Option(min=1, max=1_000_000, help="Bytes from the end")] = 16_384,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on, as it is written")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Print the end of a replica's engine log."""
    with session() as now:
        replica, address = _find(now, name.removeprefix("replica/").removeprefix("service/"))
        say(f"replica/{replica.id} on {replica.instance}")
        asyncio.run(_print(now.home, address, replica.id, tail, follow=follow, output=output))


async def _print(home: Home, address: str, replica: ReplicaId, tail: int, *, follow: bool, output: Format) -> None:
    from fleetctl.node.links import NodeLinks

    link = NodeLinks(home)
    try:
        text = await link.logs(address, replica, tail)
        if output in (Format.JSON, Format.YAML):
            document({"replica": replica, "log": text.decode(errors="replace")}, output)
            return
        sys.stdout.write(text.decode(errors="replace"))
        sys.stdout.flush()
        while follow:
            await asyncio.sleep(FOLLOW_S)
            pause(0)
            newer = await link.logs(address, replica, 1_000_000)
            if newer.endswith(text):
                continue
            at = newer.rfind(text[-4096:])
            fresh = newer[at + len(text[-4096:]) :] if at >= 0 else newer
            sys.stdout.write(fresh.decode(errors="replace"))
            sys.stdout.flush()
            text = newer
    finally:
        await link.close()


def _find(now: Session, name: str) -> tuple[Replica, str]:
    view = now.view()
    found = [replica for replica in view.replicas if name in (replica.id, replica.service) and replica.instance]
    if not found:
        raise NotFound(f"no replica of that name, or of a service {name!r}, has a machine", hint="fleetctl ps -r")
    replica = found[-1]
    for instance in view.instances:
        if instance.id == replica.instance and instance.address is not None:
            return replica, instance.address
    raise NotFound(f"the machine of {replica.id} has no address yet", hint="fleetctl ps -i")
