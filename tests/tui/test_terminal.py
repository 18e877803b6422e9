"""The dashboard as a process in a real terminal: tmux for what is seen, a bare pty for how it ends."""

import fcntl
import importlib.util
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fleet_of_eight import eight
from pictures import Stored

from fleetctl.store import open_store

STARTED_S = 30.0
"""A loaded machine needs seconds for what takes one."""
TMUX = shutil.which("tmux")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A fleet's home with a store in it, and a controller that decided a moment ago."""
    store = open_store(str(tmp_path / "fleet.db"))
    now = time.time()
    fleet = Stored(store, eight(now))
    fleet.begin()
    for tick in range(30, 0, -1):
        fleet.tick(at=now - 2.0 * tick)
    store.close()
    yield tmp_path


def until(holds: Callable[[], bool], what: Callable[[], str]) -> None:
    deadline = time.monotonic() + STARTED_S
    while not holds():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


class Tmux:
    """One window of a server of its own."""

    def __init__(self, folder: Path, size: tuple[int, int], home: Path, *options: str) -> None:
        self._socket, self._code = folder / "tmux", folder / "code"
        python = f"{sys.executable} -m fleetctl top {' '.join(options)}"
        width, height = size
        self._run(
            "-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height),
            f"env FLEETCTL_HOME={home} LC_ALL=C.UTF-8 {python}; echo $? > {self._code}",
        )  # fmt: skip

    def _run(self, *words: str) -> str:
        assert TMUX is not None
        return subprocess.run(
            [TMUX, "-S", str(self._socket), *words], check=False, capture_output=True, text=True, timeout=20
        ).stdout

    @property
    def screen(self) -> str:
        return self._run("capture-pane", "-p")

    def sees(self, text: str) -> None:
        until(lambda: text in self.screen, lambda: f"{text!r} is not on:\n{self.screen}")

    def press(self, *keys: str) -> None:
        self._run("send-keys", *keys)

    @property
    def code(self) -> int:
        until(lambda: self._code.exists() and bool(self._code.read_text()), lambda: f"it goes on:\n{self.screen}")
        return int(self._code.read_text())

    def close(self) -> None:
        self._run("kill-server")


@pytest.mark.skipif(TMUX is None, reason="tmux is not installed: apt install tmux")
@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_in_tmux_it_is_seen_walked_through_and_left(home: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    tmux = Tmux(tmp_path, size, home)
    try:
        tmux.sees("Services 8")
        lines = tmux.screen.splitlines()
        assert "vision-11b" in lines[5] or "vision-11b" in lines[6]
        assert all(len(line) <= size[0] for line in lines)
        assert any("What was decided, and why: vision-11b" in line for line in lines)
        tmux.press("Down", "Enter")
        tmux.sees("replicas(chat-8b) 23")
        tmux.press("Escape")
        tmux.sees("Services 8")
        tmux.press(":", "c", "o", "s", "t", "Enter")
        tmux.sees("TOTAL")
        tmux.press("q")
        assert tmux.code == 0
    finally:
        tmux.close()


@pytest.mark.skipif(TMUX is None, reason="tmux is not installed: apt install tmux")
def test_in_tmux_explain_and_playback_say_what_the_commands_say(home: Path, tmp_path: Path) -> None:
    tmux = Tmux(tmp_path, (120, 40), home, "--at", "20s")
    try:
        tmux.sees("= stands still 20")
        tmux.press("e")
        tmux.sees("fleetctl explain vision-11b --at")
        tmux.sees("because")
        tmux.press("Escape")
        tmux.sees("Demand and replicas")  # what the text stood on
        tmux.press("q")
        assert tmux.code == 0
    finally:
        tmux.close()


@pytest.mark.skipif(TMUX is None, reason="tmux is not installed: apt install tmux")
def test_ctrl_c_ends_the_command_in_the_terminal_and_not_the_dashboard_behind_it(home: Path, tmp_path: Path) -> None:
    tmux = Tmux(tmp_path, (120, 40), home)
    try:
        tmux.sees("Services 8")
        tmux.press(":", *"events", "Space", *"-w", "Enter")
        tmux.sees("[Ctrl-C: back to the dashboard]")
        tmux.sees("rollout of 5f0c9a began")  # the command runs
        tmux.press("C-c")
        tmux.sees("Services 8")
        tmux.press("q")
        assert tmux.code == 0
    finally:
        tmux.close()


@pytest.mark.skipif(TMUX is None, reason="tmux is not installed: apt install tmux")
def test_what_ends_badly_in_the_terminal_has_its_last_words_read(home: Path, tmp_path: Path) -> None:
    tmux = Tmux(tmp_path, (80, 24), home)
    try:
        tmux.sees("Services 8")
        tmux.press("Down", "s")
        tmux.sees("[exit, or Ctrl-D: back to the dashboard]")
        tmux.sees("Enter: back to the dashboard")
        tmux.press("Enter")
        tmux.sees("Services 8")
        tmux.press("q")
        assert tmux.code == 0
    finally:
        tmux.close()


class Pty:
    """`fleetctl top` at the end of a bare terminal."""

    def __init__(self, home: Path | None, *options: str, term: str = "xterm-256color") -> None:
        """`home`: None: what the environment says."""
        self.child, self.terminal = pty.fork()
        if self.child == 0:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # tests may run under nohup; a person's terminal does not
            os.environ.update(TERM=term, LC_ALL="C.UTF-8")
            if home is not None:
                os.environ["FLEETCTL_HOME"] = str(home)
            os.execv(sys.executable, [sys.executable, "-m", "fleetctl", "top", *options])
        self.said = b""
        self._status: int | None = None

    def read(self, timeout_s: float = 0.1) -> None:
        ready, _, _ = select.select([self.terminal], [], [], timeout_s)
        if ready:
            try:
                self.said += os.read(self.terminal, 1 << 16)
            except OSError:
                time.sleep(timeout_s)  # it has ended

    def until_said(self, text: bytes) -> None:
        deadline = time.monotonic() + STARTED_S
        while text not in self.said:
            assert time.monotonic() < deadline, self.said[-2000:]
            self.read()

    def hang_up(self) -> None:
        os.close(self.terminal)
        self.terminal = -1

    def end(self) -> int:
        """Its exit code; of a signal, negative."""
        deadline = time.monotonic() + STARTED_S
        while self._status is None:
            done, status = os.waitpid(self.child, os.WNOHANG)
            if done:
                self._status = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                os.kill(self.child, signal.SIGKILL)
                os.waitpid(self.child, 0)
                raise AssertionError(f"it goes on: {self.said[-2000:]!r}")
            elif self.terminal >= 0:
                self.read()
            else:
                time.sleep(0.05)
        if self.terminal >= 0:
            self.read(0.0)
            self.hang_up()
        return self._status


def test_where_there_is_no_fleet_one_sentence_says_so(tmp_path: Path) -> None:
    top = Pty(tmp_path / "nothing")

    assert top.end() == 4
    text = top.said.decode()
    assert "there is no fleet in" in text and "fleetctl init" in text and "Traceback" not in text


def test_a_terminal_that_goes_away_ends_it(home: Path) -> None:
    top = Pty(home)
    top.until_said(b"vision-11b")
    top.hang_up()

    assert top.end() in (0, 1, -signal.SIGHUP)


def test_a_store_that_is_no_store_is_named_before_anything_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "fleet.db").write_bytes(b"no database, that is sure" * 400)
    top = Pty(tmp_path)

    assert top.end() == 1
    assert b"is damaged, or is no store of fleetctl" in top.said.replace(b"\r\n", b" ")


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("-o", "json"), 2, "fleetctl ps -o json"),
        (("--at", "1m", "--replay", "1m"), 2, "give one of them"),
        (("--at", "40d"), 4, "the journal begins at"),
    ],
)
def test_what_it_cannot_do_it_says_with_what_works(home: Path, options: tuple[str, ...], code: int, said: str) -> None:
    top = Pty(home, *options)

    assert top.end() == code
    assert said in " ".join(top.said.decode().split())


