"""`fleetctl port-forward` (Look): A port of this computer that leads to a replica, past the gateway.

Example: fleetctl port-forward chat 8000
"""

import asyncio
import os
import sys
from typing import Annotated

import typer

from fleetctl.cli.output import Format, Output, line, say
from fleetctl.cli.reaching import Place, place_of, ssh_words
from fleetctl.cli.session import Session, session
from fleetctl.errors import Conflict, NotFound, UsageError
from fleetctl.wiring import refuse_read_only

app = typer.Typer(add_completion=False)

HOST = "127.0.0.1"
CHUNK_BYTES = 64 * 1024
PORT_MAX = 65_535


@app.command("port-forward")
def port_forward(
    where: Annotated[str, typer.Argument(help="A replica, or a service: its newest", metavar="REPLICA|SVC")],
    ports: Annotated[
        str | None,
        typer.Argument(
            help="Port here, or HERE:THERE; without THERE the engine's; without any a free one",
            metavar="[LOCAL:]PORT",
        ),
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Lead a port of this computer to a replica's engine, or to another port of its machine, until Ctrl-C.

    Requests that come this way pass no queue and no key: it is for looking at one engine.
    """
    here, there = _ports(ports)
    with session() as now:
        refuse_read_only(now.home)
        place = place_of(now, where)
        if there is not None and not place.local:
            _by_ssh(now, place, here, there, output)
        host, port = _target(place, there)
    asyncio.run(_forward(place, here, host, port, output))


def _ports(text: str | None) -> tuple[int, int | None]:
    """The port here (0: any that is free) and the one there (None: the engine's)."""
    words = [] if text is None else text.split(":")
    if len(words) > 2 or not all(word.isdigit() and 0 < int(word) <= PORT_MAX for word in words):
        raise UsageError(f"{text!r} is no port", hint="fleetctl port-forward chat 8000, or 8000:9090")
    if not words:
        return 0, None
    return int(words[0]), int(words[1]) if len(words) == 2 else None


def _target(place: Place, there: int | None) -> tuple[str, int]:
    assert place.replica is not None
    if there is not None:
        if place.container:
            raise UsageError(
                f"replica/{place.replica.id} runs in a container, of which only the engine's port leads out",
                hint=f"the engine's port: fleetctl port-forward {place.replica.id}",
            )
        return HOST, there
    if place.replica.address is None:
        told = f"the engine of {place.replica.id} is not there yet ({place.replica.phase})"
        raise NotFound(told, hint="fleetctl ps -r")
    host, _, port = place.replica.address.rpartition(":")
    return host, int(port)


def _by_ssh(now: Session, place: Place, here: int, there: int, output: Format) -> None:
    """OpenSSH's own forwarding, in this process's place."""
    more = ["-N", "-o", "ExitOnForwardFailure=yes", "-L", f"{HOST}:{here}:{HOST}:{there}"]
    words = ssh_words(now.home, place, tty=False, more=more)
    _told(place, here, f"{HOST}:{there} of its machine", output)
    sys.stdout.flush()
    os.execvp(words[0], words)


def _told(place: Place, port: int, leads_to: str, output: Format) -> None:
    assert place.replica is not None
    if output in (Format.JSON, Format.YAML):
        line({"replica": place.replica.id, "address": f"{HOST}:{port}"})
    else:
        sys.stdout.write(f"{HOST}:{port}\n")
        sys.stdout.flush()
    say(f"{place.told}: {HOST}:{port} leads to {leads_to}, until Ctrl-C")


async def _forward(place: Place, here: int, host: str, port: int, output: Format) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(host, port)
        except OSError as error:
            say(f"warning: {host}:{port} does not answer: {error.strerror or error}")
            writer.transport.abort()
            return
        try:
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        except OSError:
            pass  # one side is gone: so is the connection
        finally:
            for end in (writer, far_writer):
                end.close()

    try:
        server = await asyncio.start_server(serve, HOST, here)
    except OSError as error:
        raise Conflict(
            f"port {here} of this computer cannot be used: {error.strerror}", hint="leave it out: a free one is taken"
        ) from error
    _told(place, server.sockets[0].getsockname()[1], f"{host}:{port}", output)
    async with server:
        await server.serve_forever()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(CHUNK_BYTES):
        sink.write(data)
        await sink.drain()
    if sink.can_write_eof():
        sink.write_eof()
