"""The agent's memory on disk: whole files, plain names, and damage that is named."""

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.agent.folder import Folder, plain, read, write
from fleetctl.agent.processes import ProcessId, find, this_process
from fleetctl.agent.runtimes.runtime import EngineRecord, Exit
from fleetctl.errors import AgentFailure
from fleetctl.model.names import ReplicaId


@given(name=st.text(alphabet=string.printable, max_size=12))
def test_plain_names_stay_in_their_folder(name: str) -> None:
    if plain(name):
        assert Path("/machine", name).parent == Path("/machine")
        assert not name.startswith(".")


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.make()
    record = EngineRecord(replica=ReplicaId("chat-1"), runtime="process", port=4000, process=this_process())

    write(folder.engine(record.replica), record)

    assert read(folder.engine(record.replica), EngineRecord) == record
    assert folder.recorded_engines() == (record.replica,)
    assert read(folder.engine(ReplicaId("chat-2")), EngineRecord) is None


def test_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "desired.json"
    path.write_bytes(b'{"port":')

    with pytest.raises(AgentFailure, match=r"desired\.json is damaged") as failure:
        read(path, EngineRecord)

    assert failure.value.hint == f"remove {path} and start the node agent again"


def test_pid_of_another_time_is_another_process() -> None:
    me = this_process()
    before = ProcessId(pid=me.pid, created_at=me.created_at - 3600)

    assert find(me) is not None
    assert find(before) is None
    assert find(None) is None


@pytest.mark.parametrize(
    ("code", "said"),
    [
        pytest.param(0, "exited with code 0", id="an engine has no reason to leave, not even in peace"),
        pytest.param(-11, "was killed by SIGSEGV", id="a signal has a name"),
        pytest.param(137, "exited with code 137 (killed; out of memory?)", id="how a container says SIGKILL"),
        pytest.param(None, "ended while the node agent was not watching, so its exit code is not known", id="unseen"),
    ],
)
def test_exit_in_words(code: int | None, said: str) -> None:
    assert str(Exit(code=code)) == said
