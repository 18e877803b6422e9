"""The gateway's first process where it has several: it starts the others, and starts again whoever dies.

It carries no request and schedules none, so that there is little in it that could fail. The listening sockets are open
in it for as long as it lives: a connection that was made to a process which dies waits there for the next one.
"""

import gc
import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, assert_never

from fleetctl.errors import AgentFailure, FleetError, TimedOut
from fleetctl.gateway.doors import renew_context
from fleetctl.gateway.limits import DRAIN_TIMEOUT_S
from fleetctl.gateway.settings import Settings
from fleetctl.gateway.workers.controls import (
    Apply,
    Call,
    ControlEnd,
    Cut,
    Drain,
    Heard,
    Here,
    Join,
    Keep,
    Ready,
    StarterEnd,
    Stop,
)  # fmt: skip
from fleetctl.gateway.workers.messages import BadFrame
from fleetctl.gateway.workers.posts import SCHEDULER, Place, Post
from fleetctl.gateway.workers.watching import Watch
from fleetctl.model.routes import Identity, Routes

_log = logging.getLogger("fleetctl.gateway")

START_TIMEOUT_S: Final = 15.0
"""All processes are up within a second; a machine that is busy may need longer."""
STEADY_AFTER_S: Final = 10.0
"""A process that lived this long is started again at once."""
RESTART_FIRST_S: Final = 0.1
RESTART_LONGEST_S: Final = 5.0
"""The pause doubles with each early death up to this: one that cannot live must not take the machine."""
KILL_AFTER_S: Final = DRAIN_TIMEOUT_S + 5.0
"""Processes end by themselves after the drain; one that has not by then is killed."""
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class _Started:
    """One process that was started."""

    def __init__(self, number: int, pid: int, control: StarterEnd, at: float) -> None:
        self.number = number
        self.pid = pid
        self.control = control
        self.started_at = at
        self.ready = False
        self.silent_looks = 0

    def call(self) -> None:
        self.control.say(Call())

    @property
    def name(self) -> str:
        return f"worker {self.number}" if self.number else "the scheduler"


