"""The port at which a Node gives Artifacts to others: known before it is open, open once there is a key."""

import asyncio
from pathlib import Path

import pytest
from chunk_nodes import BOUND_S, KEY

from fleetctl.agent.chunks.store import Store
from fleetctl.agent.peers import Peers
from fleetctl.errors import UsageError


async def reached(address: str) -> bool:
    """Whether somebody answers there, whatever it says."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(BOUND_S):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            said = await reader.read()
            writer.close()
            await writer.wait_closed()
    except ConnectionRefusedError:
        return False
    return said.startswith(b"HTTP/")


async def test_its_number_is_known_before_it_is_open(tmp_path: Path) -> None:
    store = Store(tmp_path)
    peers = Peers(store, "127.0.0.1:0")
    try:
        before = await reached(peers.address)

        peers.use(KEY.hex())
        await peers.ready()

        assert (before, await reached(peers.address)) == (False, True)
        assert store.key == KEY
    finally:
        await peers.close()
    assert not await reached(peers.address)


@pytest.mark.parametrize("given", ["", "no hex", "ab"])
async def test_without_a_whole_key_it_stays_closed(tmp_path: Path, given: str) -> None:
    store = Store(tmp_path)
    peers = Peers(store, "127.0.0.1:0")
    try:
        peers.use(given)
        await peers.ready()

        assert store.key is None
        assert not await reached(peers.address)
    finally:
        await peers.close()


async def test_off_is_no_address(tmp_path: Path) -> None:
    peers = Peers(Store(tmp_path), "off")

    peers.use(KEY.hex())
    await peers.ready()

    assert peers.address == ""
    await peers.close()


@pytest.mark.parametrize("where", ["nowhere", ":80", "127.0.0.1:", "127.0.0.1:99999", "203.0.113.1:7000"])
def test_what_is_no_address_of_this_machine_is_told(tmp_path: Path, where: str) -> None:
    with pytest.raises(UsageError, match="--peers"):
        Peers(Store(tmp_path), where)
