"""A whole Debian with systemd and cloud-init, in a container of a machine: a cloud instance at its first boot."""

import fcntl
import hashlib
import json
import os
import shutil
from pathlib import Path

from bed import debian
from bed.layers import of_files
from bed.machines import Machine
from bed.packages import Unavailable
from bed.places import cache
from bed.registry import Layer, Registry, layer

PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "cloud-init", "openssh-server", "sudo"),
    *("python3-venv", "iproute2", "ca-certificates"),
)

SSH_PORT = 2222
NAME = "instance"

_CLOUD = """\
datasource_list: [NoCloud, None]
network: {config: disabled}
locale: false
"""
"""Without `locale: false` a system without locales ends its first boot as an error."""


def base() -> Layer:
    """The system, made once and cached. Raises `Unavailable`."""
    packages = hashlib.sha256(" ".join(PACKAGES).encode()).hexdigest()[:8]
    path = cache() / "layers" / f"system-{debian.suite()}-{packages}.tar"
    path.parent.mkdir(exist_ok=True)
    with (cache() / "system.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            draft = path.with_name(f"draft-{os.getpid()}.tar")
            debian.bootstrap(PACKAGES, draft)
            draft.replace(path)
    return layer(path)


def image(registry: Registry) -> str:
    """The system in the registry, by digest, with what makes its first boot end well in a container. It has the command
    `docker`, for the machine's own daemon."""
    docker = shutil.which("docker")
    if docker is None:
        raise Unavailable("a system for cloud-init needs the docker command: apt-get install docker.io")
    fitting = of_files(
        {
            "etc/cloud/cloud.cfg.d/99-bed.cfg": _CLOUD.encode(),
            "etc/fstab": b"",
            "usr/bin/docker": Path(docker).read_bytes(),
        },
        modes={"usr/bin/docker": 0o755},
    )
    config: dict[str, object] = {
        "Cmd": ["/lib/systemd/systemd"],
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    }
    return registry.push("system", "1", (base(), fitting), config)


def boot(machine: Machine, image: str, *, user_data: str, public_key: str, pip: str) -> None:
    """Its first boot, in a container called `instance`, with sshd at the machine's port 2222. As in a cloud, the user
    `debian` is let in with the key. `pip` is the content of its pip.conf."""
    seed = machine.share / "seed"
    seed.mkdir(exist_ok=True)
    (seed / "meta-data").write_text(json.dumps({"instance-id": NAME, "public-keys": [public_key]}))
    (seed / "user-data").write_text(user_data)
    (machine.share / "pip.conf").write_text(pip)
    words = ["run", "--detach", "--tty", "--name", NAME, "--hostname", NAME]
    words += ["--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN", "--cap-add", "SYS_PTRACE"]
    words += ["--security-opt", "seccomp=unconfined", "--cgroupns", "host", "--stop-signal", "SIGRTMIN+3"]
    words += ["--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp"]
    words += ["--volume", "/sys/fs/cgroup/systemd:/sys/fs/cgroup/systemd:rw"]
    words += ["--volume", "/run/docker.sock:/run/docker.sock"]
    words += ["--volume", "/run/bed/seed:/var/lib/cloud/seed/nocloud:ro"]
    words += ["--volume", "/run/bed/pip.conf:/etc/pip.conf:ro", "--volume", "/run/bed/trusted.pem:/etc/trusted.pem:ro"]
    words += ["--publish", f"{SSH_PORT}:22", "--env", "container=docker", image]
    machine.docker(*words)


def inside(machine: Machine, *words: str) -> str:
    """What a command in the system prints, whatever its exit code."""
    return machine.inside("docker", "exec", NAME, *words, check=False)
