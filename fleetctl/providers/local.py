"""The local Provider: Instances on this machine, each a folder and a node agent of its own.

Its Offers are declarations, not measurements: the GPUs and the price that the Pool's file names, for rehearsals and
for machines one owns. Nodes report the real GPUs where a driver lists any.

All state is in the folders. An Instance is there exactly when `ROOT/ID/instance.json` is; the agent of one that runs
holds the lock `ROOT/ID/agent.lock`. Every change of an Instance holds `ROOT/.lock-ID`, so that one id is changed by one
process at a time, and every step leaves a state from which the same call, repeated, goes on.
"""

import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import site
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

import msgspec

import fleetctl
from fleetctl.errors import Gone, InvalidRequest, OutcomeUnknown, ProviderError
from fleetctl.model.checks import Check
from fleetctl.model.instances import InstanceSeen, LaunchSpec, Leftover, Listing, Offer, Sighting
from fleetctl.model.names import InstanceId, ProviderName
from fleetctl.model.services import Pool
from fleetctl.paths import socket_path
from fleetctl.providers import Setup

P = ParamSpec("P")
T = TypeVar("T")

LOCAL = ProviderName("local")

_THREADS = 32
"""Calls that may block at once. Stopping waits some seconds for engines to end, and must not hold up listings."""

_HALT_LIMIT_S = 120.0
"""For ending one machine's agent and engines. Engines have ten seconds to leave before they are killed, containers
thirty; what takes longer than this hangs in the kernel or in Docker, and the next attempt finds out."""

_CHANGE_LIMIT_S = _HALT_LIMIT_S + 10.0
"""For another process's change of the same Instance; the longest one halts it."""

_LOCK_TRIES = 5
_LOCK_PAUSE_S = 0.01
"""A lock found taken is tried again, since a listing that looks whether it is taken holds it for microseconds."""

