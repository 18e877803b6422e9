"""The way of a person to a replica or a machine: which one is meant, and the words that run something there.

Local machines are folders of this computer; all others are reached by OpenSSH's own `ssh`, with the fleet's key and the
host keys that were pinned at the first contact, and with nothing of the user's own settings.
"""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence

from fleetctl.cli.output import Format, document
from fleetctl.cli.session import Session
from fleetctl.cli.subjects import subject_of
from fleetctl.errors import AgentFailure, MissingDependency, NotFound, UsageError
from fleetctl.model.instances import Instance
from fleetctl.model.records import dataclass
from fleetctl.model.replicas import Replica, ReplicaPhase, Role
from fleetctl.paths import Home

LOCAL = "unix:"
CONNECT_S = 15
"""As the fleet's own connections: TCP, key exchange and login."""

_FIND = (
    'for root in "${FLEETCTL_NODE_HOME:-}" /opt/fleetctl "$HOME/.fleetctl"; do'
    ' if [ -n "$root" ] && [ -e "$root/.fleetctl-node" ]; then folder=$root/machine; break; fi; done;'
    ' [ -n "${folder:-}" ] || { echo "there is no node agent of fleetctl here" >&2; exit 4; }; '
)
"""Where the node's script puts an agent."""
_AS_ROOT = (
    'if [ "$(id -u)" != 0 ] && command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null;'
    ' then exec sudo -n sh -c "$0" "$0" "$@"; fi; '
)
"""The agent runs as root where it may: its folder is then root's alone."""
_IN = (
    "replica=$1; tty=$2; gpus=$3; shift 3; record=$folder/engines/$replica.json;"
    ' [ -r "$record" ] || { echo "no engine of $replica was started here" >&2; exit 4; };'
    ' if grep -q \'"runtime":"docker"\' "$record"; then exec docker exec $tty "fleetctl-$replica" "$@"; fi;'
    ' cd "$folder" && FLEETCTL_SHELL_OF=$replica CUDA_VISIBLE_DEVICES=$gpus exec "$@"'
)
"""Into the container of a Replica; or beside its process, in its machine's folder and with its GPUs."""
SHELL = ("sh", "-c", "if command -v bash >/dev/null 2>&1; then exec bash; else exec sh; fi")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A machine, and the Replica on it that is meant, if one is."""

    instance: Instance
    address: str
    replica: Replica | None
    container: bool

    @property
    def local(self) -> bool:
        return self.address.startswith(LOCAL)

    @property
    def told(self) -> str:
        """For people: what was chosen."""
        where = f"instance/{self.instance.id}"
        return where if self.replica is None else f"replica/{self.replica.id} on {where}"


def place_of(now: Session, word: str, *, machine: bool = False) -> Place:
    """The Replica that is meant: of a Service its newest that is ready. With `machine` an Instance may be, too.

    Raises `NotFound` where it has no machine yet, and `UsageError` for anything else.
    """
    view = now.view()
    subject = subject_of(word, view)
    kind, _, name = subject.partition("/")
    replica: Replica | None = None
    if kind == "instance" and machine:
        instance = view.instance_of[name]
    elif kind in ("service", "replica"):
        found = [one for one in view.replicas if name in (one.id, one.service) and one.instance in view.instance_of]
        if not found:
            raise NotFound(f"{subject} has no machine yet", hint="see: fleetctl ps -r")
        replica = max(
            found, key=lambda one: (one.phase is ReplicaPhase.READY, one.role is Role.SERVING, one.created_at)
        )
        assert replica.instance is not None
        instance = view.instance_of[replica.instance]
    else:
        what = "a replica, a service or an instance" if machine else "a replica or a service"
        raise UsageError(f"{subject} is not {what}", hint="see: fleetctl ps -r, fleetctl ps -i")
    if instance.address is None or instance.over:
        raise NotFound(f"instance/{instance.id} has no address ({instance.phase})", hint="fleetctl ps -i")
    intents = {one.service.name: one.service for one in view.intents}
    service = intents.get(replica.service) if replica is not None else None
    return Place(
        instance=instance,
        address=instance.address,
        replica=replica,
        container=service is not None and service.image is not None,
    )


def inside(home: Home, place: Place, words: Sequence[str], *, tty: bool) -> list[str]:
    """The command line that runs `words` where the Replica runs: in its container, or beside its process."""
    assert place.replica is not None
    gpus = ",".join(map(str, place.replica.gpus))
    given = [place.replica.id, "-it" if tty else "-i", gpus, *(words or SHELL)]
    if place.local:
        folder = str(home.machines / place.instance.id)
        return ["sh", "-c", f"folder=$1; shift; {_IN}", "fleetctl", folder, *given]
    script = f"{_AS_ROOT}{_FIND}{_IN}"
    # `$0` is the script itself, for it to begin again as root.
    return [*ssh_words(home, place, tty=tty), shlex.join(["sh", "-c", script, script, *given])]


def on_machine(home: Home, place: Place, words: Sequence[str], *, tty: bool) -> list[str]:
    """The command line that runs `words`, or a shell, on the machine itself."""
    if place.local:
        folder = str(home.machines / place.instance.id)
        return ["sh", "-c", 'cd "$1" && shift && exec "$@"', "fleetctl", folder, *(words or SHELL)]
    return [*ssh_words(home, place, tty=tty), *([shlex.join(words)] if words else [])]


def ssh_words(home: Home, place: Place, *, tty: bool, more: Sequence[str] = ()) -> list[str]:
    """`ssh` with the fleet's key and pinned host keys, up to and with the machine's name.

    Raises `AgentFailure` for a machine that no controller has met: its host key is not known yet.
    """
    from fleetctl.node.address import ssh_address
    from fleetctl.node.keys import secret_key, ssh_folder
    from fleetctl.node.known_hosts import KnownHosts

    if shutil.which("ssh") is None:
        raise MissingDependency("there is no ssh on this computer", hint="install it: apt install openssh-client")
    where = ssh_address(place.address)
    known = KnownHosts(ssh_folder(home) / "known_hosts")
    if known.pinned(where.pinned_as) is None:
        raise AgentFailure(
            f"{where.place} was not met by this computer's fleetctl yet, so its host key is not known",
            hint="a controller pins it at its first contact: fleetctl up, on this computer",
        )
    options = {
        "UserKnownHostsFile": str(known.path),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "HostKeyAlias": where.pinned_as,
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "PreferredAuthentications": "publickey",
        "ConnectTimeout": str(CONNECT_S),
        "LogLevel": "ERROR",
    }
    said = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return [
        *("ssh", "-F", "/dev/null", "-i", str(secret_key(home)), "-p", str(where.port), *said),
        *("-t" if tty else "-T", *more, "-l", where.user, where.host),
    ]


def terminal() -> bool:
    """Whether a person sits at both ends of what is run."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def become(words: Sequence[str], told: str, output: Format) -> int:
    """Run it in this process's place, so that signals and its exit code are its own. As JSON: run it and tell all."""
    if output not in (Format.JSON, Format.YAML):
        sys.stdout.flush()
        sys.stderr.flush()
        os.execvp(words[0], list(words))
    done = subprocess.run(words, capture_output=True, check=False)
    body = {
        "on": told,
        "exit_code": _code(done.returncode),
        "stdout": done.stdout.decode(errors="replace"),
        "stderr": done.stderr.decode(errors="replace"),
    }
    document(body, output)
    return _code(done.returncode)


def _code(returned: int) -> int:
    return returned if returned >= 0 else 128 - returned
