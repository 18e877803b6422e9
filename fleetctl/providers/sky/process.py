"""The near side of the bridge: one process, started late, started again when it has died, many calls in flight."""

import asyncio
import contextlib
import itertools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from fleetctl.errors import MissingDependency, OutcomeUnknown, ProviderError, Throttled
from fleetctl.providers.sky.refusals import Failure, refused

T = TypeVar("T")

PROTOCOL = 1
"""What `bridge.PROTOCOL` must be."""

PROGRAM = Path(__file__).with_name("bridge.py")

_LINE_BYTES_MAX = 64 << 20
"""A listing of 10,000 clusters has some 20 MB, and a catalog of all clouds some 5 MB."""

_LOG_BYTES_MAX = 4 << 20
"""The log is begun anew beyond this; SkyPilot writes some kB for each launch."""

_LEAVING_S = 2.0
"""For the process to end once its input has; then it is killed. Nothing of it is lost: what SkyPilot does, it does in
its API server."""

_IN_FLIGHT_MAX = 192
"""What the far side takes at once."""

_FOREIGN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
"""Of our own environment: they would lead SkyPilot's Python to our packages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds for each kind of call."""

    start_s: float = 60.0
    """For the import of SkyPilot: 2 to 5 s, more from a cold disk."""
    read_s: float = 90.0
    """The first one may start SkyPilot's API server, which takes 10 to 20 s."""
    change_s: float = 280.0
    """Below the 300 s that the controller gives an action; what takes longer goes on, and listings show it."""


@dataclass(frozen=True, slots=True)
class _Hello:
    protocol: int
    sky: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class _Line:
    id: int = -1
    ok: Any = None
    error: Failure | None = None
    hello: _Hello | None = None


class _Died(Exception):
    """The process went before it answered."""


