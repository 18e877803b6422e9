"""`PUT /identity` and `GET /entry` of the real gateway, one process and several: who may enter, and what is told."""

import asyncio
import hashlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import time

import aiohttp
import pytest
from gateway_world import (
    WITHIN_S,
    Asked,
    AsProcess,
    Engine,
    answer,
    ask,
    client,
    echo,
    engine,
    eventually,
    held,
    routed,
)
from gateway_world import routes as routes_to

from fleetctl.decide.identity import month_of
from fleetctl.errors import AgentFailure
from fleetctl.gateway.link import UnixGatewayLink
from fleetctl.gateway.scheduler.quotas import TENANTS_MAX
from fleetctl.model.names import ServiceName
from fleetctl.model.routes import Identity, KeyEntry, TenantEntry, TenantLimits, TenantUse

CHAT = ServiceName("chat")
SEVERAL = 2


def key(name: str, *, tenant: str = "acme", expires_at: float | None = None) -> KeyEntry:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return KeyEntry(id=f"id-{name}", sha256=digest, tenant=tenant, expires_at=expires_at)


def known(*keys: KeyEntry, limits: TenantLimits | None = None) -> Identity:
    names = dict.fromkeys(one.tenant for one in keys)
    return Identity(tenants=tuple(TenantEntry(name=name, limits=limits or TenantLimits()) for name in names), keys=keys)


def bearer(name: str) -> bytes:
    return b"Authorization: Bearer " + name.encode() + b"\r\n"


async def counted(_: Engine, asked: Asked, writer: object) -> None:
    """An answer that says what it cost."""
    assert isinstance(writer, asyncio.StreamWriter)
    body = b'{"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 4, "total_tokens": 15}}'
    writer.write(answer(body, extra=b"Content-Type: application/json\r\n"))


@dataclass(frozen=True, slots=True)
class Started:
    gateway: AsProcess
    socket: Path

    @property
    def link(self) -> UnixGatewayLink:
        return self.gateway.link

    async def status(self, name: str) -> int:
        return (await ask(self.gateway, extra=bearer(name))).status


@asynccontextmanager
async def started(workers: int) -> AsyncIterator[Started]:
    with tempfile.TemporaryDirectory(prefix="fg-") as folder:
        path, log = Path(folder) / "g.sock", Path(folder) / "log"
        argv = [sys.executable, "-m", "fleetctl.gateway", "--listen", "127.0.0.1:0", "--admin-socket", str(path)]
        argv += ["--workers", str(workers), "--log", str(log)]
        with subprocess.Popen(argv) as running:  # noqa: ASYNC220  it takes a millisecond, and nothing else runs yet
            link = UnixGatewayLink(path)
            try:
                health = await eventually(link.health)
                yield Started(AsProcess(link, health.listen), path)
            finally:
                await link.close()
                running.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(running.wait, WITHIN_S) == 0
        assert "Traceback" not in log.read_text()


@pytest.fixture(params=[1, SEVERAL], ids=["one process", "workers"])
async def running(request: pytest.FixtureRequest) -> AsyncIterator[Started]:
    async with started(request.param) as found:
        yield found


async def until_status(running: Started, name: str, status: int) -> None:
    """Workers hear of it a moment later than the process that is told."""
    async with asyncio.timeout(WITHIN_S):
        while await running.status(name) != status:  # noqa: ASYNC110  another process sets no event of ours
            await asyncio.sleep(0.01)


async def test_keys_come_go_and_expire(running: Started) -> None:
    async with engine(echo) as one:
        await running.link.route(routes_to(routed(CHAT, one)))
        unknown = await running.status("sk-a")
        before = (await running.link.entry()).known

        await running.link.identify(known(key("sk-a"), key("sk-brief", expires_at=time() + 1.0)))
        await until_status(running, "sk-a", 200)
        stranger = await running.status("sk-b")
        after = (await running.link.entry()).known
        await until_status(running, "sk-brief", 401)
        await running.link.identify(known(key("sk-b")))
        await until_status(running, "sk-a", 401)
        await until_status(running, "sk-b", 200)
        await running.link.identify(Identity(required=False))
        await until_status(running, "sk-whatever", 200)

    assert (unknown, stranger) == (503, 401)
    assert (before, after) == (False, True)


