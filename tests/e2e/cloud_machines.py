"""What plays the machines of a cloud that has only an API: a node agent for each one that runs there."""

import atexit
import contextlib
import functools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

LOOK_EVERY_S = 0.2


class Machines:
    """A thread that starts an agent for each machine that the cloud runs, and ends those of machines that are gone.

    The way over SSH is what is left out: the provider's `address` setting leads to the agent's own socket.
    """

    def __init__(self, running: Callable[[], set[str]], *, gpus: str, environment: dict[str, str]) -> None:
        self._running = running
        self._gpus = gpus
        self._environment = environment
        self._folder = Path(tempfile.mkdtemp(prefix="fm-"))
        self._agents: dict[str, subprocess.Popen[bytes]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.failure: BaseException | None = None

    @property
    def address(self) -> str:
        """The provider's `address` setting."""
        return f"unix:{self._folder}/{{id}}.sock"

    def _watch(self) -> None:
        try:
            while not self._stop.is_set():
                running = self._running()
                for name in running - self._agents.keys():
                    self._agents[name] = self._start(name)
                for name in self._agents.keys() - running:
                    self._end(name)
                self._stop.wait(LOOK_EVERY_S)
        except BaseException as error:
            self.failure = error
            raise

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        with (folder / "agent.log").open("ab") as log:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "fleetctl.agent", "--instance", name, "--folder", folder),
                    *("--socket", self._folder / f"{name}.sock", "--gpus", self._gpus, "--runtime", "process"),
                ],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _end(self, name: str) -> None:
        """The machine is gone, and what ran on it with it."""
        agent = self._agents.pop(name)
        family = []
        with contextlib.suppress(psutil.Error):
            family = psutil.Process(agent.pid).children(recursive=True)
        agent.kill()
        agent.wait()
        for one in family:
            with contextlib.suppress(psutil.Error):
                one.kill()
        (self._folder / f"{name}.sock").unlink(missing_ok=True)

    @contextmanager
    def played(self) -> Iterator["Machines"]:
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()
            for name in list(self._agents):
                self._end(name)
        assert self.failure is None


@functools.cache
def _compiled() -> Path:
    """Where all commands of this run find what the first one compiled: an SDK is a thousand files."""
    folder = Path(tempfile.mkdtemp(prefix="fc-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def environment_of(base: dict[str, str]) -> dict[str, str]:
    """The environment of commands that speak to a cloud of this machine: no proxy, no real credentials."""
    clean = {
        name: value
        for name, value in base.items()
        if not name.upper().endswith("_PROXY")
        and not name.startswith(("AWS_", "AZURE_", "GOOGLE_", "ARM_", "PYTHONDONTWRITEBYTECODE"))
    }
    return {
        **clean,
        "PYTHONPYCACHEPREFIX": str(_compiled()),
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_CONFIG_FILE": os.devnull,
    }