_AGENT_DESCRIPTOR = 3
"""Where the agent finds its lock, taken for it before it was started: no moment at which two could start."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def provider(setup: Setup) -> "LocalProvider":
    """The local Provider of a fleet, under its home."""
    return LocalProvider(setup.home.machines, fleet=setup.fleet)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Machine:
    """The file that makes a folder an Instance."""

    spec: LaunchSpec
    created_at: float


class LocalProvider:
    """`boundary` is called between any two steps that a crash could part; tests crash there."""

    name = LOCAL
    consistency_s = 0.0

    def __init__(self, root: Path, *, fleet: str, boundary: Callable[[str], None] = lambda _: None) -> None:
        self._root = root
        self._fleet = fleet
        self._boundary = boundary
        self._agents: set[int] = set()
        self._threads = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="local-provider")

    async def offers(self, pool: Pool) -> Sequence[Offer]:
        now = time.time()
        return tuple(
            Offer(
                provider=LOCAL,
                instance_type="local",
                gpu=gpu,
                zone="local",
                market=pool.placement.market,
                price_per_hour=pool.price_per_hour,
                price_source="declared",
                price_as_of=now,
            )
            for gpu in pool.gpu
        )

    async def launch(self, spec: LaunchSpec) -> None:
        await self._in_thread(self._launch, spec)

    async def list(self, fleet: str) -> Listing:
        return await self._in_thread(self._list, fleet)

    async def start(self, instance: InstanceId) -> None:
        await self._in_thread(self._start, instance)

    async def stop(self, instance: InstanceId) -> None:
        await self._in_thread(self._stop, instance)

    async def terminate(self, instance: InstanceId) -> None:
        await self._in_thread(self._terminate, instance)

    async def console(self, instance: InstanceId) -> str:
        return ""  # a folder has no console; its agent's log is what there is

    async def leftovers(self, fleet: str) -> Sequence[Leftover]:
        return ()

    async def remove(self, leftover: Leftover) -> None:
        raise InvalidRequest(f"{leftover.kind} {leftover.id}: the local provider owns nothing but machines")

    async def checks(self, pools: Sequence[Pool]) -> Sequence[Check]:
        return ()

    async def close(self) -> None:
        """Node agents run on."""
        self._threads.shutdown(wait=False)

    async def _in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        def translated() -> T:
            try:
                return call(*args, **kwargs)
            except OSError as error:
                raise ProviderError(f"{self._root}: {error}", hint=f"see ls -la {self._root}") from error

        return await asyncio.get_running_loop().run_in_executor(self._threads, translated)

    def _launch(self, spec: LaunchSpec) -> None:
        if spec.fleet != self._fleet:
            raise InvalidRequest(f"{spec.id} is of fleet {spec.fleet}; this provider serves {self._fleet}")
        with self._changing(spec.id):
            self._clear()
            folder = self._folder(spec.id)
            if self._read(spec.id) is None:
                new = self._root / f".new-{spec.id}"
                shutil.rmtree(new, ignore_errors=True)
                new.mkdir(mode=0o700)
                machine = _Machine(spec=spec, created_at=time.time())
                (new / "instance.json").write_bytes(msgspec.json.encode(machine))
                self._boundary("launch: folder made")
                new.rename(folder)
                self._boundary("launch: folder named")
            if not _stopping(folder).exists() and not _stopped(folder).exists():
                self._run_agent(spec)
                self._boundary("launch: agent started")

    def _list(self, fleet: str) -> Listing:
        at = time.time()
        self._reap()
        seen = []
        folders = sorted(self._root.iterdir()) if self._root.is_dir() else []
        for folder in folders:
            if folder.name.startswith("."):
                continue
            machine = self._read(InstanceId(folder.name))
            if machine is not None and machine.spec.fleet == fleet:
                seen.append(_seen(folder, machine))
        return Listing(provider=LOCAL, at=at, instances=tuple(seen))

    def _start(self, instance: InstanceId) -> None:
        with self._changing(instance):
            machine = self._own(instance)
            if machine is None:
                raise Gone(f"{instance} is gone from this machine", hint="fleetctl up")
            folder = self._folder(instance)
            if _stopping(folder).exists():
                self._halt(instance)  # a stop that was broken off is ended first: no engine of before may be left
                _stopping(folder).unlink()
            self._boundary("start: stop ended")
            _stopped(folder).unlink(missing_ok=True)
            self._boundary("start: marker gone")
            self._run_agent(machine.spec)
            self._boundary("start: agent started")

    def _stop(self, instance: InstanceId) -> None:
        with self._changing(instance):
            if self._own(instance) is None:
                raise Gone(f"{instance} is gone from this machine", hint="fleetctl ps -i")
            folder = self._folder(instance)
            if _stopped(folder).exists():
                return
            _stopping(folder).touch()
            self._boundary("stop: begun")
            self._halt(instance)
            self._boundary("stop: halted")
            _stopping(folder).rename(_stopped(folder))
            self._boundary("stop: ended")

    def _terminate(self, instance: InstanceId) -> None:
        with self._changing(instance):
            self._clear()
            if self._own(instance) is None:
                self._lock(instance).unlink(missing_ok=True)  # this very call made it anew
                return
            folder = self._folder(instance)
            self._halt(instance)
            self._boundary("terminate: halted")
            gone = self._root / f".gone-{instance}"
            shutil.rmtree(gone, ignore_errors=True)
            _socket(folder).unlink(missing_ok=True)
            folder.rename(gone)
            self._boundary("terminate: folder renamed")
            shutil.rmtree(gone, ignore_errors=True)
            if gone.exists():
                raise ProviderError(f"{gone} holds files of a container's user", hint=f"sudo rm -rf {gone}")
            self._boundary("terminate: folder removed")
            self._lock(instance).unlink(missing_ok=True)

    def _run_agent(self, spec: LaunchSpec) -> None:
        """Start the Instance's node agent, in a session of its own, unless it runs."""
        folder = self._folder(spec.id)
        held = _take_agent_lock(folder)
        if held is None:
            return
        try:
            _socket(folder).unlink(missing_ok=True)  # a killed agent's: nobody answers there
            handed = fcntl.fcntl(held, fcntl.F_DUPFD_CLOEXEC, _AGENT_DESCRIPTOR + 1)
            try:
                # Not subprocess: nobody waits for an agent, which outlives us.
                pid = os.posix_spawn(
                    sys.executable,
                    (sys.executable, "-m", "fleetctl.agent", "--locked", *_agent_arguments(folder, spec)),
                    _agent_environment(),
                    file_actions=[
                        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                        (os.POSIX_SPAWN_OPEN, 1, folder / "agent.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600),
                        (os.POSIX_SPAWN_DUP2, 1, 2),
                        (os.POSIX_SPAWN_DUP2, handed, _AGENT_DESCRIPTOR),
                    ],
                    setsid=True,
                )
            finally:
                os.close(handed)
        finally:
            os.close(held)
        self._agents.add(pid)

    def _halt(self, instance: InstanceId) -> None:
        """End the Instance's agent and engines, by the agent's own program: it knows what it started."""
        folder = self._folder(instance)
        command = [sys.executable, "-m", "fleetctl.agent", "--halt", "--instance", instance, "--folder", str(folder)]
        try:
            done = subprocess.run(
                command,
                env=_agent_environment(),
                cwd=self._root,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_HALT_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise OutcomeUnknown(f"{instance} did not end within {_HALT_LIMIT_S:g} s") from None
        if done.returncode != 0:
            raise ProviderError(f"{instance} could not be ended: {done.stderr.strip()}", hint=f"see {folder}/agent.log")
        self._reap()

    def _reap(self) -> None:
        """Take leave of agents that ended, so that none stays a zombie of ours."""
        for pid in tuple(self._agents):
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG) == (0, 0):
                    continue
            self._agents.discard(pid)

    def _clear(self) -> None:
        """Remove what terminations that were broken off left behind."""
        for left in self._root.glob(".gone-*"):
            shutil.rmtree(left, ignore_errors=True)

    def _own(self, instance: InstanceId) -> _Machine | None:
        """The Instance, if it is there and of our fleet. Raises `InvalidRequest` for another fleet's."""
        machine = self._read(instance)
        if machine is not None and machine.spec.fleet != self._fleet:
            raise InvalidRequest(f"{instance} is of fleet {machine.spec.fleet}; this provider serves {self._fleet}")
        return machine

    def _read(self, instance: InstanceId) -> _Machine | None:
        path = self._folder(instance) / "instance.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=_Machine)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except msgspec.DecodeError as error:
            # Left out, its Instance would count as gone while it runs.
            raise ProviderError(f"{path} cannot be read: {error}", hint=f"restore or remove {path.parent}") from error

    @contextlib.contextmanager
    def _changing(self, instance: InstanceId) -> Iterator[None]:
        """Be the only one on this machine who changes the Instance. Blocks; raises `ProviderError` after a while."""
        self._folder(instance)
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._lock(instance)
        deadline = time.monotonic() + _CHANGE_LIMIT_S
        while time.monotonic() < deadline:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    # Its holder may have removed it with its Instance meanwhile: then there is a new one, or none.
                    if _is_file(descriptor, path):
                        yield
                        return
            finally:
                os.close(descriptor)
            time.sleep(_LOCK_PAUSE_S)
        raise ProviderError(
            f"another process has been changing {instance} for {_CHANGE_LIMIT_S:g} s", hint=f"see who: fuser {path}"
        )

    def _lock(self, instance: InstanceId) -> Path:
        return self._root / f".lock-{instance}"

    def _folder(self, instance: InstanceId) -> Path:
        if _ID.fullmatch(instance) is None:
            raise InvalidRequest(f"{instance!r} cannot name a folder, so it cannot name a local instance")
        return self._root / instance


def _seen(folder: Path, machine: _Machine) -> InstanceSeen:
    state, detail = _state(folder)
    return InstanceSeen(
        id=machine.spec.id,
        pool=machine.spec.pool,
        state=state,
        offer=machine.spec.offer,
        created_at=machine.created_at,
        address=f"unix:{_socket(folder)}",
        detail=detail,
    )


def _state(folder: Path) -> tuple[Sighting, str]:
    if _stopped(folder).exists():
        return Sighting.STOPPED, ""
    if _stopping(folder).exists():
        # Not STOPPING: that would promise that it ends by itself, and only a repeated call makes sure.
        return Sighting.RUNNING, "a stop was begun and has not ended"
    if not _agent_runs(folder):
        return Sighting.STOPPED, "node agent not running"
    if not _socket(folder).exists():
        return Sighting.BOOTING, ""
    return Sighting.RUNNING, ""


def _stopping(folder: Path) -> Path:
    return folder / "stopping"


def _stopped(folder: Path) -> Path:
    return folder / "stopped"


def _socket(folder: Path) -> Path:
    return socket_path(folder / "agent.sock")


def _agent_runs(folder: Path) -> bool:
    """Whether somebody holds the agent's lock."""
    try:
        descriptor = os.open(folder / "agent.lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _take_agent_lock(folder: Path) -> int | None:
    """The agent's lock, held by us; None: the agent runs."""
    descriptor = os.open(folder / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_PAUSE_S)
        else:
            return descriptor
    os.close(descriptor)
    return None


def _agent_arguments(folder: Path, spec: LaunchSpec) -> tuple[str, ...]:
    return (
        *("--instance", spec.id),
        *("--folder", str(folder)),
        *("--socket", str(_socket(folder))),
        *("--gpus", str(spec.offer.gpu)),
        *("--boot-s", str(spec.local.boot_s)),
        *("--image-s", str(spec.local.image_s)),
        *("--weights-s", str(spec.local.weights_s)),
        *("--runtime", "auto"),
        *("--notices", "local"),
    )


def _agent_environment() -> dict[str, str]:
    """Ours; and where fleetctl runs from a source tree, the way to it, which an installed one needs no telling."""
    environment = dict(os.environ)
    source = Path(fleetctl.__file__).resolve().parent.parent
    if source not in (Path(place).resolve() for place in (*site.getsitepackages(), site.getusersitepackages())):
        known = environment.get("PYTHONPATH", "")
        if str(source) not in known.split(os.pathsep):
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(source), known)))
    return environment


def _is_file(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one that the path names now."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