async def test_what_is_no_identity_changes_nothing(running: Started) -> None:
    good = known(key("sk-a"))
    many = replace(good, tenants=tuple(TenantEntry(name=f"t{number}") for number in range(TENANTS_MAX + 1)))
    broken = replace(good, keys=(replace(key("sk-a"), sha256="no digest"),))
    async with engine(echo) as one:
        await running.link.route(routes_to(routed(CHAT, one)))
        await running.link.identify(good)
        await until_status(running, "sk-a", 200)
        for wrong in (many, broken):
            with pytest.raises(AgentFailure, match="refused PUT /identity with 400"):
                await running.link.identify(wrong)
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(running.socket))) as session,
            session.put("http://gateway/identity", data=b'{"required": "maybe"}') as answered,
        ):
            assert answered.status == 400

        assert await running.status("sk-a") == 200
        assert await running.status("sk-b") == 401


async def test_a_limit_counts_over_all_processes_and_a_client_that_leaves_gives_its_place_back(
    running: Started,
) -> None:
    async with engine(held) as one:
        await running.link.route(routes_to(routed(CHAT, one, slots=1)))
        await running.link.identify(known(key("sk-a"), key("sk-b", tenant="other"), limits=TenantLimits(in_flight=3)))
        await until_known(running)
        waiting = [asyncio.create_task(running.status("sk-a")) for _ in range(2)]
        async with client(running.gateway) as leaving:
            leaving.post(extra=bearer("sk-a"))
            await until_in_flight(running, 3)

            refused = [await ask(running.gateway, extra=bearer("sk-a")) for _ in range(6)]
        await until_in_flight(running, 2)
        waiting += [asyncio.create_task(running.status(name)) for name in ("sk-a", "sk-b")]
        await until_in_flight(running, 4)
        one.go.set()

        assert await asyncio.gather(*waiting) == [200] * 4
    assert {(each.status, each.code) for each in refused} == {(429, "tenant_in_flight")}
    assert all(b"\r\nRetry-After: " in each.head for each in refused)


async def until_known(running: Started) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not (await running.link.entry()).known:  # noqa: ASYNC110  the same
            await asyncio.sleep(0.01)


async def until_in_flight(running: Started, count: int) -> None:
    async with asyncio.timeout(WITHIN_S):
        while True:
            stats = (await running.link.stats()).get(CHAT)
            if stats is not None and stats.queued + sum(number for _, number in stats.in_flight) == count:
                return
            await asyncio.sleep(0.01)


async def test_what_tenants_used_is_told_until_the_gateway_ends_and_keys_once(running: Started) -> None:
    async with engine(counted) as one:
        await running.link.route(routes_to(routed(CHAT, one)))
        await running.link.identify(known(key("sk-a"), key("sk-b", tenant="other")))
        await until_status(running, "sk-a", 200)
        await running.link.entry()
        for name in ("sk-a", "sk-a", "sk-b"):
            assert await running.status(name) == 200
        seen: set[str] = set()
        month = month_of(time())
        wanted = {
            TenantUse(tenant="acme", month=month, tokens=45),
            TenantUse(tenant="other", month=month, tokens=15),
        }
        async with asyncio.timeout(WITHIN_S):
            while True:
                report = await running.link.entry()
                seen.update(report.keys)
                if set(report.uses) == wanted and seen >= {"id-sk-a", "id-sk-b"}:
                    break
                await asyncio.sleep(0.05)
        again = await running.link.entry()

    assert set(again.uses) == wanted
    assert again.gateway == report.gateway
    assert seen == {"id-sk-a", "id-sk-b"}