class Bridge:
    """For use in one event loop. `boundary` is called before every call; tests end the process there."""

    def __init__(
        self,
        python: Path,
        *,
        log: Path,
        environment: Mapping[str, str],
        limits: Limits,
        boundary: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._python = python
        self._log = log
        self._environment = environment
        self._limits = limits
        self._boundary = boundary
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._starting = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._closed = False
        self.sky_version = ""
        """Of the SkyPilot that answered last."""

    async def read(self, op: str, kind: type[T], what: str, **arguments: object) -> T:
        """The answer, as `kind`. `what` says in words what was asked. Raises `ProviderError` after `read_s`."""
        try:
            answer = await self._call(op, arguments, self._limits.read_s, what, changing=False)
        except TimeoutError:
            raise ProviderError(
                f"sky: no answer within {self._limits.read_s:g} s to: {what}",
                hint=f"it is asked again at the next tick; if this goes on, see {self._log}",
            ) from None
        except _Died:
            raise ProviderError(f"sky: the bridge died over: {what}", hint=f"see {self._log}") from None
        try:
            return msgspec.convert(answer, kind)
        except msgspec.ValidationError as error:
            raise ProviderError(
                f"sky: the answer to: {what}: cannot be understood: {error}",
                hint=f"SkyPilot {self.sky_version} may be too new or too old: fleetctl provider setup sky",
            ) from error

    async def change(self, op: str, what: str, **arguments: object) -> object:
        """The answer, as JSON has it. Raises `OutcomeUnknown` after `change_s`, and when the process dies meanwhile."""
        try:
            return await self._call(op, arguments, self._limits.change_s, what, changing=True)
        except TimeoutError:
            raise OutcomeUnknown(
                f"sky: no answer within {self._limits.change_s:g} s to: {what}; SkyPilot may go on with it",
                hint="the next listing settles it: fleetctl ps",
            ) from None
        except _Died:
            raise OutcomeUnknown(
                f"sky: the bridge died over: {what}; what became of it is not known",
                hint=f"the next listing settles it: fleetctl ps; see {self._log}",
            ) from None

    async def start(self) -> None:
        """Have a process that speaks our protocol. Raises `MissingDependency` where there is no SkyPilot."""
        async with self._starting:
            if self._closed:
                raise ProviderError("sky: closed")
            if self._reading is not None and not self._reading.done():
                return
            await self._end()
            await self._begin()

    async def close(self) -> None:
        """End the process. What SkyPilot's API server has begun goes on there."""
        self._closed = True
        await self._end()

    async def _call(
        self, op: str, arguments: Mapping[str, object], limit_s: float, what: str, *, changing: bool
    ) -> object:
        self._boundary(op)
        await self.start()
        if len(self._waiting) >= _IN_FLIGHT_MAX:
            raise Throttled(f"sky: {len(self._waiting)} calls are under way, not asked: {what}")
        number = next(self._ids)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._send({"id": number, "op": op, "args": dict(arguments)})
            async with asyncio.timeout(limit_s):
                return await answer
        except _Refused as error:
            raise refused(what, error.failure, changing=changing) from None
        finally:
            del self._waiting[number]
            if answer.done() and not answer.cancelled():
                answer.exception()  # it came in the moment in which it was given up; asyncio is to take note

    def _send(self, request: Mapping[str, object]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        # Not drained: a request has some kB, and nobody waits behind a full pipe. A death shows at the other end.
        self._process.stdin.write(msgspec.json.encode(request) + b"\n")

    async def _begin(self) -> None:
        if not self._python.exists():
            raise MissingDependency(
                f"sky: SkyPilot's own Python environment is not there: {self._python}",
                hint="fleetctl provider setup sky",
            )
        self._log.parent.mkdir(parents=True, exist_ok=True)
        whole = self._log.exists() and self._log.stat().st_size > _LOG_BYTES_MAX
        environment = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
        environment["PATH"] = f"{self._python.parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
        with self._log.open("wb" if whole else "ab") as log:
            try:
                process = await asyncio.create_subprocess_exec(
                    self._python,
                    "-u",
                    PROGRAM,
                    env=environment | dict(self._environment),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=log,
                    limit=_LINE_BYTES_MAX,
                    start_new_session=True,  # Ctrl-C is for us: we end it when we have ended our own work
                )
            except OSError as error:
                raise ProviderError(
                    f"sky: {self._python} cannot be run: {error.strerror}", hint="fleetctl provider setup sky"
                ) from error
        self._process = process
        hello = await self._hello(process)
        if hello.error:
            raise MissingDependency(
                f"sky: SkyPilot cannot be imported by {self._python}: {hello.error}", hint="fleetctl provider setup sky"
            )
        if hello.protocol != PROTOCOL:
            raise ProviderError(
                f"sky: the bridge speaks protocol {hello.protocol}, not {PROTOCOL}", hint="install fleetctl anew"
            )
        self.sky_version = hello.sky
        self._reading = asyncio.create_task(self._read(process), name="sky-bridge")

    async def _hello(self, process: asyncio.subprocess.Process) -> _Hello:
        assert process.stdout is not None
        try:
            async with asyncio.timeout(self._limits.start_s):
                first = await process.stdout.readline()
            hello = msgspec.json.decode(first, type=_Line).hello
        except (TimeoutError, msgspec.DecodeError, ValueError):
            hello = None
        if hello is None:
            raise ProviderError(f"sky: the bridge did not start: {self._python}", hint=f"see {self._log}")
        return hello

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        """Hand each answer to who waits for it, until there are no more; then tell the rest."""
        assert process.stdout is not None
        with contextlib.suppress(ValueError, msgspec.DecodeError, OSError):  # what is no line of ours ends it as well
            while line := await process.stdout.readline():
                answer = msgspec.json.decode(line, type=_Line)
                waiting = self._waiting.get(answer.id)
                if waiting is None or waiting.done():
                    continue  # given up meanwhile
                if answer.error is not None:
                    waiting.set_exception(_Refused(answer.error))
                else:
                    waiting.set_result(answer.ok)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(_Died())

    async def _end(self) -> None:
        process, reading = self._process, self._reading
        self._process = self._reading = None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(_LEAVING_S):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if reading is not None:
            await reading


class _Refused(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.type)
        self.failure = failure
