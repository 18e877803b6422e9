"""What a gateway does in one turn of its event loop: it takes several connections, and writes all at its end."""

import asyncio
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
import uvloop

from fleetctl.gateway.doors import Doors
from fleetctl.gateway.limits import ACCEPTED_AT_ONCE
from fleetctl.gateway.outgoing import Outgoing
from fleetctl.gateway.plane import DataPlane
from fleetctl.gateway.settings import Settings

LOOPS = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture(params=LOOPS)
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    factory: Callable[[], asyncio.AbstractEventLoop] = LOOPS[request.param]
    with asyncio.Runner(loop_factory=factory) as made:
        yield made


def test_more_connections_are_taken_than_turns_are_made(runner: asyncio.Runner) -> None:
    async def taken() -> int:
        plane = DataPlane(asyncio.get_running_loop(), connections_max=64)
        doors = Doors(Settings(listen="127.0.0.1:0"), None, None)
        with closing(socket.create_server(("127.0.0.1", 0))) as listener:
            listener.setblocking(False)
            address = listener.getsockname()
            await doors.open(plane, [listener])
            clients = [socket.create_connection(address) for _ in range(ACCEPTED_AT_ONCE)]
            for _ in range(ACCEPTED_AT_ONCE - 2):  # asyncio needs some to tell their protocols; fewer than connections
                await asyncio.sleep(0)
            count = len(plane.clients)
            for client in clients:
                client.close()
            doors.shut()
            plane.close()
            await asyncio.sleep(0)
        return count

    assert runner.run(taken()) == ACCEPTED_AT_ONCE


def test_no_door_stays_open_when_they_are_shut(runner: asyncio.Runner) -> None:
    async def refused() -> bool:
        plane = DataPlane(asyncio.get_running_loop(), connections_max=64)
        doors = Doors(Settings(listen="127.0.0.1:0"), None, None)
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        address = listener.getsockname()
        await doors.open(plane, [listener])
        doors.shut()
        for _ in range(3):
            await asyncio.sleep(0)
        listener.close()
        plane.close()
        try:
            socket.create_connection(address).close()
        except ConnectionRefusedError:
            return True
        return False

    assert runner.run(refused())


class Sender(asyncio.Protocol):
    """A connection with something due."""

    def __init__(self, due: bytes) -> None:
        self.due = due
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]


def test_what_is_due_is_written_when_the_turn_ends_and_not_to_who_has_gone(runner: asyncio.Runner) -> None:
    async def written() -> tuple[bool, bytes, bytes]:
        loop = asyncio.get_running_loop()
        outgoing = Outgoing(loop)
        pairs = [socket.socketpair() for _ in range(2)]
        senders = [Sender(b"one"), Sender(b"two")]
        for (ours, theirs), sender in zip(pairs, senders, strict=True):
            theirs.settimeout(5.0)
            await loop.create_connection(lambda sender=sender: sender, sock=ours)  # type: ignore[misc]
        for sender in senders:
            outgoing.add(sender)
        waits = not select.select([pairs[0][1]], [], [], 0)[0]
        senders[1].transport.abort()
        for _ in range(3):
            await asyncio.sleep(0)
        got, lost = pairs[0][1].recv(16), pairs[1][1].recv(16)
        senders[0].transport.abort()
        await asyncio.sleep(0)
        for _, theirs in pairs:
            theirs.close()
        return waits, got, lost

    assert runner.run(written()) == (True, b"one", b"")
