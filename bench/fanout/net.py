"""Machines for measurements: network namespaces on one bridge, every link shaped both ways. Needs root.

Everything is named after a run id; what an earlier run of the same id left is removed first, and all of it at the end.
"""

import ctypes
import json
import os
import subprocess
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_BURST = "256k"
_LATENCY = "50ms"
"""A queue of at most 50 ms, as a switch has; the burst is small beside what is sent, so that the rate is the rate."""


class Net:
    """A bridge in a namespace of its own, and machines on it at 10.97.0.N."""

    def __init__(self, run: str) -> None:
        self._run = run
        self.hub = f"{run}-hub"
        self._machines: dict[int, str] = {}
        self.remove()
        _do("ip", "netns", "add", self.hub)
        self._in(self.hub, "ip link set lo up")
        self._in(self.hub, "ip link add br0 type bridge")
        self._in(self.hub, "ip addr add 10.97.255.254/16 dev br0")
        self._in(self.hub, "ip link set br0 up")

    def machine(self, number: int, mbit: float) -> str:
        """The namespace of a machine at `mbit` each way; its address is `address(number)`."""
        name = f"{self._run}-{number}"
        _do("ip", "netns", "add", name)
        inside, outside = f"/run/netns/{name}", f"/run/netns/{self.hub}"
        _do("nsenter", f"--net={outside}", "ip", "link", "add", f"p{number}", "type", "veth", "peer", "name", "eth0",
            "netns", name)  # fmt: skip
        assert Path(inside).exists()
        self._in(self.hub, f"ip link set p{number} master br0 up")
        self._in(name, "ip link set lo up")
        self._in(name, f"ip addr add {self.address(number)}/16 dev eth0")
        self._in(name, "ip link set eth0 up")
        self._machines[number] = name
        self.shape(number, mbit, "add")
        return name

    @staticmethod
    def address(number: int) -> str:
        return f"10.97.0.{number}"

    def shape(self, number: int, mbit: float, verb: str = "change") -> None:
        rule = f"root tbf rate {mbit}mbit burst {_BURST} latency {_LATENCY}"
        self._in(self._machines[number], f"tc qdisc {verb} dev eth0 {rule}")
        self._in(self.hub, f"tc qdisc {verb} dev p{number} {rule}")

    def pull(self, number: int) -> None:
        """The cable: nobody is told."""
        self._in(self.hub, f"ip link set p{number} nomaster")

    def sent_bytes(self, number: int) -> int:
        """By the machine, as its link counts them, headers and all."""
        said = subprocess.run(
            ["nsenter", f"--net=/run/netns/{self.hub}", "ip", "-j", "-s", "link", "show", f"p{number}"],
            check=True,
            capture_output=True,
        )
        return int(json.loads(said.stdout)[0]["stats64"]["rx"]["bytes"])

    def enter(self) -> None:
        """From now on this thread is on the bridge, where no link is shaped."""
        with Path(f"/run/netns/{self.hub}").open() as net:
            if ctypes.CDLL(None, use_errno=True).setns(net.fileno(), _CLONE_NEWNET):
                raise SystemExit(f"cannot enter {self.hub}: {os.strerror(ctypes.get_errno())}")

    def remove(self) -> None:
        for path in Path("/run/netns").glob(f"{self._run}-*"):
            subprocess.run(["ip", "netns", "del", path.name], check=False, capture_output=True)

    def _in(self, name: str, command: str) -> None:
        _do("nsenter", f"--net=/run/netns/{name}", *command.split())


def _do(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()}")
