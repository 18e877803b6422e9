"""What tests of command lines share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fleetctl.cli.dispatch import run


@pytest.fixture
def typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs a command line in this process, in an empty folder and home, where nobody can be asked.

    Gives its exit code, stdout and stderr.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLEETCTL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FLEETCTL_NO_INPUT", "1")
    for name in ("FLEETCTL_OUTPUT", "FLEETCTL_CONFIG", "FLEETCTL_CONTEXT", "FLEETCTL_YES"):
        monkeypatch.delenv(name, raising=False)

    def type_in(*words: str) -> tuple[int, str, str]:
        code = run(words)
        said = capsys.readouterr()
        return code, said.out, said.err

    return type_in
