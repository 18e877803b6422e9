"""A bed's network: one bridge, hosts on it with links of a given rate, cables to pull, counters to read."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bed.slots import Slot

_BURST = "256k"
"""With 64k a link of 1 Gbit/s does not reach its rate: the kernel's timer ticks 250 to 1000 times a second."""
_LATENCY = "50ms"


class BedError(RuntimeError):
    """Something of the bed could not be made; the message has the command and its words."""


def run(*words: str, space: str = "") -> str:
    """A command's output, run in a network namespace where one is named."""
    # Not `ip netns exec`: it mounts /sys anew, without the control groups.
    inside = ("nsenter", f"--net=/run/netns/{space}") if space else ()
    done = subprocess.run([*inside, *words], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise BedError(f"{' '.join(words)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def begin(*words: str, space: str, log: Path, environment: dict[str, str] | None = None) -> None:
    """Start what runs on in a network namespace, as nobody's child: it is found and ended by its namespace."""
    with log.open("ab") as file:
        subprocess.run(
            ["setsid", "--fork", "nsenter", f"--net=/run/netns/{space}", *words],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=environment,
            timeout=30,
            check=True,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One host's cable: `eth0` in its namespace, `port` at the bridge."""

    space: str
    address: str
    port: str
    bridge: str
    """The bridge's namespace."""

    def shape(self, rate: str) -> None:
        """Both ways at most `rate`, as in 200mbit; empty: as fast as it goes."""
        for space, device in ((self.space, "eth0"), (self.bridge, self.port)):
            if rate:
                words = ("replace", "dev", device, "root", "tbf", "rate", rate, "burst", _BURST, "latency", _LATENCY)
                run("tc", "qdisc", *words, space=space)
            elif "tbf" in run("tc", "qdisc", "show", "dev", device, space=space):
                run("tc", "qdisc", "delete", "dev", device, "root", space=space)

    def pull(self) -> None:
        """The cable, out: nothing arrives and nothing is told."""
        run("ip", "link", "set", self.port, "down", space=self.bridge)

    def plug(self) -> None:
        run("ip", "link", "set", self.port, "up", space=self.bridge)

    def sent(self) -> int:
        """Bytes that left the host, as the bridge's port counted them, heads included."""
        return self._counted("rx")

    def received(self) -> int:
        return self._counted("tx")

    def _counted(self, way: str) -> int:
        shown = json.loads(run("ip", "-s", "-j", "link", "show", "dev", self.port, space=self.bridge))
        return int(shown[0]["stats64"][way]["bytes"])


class Network:
    """The bridge in a namespace of its own; this computer is on it with the first address."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self.space = f"{slot.name}-net"
        self.controller = slot.address(1)
        run("ip", "netns", "add", self.space)
        run("ip", "link", "add", "switch", "type", "bridge", space=self.space)
        run("ip", "link", "set", "switch", "up", space=self.space)
        ours, theirs = f"{slot.name}c", f"{slot.name}p"
        run("ip", "link", "add", ours, "type", "veth", "peer", "name", theirs)
        run("ip", "link", "set", theirs, "netns", self.space)
        run("ip", "link", "set", theirs, "master", "switch", "up", space=self.space)
        run("ip", "address", "add", f"{self.controller}/24", "dev", ours)
        run("ip", "link", "set", ours, "up")

    def host(self, name: str, number: int, *, rate: str = "") -> Link:
        """A namespace for a host, on the bridge. It has no way out: nothing but the bed is reached from it."""
        space, port = f"{self._slot.name}-{name}", f"p-{name}"
        address = self._slot.address(number)
        run("ip", "netns", "add", space)
        run("ip", "link", "set", "lo", "up", space=space)
        run("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", space, space=self.space)
        run("ip", "link", "set", port, "master", "switch", "up", space=self.space)
        run("ip", "address", "add", f"{address}/24", "dev", "eth0", space=space)
        run("ip", "link", "set", "eth0", "up", space=space)
        link = Link(space=space, address=address, port=port, bridge=self.space)
        link.shape(rate)
        return link
