"""fleetctl's gateway as a candidate: a process of its own, routed and given its keys over the admin socket."""

import asyncio
import hashlib
import sys
from pathlib import Path

import aiohttp
import msgspec

from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.routes import Identity, KeyEntry, Route, Routes, TenantEntry, Upstream
from gateway.candidates import Candidate, Launch, Setting

SLOTS = 8192
"""More than any sample asks at once: what is compared is forwarding, and the others have no queue at all."""
TREE = Path(__file__).resolve().parents[2]
_PLAIN_ASYNCIO = (
    "import sys, runpy; sys.modules['uvloop'] = None; runpy.run_module('fleetctl.gateway', run_name='__main__')"
)


class Fleetctl(Candidate):
    """Queue, priority, fairness, affinity, a key on each request, metrics and strict parsing: all on."""

    def __init__(self, *, uvloop: bool = True, native: bool = False, tree: Path = TREE) -> None:
        """`tree`: the checkout that is measured; another than ours to compare before and after."""
        self._uvloop = uvloop
        self._native = native
        self._tree = tree.resolve()
        self.quick = uvloop
        beside = "" if self._tree == TREE else f" at {tree.name}"
        self.name = f"fleetctl{'' if uvloop else ' on asyncio'}{' native' if native else ''}{beside}"

    def launch(self, setting: Setting) -> Launch:
        how = ("-m", "fleetctl.gateway") if self._uvloop else ("-c", _PLAIN_ASYNCIO)
        given = ("--listen", f"127.0.0.1:{setting.port}", "--admin-socket", str(admin_socket(setting)))
        env = {"PYTHONPATH": str(self._tree), "FLEETCTL_NATIVE": "1" if self._native else "0"}
        return Launch(command=(sys.executable, *how, *given), env=env, cwd=self._tree)

    def routed(self, setting: Setting) -> None:
        asyncio.run(self._routed(setting))

    async def _routed(self, setting: Setting) -> None:
        async with admin(setting) as session:
            # A checkout from before there were keys has no such path; it asks for none.
            await put(session, "identity", identity(setting.key), may_lack=self._tree != TREE)
            await put(session, "routes", routes(upstream(f"127.0.0.1:{setting.upstream}")))


def admin_socket(setting: Setting) -> Path:
    return setting.folder / "admin.sock"


def admin(setting: Setting) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(admin_socket(setting))))


async def put(session: aiohttp.ClientSession, what: str, document: object, *, may_lack: bool = False) -> None:
    async with session.put(f"http://gateway/{what}", data=msgspec.json.encode(document)) as answer:
        if answer.status >= 300 and not (may_lack and answer.status == 404):
            raise RuntimeError(f"the gateway refused PUT /{what} with {answer.status}: {await answer.text()}")


def upstream(address: str, *, name: str = "bench-1", slots: int = SLOTS) -> Upstream:
    return Upstream(replica=ReplicaId(name), address=address, slots=slots)


def routes(*upstreams: Upstream, fence: int = 1) -> Routes:
    route = Route(service=ServiceName("bench"), models=("bench",), upstreams=upstreams)
    return Routes(fence=fence, epoch="bench", routes=(route,))


def identity(key: str) -> Identity:
    entry = KeyEntry(id="bench", sha256=hashlib.sha256(key.encode()).hexdigest(), tenant="bench")
    return Identity(required=True, tenants=(TenantEntry(name="bench"),), keys=(entry,))