class Guardian:
    """Runs `settings.workers` workers and their scheduler until told to stop.

    `become` is what a started process does; its result is the exit code. `reload` reads the settings again (SIGHUP).
    """

    def __init__(
        self,
        settings: Settings,
        place: Place,
        *,
        become: Callable[[Post], int],
        ready: Callable[[str], None],
        reload: Callable[[], Settings] | None,
        detached: bool = False,
    ) -> None:
        self._settings = settings
        self._place = place
        self._address = place.public.address
        self._become = become
        self._ready = ready
        self._reload = reload
        self._detached = detached
        self._pid = os.getpid()
        self._alive: dict[int, _Started] = {}
        self._due: dict[int, float] = {}
        """Who is to be started again, and when."""
        self._pauses: dict[int, float] = {}
        self._told_ready = False
        self._applying: set[int] = set()
        """Who has not yet said that it follows the settings that were read again."""
        self._started_at = time.monotonic()
        self._watch = Watch(self._started_at)
        self._kill_at: float | None = None
        """Not None: it is stopping."""
        self._kept_routes: Routes | None = None
        self._kept_identity: Identity | None = None
        self._selector = selectors.DefaultSelector()
        self._wakes, self._wakened = socket.socketpair()

    def run(self) -> None:
        """Until all has ended. Raises `AgentFailure` or `TimedOut` when a process does not start."""
        gc.freeze()  # before the forks: what is made by now is shared with all of them
        before = self._catch_signals()
        try:
            for number in range(self._settings.workers + 1):
                self._start(number)
            while self._alive or self._kill_at is None:
                self._turn()
        finally:
            for started in tuple(self._alive.values()):
                os.kill(started.pid, signal.SIGKILL)
                os.waitpid(started.pid, 0)
                started.control.close()
            signal.set_wakeup_fd(-1)
            for number_of_signal, handler in before.items():
                signal.signal(number_of_signal, handler)
            self._selector.close()
            self._wakes.close()
            self._wakened.close()

    def _turn(self) -> None:
        now = time.monotonic()
        for key, _ in self._selector.select(self._until(now)):
            started: _Started | None = key.data
            if started is None:
                for number in self._wakes.recv(4096):
                    self._signalled(signal.Signals(number))
            elif self._alive.get(started.number) is started:
                self._listen(started)
        now = time.monotonic()
        for due in [one for one, at in self._due.items() if at <= now]:
            del self._due[due]
            self._start(due)
        if not self._told_ready and now - self._started_at > START_TIMEOUT_S:
            late = ", ".join(one.name for one in self._alive.values() if not one.ready)
            raise TimedOut(
                f"{late} of the gateway did not start in {START_TIMEOUT_S:g} s", hint="see the gateway's log"
            )
        if self._told_ready:
            for silent in self._watch.silent(self._alive.values(), now):
                _log.error("%s (pid %d) does nothing at all and is killed", silent.name, silent.pid)
                os.kill(silent.pid, signal.SIGKILL)
        if self._kill_at is not None and now >= self._kill_at:
            for started in self._alive.values():
                _log.warning("%s (pid %d) has not ended and is killed", started.name, started.pid)
                os.kill(started.pid, signal.SIGKILL)
            self._kill_at = now + KILL_AFTER_S  # they are gone by then

    def _until(self, now: float) -> float:
        times = list(self._due.values())
        times.append(self._watch.next_at if self._told_ready else self._started_at + START_TIMEOUT_S)
        if self._kill_at is not None:
            times.append(self._kill_at)
        return max(0.0, min(times) - now)

    def _signalled(self, number: signal.Signals) -> None:
        if number is signal.SIGCHLD:
            self._bury()
        elif number is signal.SIGHUP:
            if self._reload is None:
                self._stop()  # the terminal is gone
            else:
                self._apply(self._reload)
        else:
            self._stop()

    def _apply(self, reload: Callable[[], Settings]) -> None:
        try:
            settings = reload()
            renew_context(self._place.context, settings)
        except (FleetError, OSError, ValueError) as error:
            _log.error("the settings stay as they were: %s; %s", error, getattr(error, "hint", ""))
            return
        self._settings = replace(settings, workers=self._settings.workers, listen=self._settings.listen)
        if settings.routes is not None:
            self._kept_routes = None
        if settings.identity is not None:
            self._kept_identity = None
        self._applying = set(self._alive)
        for started in self._alive.values():
            started.control.say(Apply(settings))

    def _stop(self) -> None:
        """The second time: at once."""
        if self._kill_at is not None:
            self._kill_at = time.monotonic()
            return
        _log.info("stopping: requests that run have %g s", DRAIN_TIMEOUT_S)
        self._kill_at = time.monotonic() + KILL_AFTER_S
        self._due.clear()
        self._place.public.close()
        for started in self._alive.values():
            started.control.say(Drain())

    # one started process

    def _start(self, number: int) -> None:
        mine, its = socket.socketpair()
        pid = os.fork()
        if not pid:
            mine.close()  # else it would never see the other end close
            self._be(number, its)
        its.close()
        mine.setblocking(False)
        started = _Started(number, pid, StarterEnd(mine), time.monotonic())
        self._alive[number] = started
        self._selector.register(mine, selectors.EVENT_READ, started)
        _log.info("%s is started, pid %d", started.name, pid)
        for worker in self._alive.values() if number == SCHEDULER else (started,):
            self._introduce(worker)

    def _be(self, number: int, its: socket.socket) -> None:
        """In the new process; does not return."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for one in _SIGNALS:  # a terminal's signals come to all; the first process hands them on
                signal.signal(one, signal.SIG_IGN if one in (signal.SIGINT, signal.SIGHUP) else signal.SIG_DFL)
            for started in self._alive.values():
                started.control.close()
            self._selector.close()
            self._wakes.close()
            self._wakened.close()
            if (
                self._detached
            ):  # whoever started the gateway reads our output to its end, and need not wait for this one's
                nowhere = os.open(os.devnull, os.O_RDWR)
                for descriptor in (0, 1, 2):
                    os.dup2(nowhere, descriptor)
                os.close(nowhere)
            place = self._place
            if place.claim is not None:
                place.claim.let_go()
            place.public.keep(number - 1 if number else None)
            if number:
                if place.admin is not None:
                    place.admin.close()
                if place.metrics is not None:
                    place.metrics.close()
            settings = self._settings
            code = self._become(
                Post(
                    number=number,
                    settings=replace(
                        settings,
                        routes=self._kept_routes or settings.routes,
                        identity=self._kept_identity or settings.identity,
                    ),
                    place=place,
                    control=ControlEnd(its),
                    address=self._address,
                    guardian=self._pid,
                    workers=len(self._alive) or settings.workers,
                )
            )
        except BaseException:
            _log.exception("a process of the gateway ends")
            raise
        finally:
            os._exit(code)

    def _introduce(self, worker: _Started) -> None:
        """Give a worker and the scheduler the two ends of a new link."""
        scheduler = self._alive.get(SCHEDULER)
        if worker.number == SCHEDULER or scheduler is None:
            return
        one, other = socket.socketpair()
        scheduler.control.say(Join(worker.number), one)
        worker.control.say(Join(worker.number), other)
        one.close()
        other.close()

    def _listen(self, started: _Started) -> None:
        try:
            heard = started.control.receive()
        except BadFrame as error:
            _log.error("%s speaks nonsense: %s", started.name, error)
            heard = None
        if heard is None:  # it ends, or is deaf
            self._selector.unregister(started.control.sock)
            os.kill(started.pid, signal.SIGKILL)
            return
        for one in heard:
            self._follow(started, one)

    def _follow(self, started: _Started, one: Heard) -> None:
        match one:
            case Ready():
                started.ready = True
                self._applied(started.number)
                if not self._told_ready and all(other.ready for other in self._alive.values()):
                    self._told_ready = True
                    _log.info("listening on %s, pid %d, %d workers", self._address, self._pid, self._settings.workers)
                    self._ready(self._address)
            case Cut():
                worker = self._alive.get(one.worker)
                if worker is not None:
                    _log.error("%s (pid %d) is killed: %s", worker.name, worker.pid, one.why)
                    os.kill(worker.pid, signal.SIGKILL)
            case Here():
                started.silent_looks = 0
            case Stop():
                self._stop()
            case Keep():
                self._kept_routes = one.routes or self._kept_routes
                self._kept_identity = one.identity or self._kept_identity
            case _:
                assert_never(one)

    def _applied(self, number: int) -> None:
        if number in self._applying:
            self._applying.discard(number)
            if not self._applying:
                _log.info("the settings were read again")

    def _bury(self) -> None:
        for started in tuple(self._alive.values()):
            pid, status = os.waitpid(started.pid, os.WNOHANG)
            if pid:
                self._ended(started, os.waitstatus_to_exitcode(status))

    def _ended(self, started: _Started, code: int) -> None:
        del self._alive[started.number]
        self._applied(started.number)
        if started.control.sock in self._selector.get_map():
            self._selector.unregister(started.control.sock)
        started.control.close()
        if self._kill_at is not None:
            return
        if not self._told_ready:
            raise AgentFailure(
                f"{started.name} of the gateway ended with {code} while it started", hint="see the gateway's log"
            )
        now = time.monotonic()
        if now - started.started_at >= STEADY_AFTER_S:
            pause = 0.0
        else:
            pause = min(RESTART_LONGEST_S, 2 * self._pauses.get(started.number, 0.0) or RESTART_FIRST_S)
        self._pauses[started.number] = pause
        self._due[started.number] = now + pause
        _log.error("%s (pid %d) ended with %d; it is started again in %g s", started.name, started.pid, code, pause)

    def _catch_signals(self) -> dict[signal.Signals, Any]:
        self._wakes.setblocking(False)
        self._wakened.setblocking(False)
        self._selector.register(self._wakes, selectors.EVENT_READ, None)
        before = {one: signal.signal(one, lambda *_: None) for one in _SIGNALS}
        signal.set_wakeup_fd(self._wakened.fileno())
        return before
