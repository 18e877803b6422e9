"""A command, a shell and a port on machines of one's own, over the user's own `ssh` and nothing of their settings."""

import shutil

import pytest
from fleet_home import FleetHome, until
from ports import free_port
from ssh_machines import SshMachine, needs_sshd
from test_ssh_machines import home, machines, write  # noqa: F401 - fixtures

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    needs_sshd,
    pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no ssh on this machine"),
]


def test_a_command_a_shell_and_a_port(home: FleetHome, machines: tuple[SshMachine, ...]) -> None:  # noqa: F811
    write(home, machines)
    home.run("up", "-f", "fleet.yaml", "--yes")
    home.run("daemon", "start")
    settings = {"HOME": str(home.folder), "SSH_AUTH_SOCK": "/nowhere"}

    machine = home.run("ssh", "chat", "--", "sh", "-c", "echo on a machine; exit 5", code=5, environment=settings)
    (row,) = home.run("get", "rep", "-o", "json").json()["items"]

    inside = home.run("exec", "chat", "--", "sh", "-c", "echo beside $FLEETCTL_SHELL_OF; exit 3", code=3)

    assert inside.out == f"beside {row['name']}\n"
    assert machine.out == "on a machine\n"
    assert f"instance/{row['instance']}" in machine.err

    port = free_port()
    running = home.start("port-forward", row["name"], str(port))
    until("the port is told", lambda: f"127.0.0.1:{port}" in running.out.read_text(), within_s=60.0)
    running.interrupt()
    running.end()
    home.run("down", "--all")


def test_a_machine_that_shows_another_key_is_not_spoken_to(
    home: FleetHome,  # noqa: F811
    machines: tuple[SshMachine, ...],  # noqa: F811
) -> None:
    write(home, machines)
    home.run("up", "-f", "fleet.yaml", "--yes")
    known = home.root / "ssh" / "known_hosts"
    lines = known.read_text().splitlines()
    known.write_text("".join(f"{line.split()[0]} {_other(line)}\n" for line in lines))

    refused = home.run("ssh", "chat", "--", "true", code=255)

    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in refused.err or "Host key verification failed" in refused.err


def _other(line: str) -> str:
    """A key of the same kind that is not the machine's."""
    _, kind, key = line.split()[:3]
    swapped = key[:-12] + key[-12:].swapcase()
    return f"{kind} {swapped}"
