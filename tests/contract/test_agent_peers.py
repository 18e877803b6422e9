"""The port at which a Node gives Artifacts to others: known before it is open, open once there is a key."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from chunk_nodes import BOUND_S, KEY

from fleetctl.agent.chunks.store import Store
from fleetctl.agent.peers import Peers
from fleetctl.errors import UsageError
from fleetctl.model.nodes import PEER_PORT


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


@pytest.mark.parametrize(
    "where",
    ["nowhere", ":80", "127.0.0.1:", "127.0.0.1:99999", "203.0.113.1:7000", "auto:", "auto:some", "auto:99999"],
)
def test_what_is_no_address_of_this_machine_is_told(tmp_path: Path, where: str) -> None:
    with pytest.raises(UsageError, match="--peers"):
        Peers(Store(tmp_path), where)


CLOUD = """
ip link set lo up
ip link add docker0 type bridge && ip address add 172.17.0.1/16 dev docker0 && ip link set docker0 up
ip link add eth0 type veth peer name outside && ip link set outside up
ip address add 10.7.0.5/24 dev eth0 && ip link set eth0 up && ip route add default via 10.7.0.1
exec "$@"
"""
"""A machine as clouds make them: private addresses, of which one leads outside; the public one is on no interface."""

SAID = """
import contextlib, pathlib, socket, sys
from fleetctl.agent.chunks.store import Store
from fleetctl.agent.peers import Peers
with contextlib.ExitStack() as open_files:
    if sys.argv[2]:
        taken = open_files.enter_context(socket.create_server(("10.7.0.5", int(sys.argv[2]))))
    print(Peers(Store(pathlib.Path(sys.argv[3])), sys.argv[1]).address)
"""


def said_in_a_cloud(tmp_path: Path, where: str, *, taken: str = "") -> str:
    """The address that a Node there reports to the others. `taken`: a port at which another program listens."""
    done = subprocess.run(
        ["unshare", "--net", "sh", "-ec", CLOUD, "sh", sys.executable, "-c", SAID, where, taken, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode and ("not permitted" in done.stderr or "Unknown device type" in done.stderr):
        pytest.skip("needs a network of its own")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_in_a_cloud_it_reports_its_private_address_at_the_port_that_is_open_there(tmp_path: Path) -> None:
    assert said_in_a_cloud(tmp_path, f"auto:{PEER_PORT}") == f"10.7.0.5:{PEER_PORT}"


def test_port_of_another_program_is_no_reason_to_have_no_agent(tmp_path: Path) -> None:
    host, _, port = said_in_a_cloud(tmp_path, f"auto:{PEER_PORT}", taken=str(PEER_PORT)).rpartition(":")

    assert host == "10.7.0.5"
    assert int(port) not in (0, PEER_PORT)
