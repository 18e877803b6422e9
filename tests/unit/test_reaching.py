"""The command lines that run something where a replica runs: what reaches the far end, word by word."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from fleet_world import START, an_offer

from fleetctl.agent.folder import Folder, write
from fleetctl.agent.runtimes.runtime import EngineRecord, RuntimeName
from fleetctl.cli.reaching import Place, inside, on_machine, ssh_words
from fleetctl.errors import AgentFailure
from fleetctl.model.instances import Instance
from fleetctl.model.names import InstanceId, PoolName, ReplicaId, ServiceName
from fleetctl.model.replicas import Replica
from fleetctl.node.keys import public_key, ssh_folder
from fleetctl.node.known_hosts import KnownHosts
from fleetctl.paths import Home

REPLICA = Replica(
    id=ReplicaId("chat-e1-1"),
    service=ServiceName("chat"),
    revision="r1",
    created_at=START,
    instance=InstanceId("chat-e1-2"),
    gpus=(2, 3),
)
INSTANCE = Instance(
    id=InstanceId("chat-e1-2"), pool=PoolName("chat"), offer=an_offer(), phase_at=START, created_at=START
)
HERE = Place(instance=INSTANCE, address="unix:/run/agent.sock", replica=REPLICA, container=False)
THERE = replace(HERE, address="ssh://ubuntu@192.0.2.7:2222/chat-e1-2")
DOCKER = '#!/bin/sh\necho docker; for word in "$@"; do echo "<$word>"; done; exit 9\n'
"""Says what it was given, and ends as the command inside would."""


def a_home(tmp_path: Path, runtime: RuntimeName) -> Home:
    """With a local machine on which an engine of the Replica was started."""
    home = Home(tmp_path)
    folder = Folder(home.machines / INSTANCE.id)
    folder.root.mkdir(parents=True)
    folder.make()
    write(folder.engine(REPLICA.id), EngineRecord(replica=REPLICA.id, runtime=runtime))
    return home


def test_beside_a_process_with_its_gpus_and_in_its_folder(tmp_path: Path) -> None:
    home = a_home(tmp_path, "process")
    words = ["sh", "-c", 'pwd; echo "$CUDA_VISIBLE_DEVICES $1"; exit 4', "x", "two words; $HOME"]

    done = subprocess.run(inside(home, HERE, words, tty=False), capture_output=True, text=True, check=False)

    assert done.returncode == 4
    assert done.stdout.splitlines() == [str(home.machines / INSTANCE.id), "2,3 two words; $HOME"]


@pytest.mark.parametrize(("tty", "flag"), [(False, "-i"), (True, "-it")])
def test_into_a_container_word_by_word(tmp_path: Path, *, tty: bool, flag: str) -> None:
    home = a_home(tmp_path, "docker")
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(DOCKER)
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"

    done = subprocess.run(
        inside(home, HERE, ["echo", "it's", "$HOME"], tty=tty),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path},
    )

    assert done.returncode == 9
    assert done.stdout.split("\n")[:-1] == [
        "docker",
        "<exec>",
        f"<{flag}>",
        "<fleetctl-chat-e1-1>",
        "<echo>",
        "<it's>",
        "<$HOME>",
    ]


def test_where_no_engine_was_started_nothing_runs(tmp_path: Path) -> None:
    home = a_home(tmp_path, "process")
    other = replace(HERE, replica=replace(REPLICA, id=ReplicaId("chat-e1-9")))

    done = subprocess.run(inside(home, other, ["echo", "no"], tty=False), capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (4, "")
    assert "no engine of chat-e1-9 was started here" in done.stderr


def test_ssh_takes_nothing_of_the_users_own_settings(tmp_path: Path) -> None:
    home = Home(tmp_path)
    public_key(home)
    KnownHosts(ssh_folder(home) / "known_hosts").pin("chat-e1-2", "ssh-ed25519 AAAA")

    words = on_machine(home, THERE, ["nvidia-smi", "-q d"], tty=False)

    assert words[:3] == ["ssh", "-F", "/dev/null"]
    assert words[-3:] == ["ubuntu", "192.0.2.7", "nvidia-smi '-q d'"]
    assert "-T" in words
    for option in ("StrictHostKeyChecking=yes", "HostKeyAlias=chat-e1-2", "IdentitiesOnly=yes", "IdentityAgent=none"):
        assert option in words
    assert words[words.index("-p") + 1] == "2222"


def test_a_machine_that_was_never_met_is_not_spoken_to(tmp_path: Path) -> None:
    home = Home(tmp_path)
    public_key(home)

    with pytest.raises(AgentFailure, match="its host key is not known"):
        ssh_words(home, THERE, tty=False)