def test_into_a_pipe_it_names_the_command_that_writes_there(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fleetctl", "top"],
        env={**os.environ, "FLEETCTL_HOME": str(home)},
        check=False, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip

    assert done.returncode == 2 and done.stdout == "" and "fleetctl ps --watch" in done.stderr


@pytest.mark.skipif(importlib.util.find_spec("textual_serve") is not None, reason="textual-serve is installed")
def test_for_a_browser_it_names_what_to_install(home: Path) -> None:
    top = Pty(home, "--web")

    assert top.end() == 1
    assert "pip install 'fleetctl[web]'" in " ".join(top.said.decode().split())


def test_a_terminal_that_cannot_be_drawn_on_is_told_what_can_be_read_there(home: Path) -> None:
    top = Pty(home, term="dumb")

    assert top.end() == 2
    assert "fleetctl events --watch" in " ".join(top.said.decode().split())


def test_a_store_that_is_taken_away_meanwhile_is_missed(home: Path) -> None:
    top = Pty(home)
    top.until_said(b"vision-11b")
    (home / "fleet.db").rename(home / "elsewhere.db")
    top.until_said(b"removed")
    os.write(top.terminal, b"q")

    assert top.end() == 0


def test_an_exported_width_is_not_believed_before_the_terminal(home: Path, tmp_path: Path) -> None:
    """Some shells export COLUMNS, and it stays as it was when the window grows."""
    os.environ["COLUMNS"] = "70"
    try:
        top = Pty(home)
    finally:
        del os.environ["COLUMNS"]
    fcntl.ioctl(top.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    top.until_said(b"Pools and standby")
    os.write(top.terminal, b"q")

    assert top.end() == 0


@pytest.mark.parametrize(
    ("context", "options", "badge"),
    [
        (("--typed",), (), b"RO"),
        (("--typed",), ("--read-write",), b"RW"),
        (("--read-only",), ("--read-write",), b"RO"),
        ((), (), b"RW"),
        ((), ("--read-only",), b"RO"),
    ],
)
def test_in_a_guarded_context_it_is_read_only(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: tuple[str, ...], options: tuple[str, ...],
    badge: bytes,
) -> None:  # fmt: skip
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("FLEETCTL_HOME", raising=False)
    words = ["context", "add", "prod", "--home", str(home), *context]
    subprocess.run([sys.executable, "-m", "fleetctl", *words], check=True, capture_output=True, timeout=60)
    monkeypatch.setenv("FLEETCTL_CONTEXT", "prod")
    top = Pty(None, *options)
    top.until_said(b"vision-11b")
    os.write(top.terminal, b"q")

    assert top.end() == 0
    crumb = re.sub(rb"\x1b\[[0-9;]*m", b"", top.said)
    assert b"prod" in crumb and b"   " + badge in crumb
