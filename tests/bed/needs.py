"""What a test bed needs of this machine, asked once, and told in one sentence where it is lacking."""

import functools
import os
import shutil
import subprocess
from pathlib import Path

from bed.places import cache

PROGRAMS = {
    "ip": "iproute2",
    "tc": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "setsid": "util-linux",
    "pivot_root": "util-linux",
    "ps": "procps",
    "mount": "mount",
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "dockerd": "docker.io",
    "docker": "docker.io",
    "docker-registry": "docker-registry",
    "iptables": "iptables",
}
"""Each program and the Debian package that has it."""

FREE_GB = 4.0
"""What machines without a big image write. A bed with vLLM asks for `VLLM_FREE_GB` instead."""

_PROBE_S = 20.0
_TRIES = """
set -e
ip link set lo up
ip link add fb-a type veth peer name fb-b
tc qdisc add dev fb-a root tbf rate 10mbit burst 256k latency 50ms
ip link add fb-c type bridge
mkdir -p {folder}/upper {folder}/work {folder}/root
mount -t overlay overlay -o lowerdir=/,upperdir={folder}/upper,workdir={folder}/work {folder}/root
test -x {folder}/root/bin/sh
"""
"""What is undone with the namespaces it is tried in."""

SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def program(name: str) -> str | None:
    """Where it is, also for a user whose PATH leaves out what is for root."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SBIN}")


@functools.cache
def lacking() -> str:
    """Why no bed can be made here; empty: it can."""
    if os.getuid() != 0:
        return "a test bed needs root"
    missing = {name: package for name, package in PROGRAMS.items() if program(name) is None}
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        return f"a test bed needs {', '.join(sorted(missing))}: apt-get install {packages}"
    free_gb = shutil.disk_usage(cache()).free / 1e9
    if free_gb < FREE_GB:
        return f"a test bed needs {FREE_GB:g} GB in {cache()}, and there are {free_gb:.1f}"
    folder = cache() / f"probe-{os.getpid()}"
    try:
        tried = subprocess.run(
            ["unshare", "--net", "--mount", "--pid", "--fork", "sh", "-ec", _TRIES.format(folder=folder)],
            capture_output=True,
            text=True,
            timeout=_PROBE_S,
            check=False,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if tried.returncode != 0:
        said = (tried.stderr.strip().splitlines() or ["no reason told"])[-1]
        return f"a test bed needs namespaces, overlay, veth, bridge and tbf (CAP_SYS_ADMIN, CAP_NET_ADMIN): {said}"
    if not Path("/sys/fs/cgroup/memory").is_dir() and not Path("/sys/fs/cgroup/cgroup.controllers").is_file():
        return "a test bed needs cgroups in /sys/fs/cgroup for its containers"
    return ""
