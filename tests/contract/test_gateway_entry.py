"""Keys, priorities and patience at the gateway's door, over real sockets."""

import hashlib
import json

import pytest
from gateway_world import Gateway, InProcess, ask, client, echo, engine, in_process, routed, routes, until_stats

from fleetctl.gateway.plane import DataPlane
from fleetctl.model.names import ServiceName
from fleetctl.model.routes import Identity, KeyEntry, TenantEntry

CHAT, CODE = ServiceName("chat"), ServiceName("code")


def key(name: str, tenant: str = "acme", *, services: tuple[ServiceName, ...] | None = None) -> KeyEntry:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return KeyEntry(id=f"id-{name}", sha256=digest, tenant=tenant, services=services)


KEYS = Identity(
    tenants=(TenantEntry(name="acme"), TenantEntry(name="batch", priority="low")),
    keys=(key("sk-all"), key("sk-chat", services=(CHAT,)), key("sk-batch", "batch")),
)


def bearer(name: str) -> bytes:
    return b"Authorization: Bearer " + name.encode() + b"\r\n"


async def test_a_key_opens_and_is_not_shown_to_the_engine() -> None:
    async with in_process(identity=KEYS) as gateway, engine(echo) as one:
        await gateway.route(routes(routed(CHAT, one)))

        answers = [
            await ask(gateway, extra=extra)
            for extra in (bearer("sk-all"), b"x-api-key: sk-all\r\n", b"api-key: sk-all\r\nX-Other: kept\r\n")
        ]

        assert [answered.status for answered in answers] == [200, 200, 200]
        assert not any(b"sk-all" in asked.head for asked in one.asked)
        assert b"X-Other: kept\r\n" in one.asked[2].head


async def test_where_no_key_is_asked_for_the_engine_gets_what_the_client_sent() -> None:
    async with in_process() as gateway, engine(echo) as one:
        await gateway.route(routes(routed(CHAT, one)))

        assert (await ask(gateway, extra=bearer("engine-key"))).status == 200
        assert bearer("engine-key") in one.asked[0].head


@pytest.mark.parametrize(
    ("extra", "code"),
    [(b"", "missing_api_key"), (bearer("sk-wrong"), "invalid_api_key"), (b"x-api-key: sk\r\n", "invalid_api_key")],
)
async def test_without_a_good_key_nobody_enters(extra: bytes, code: str) -> None:
    async with in_process(identity=KEYS) as gateway, engine(echo) as one, client(gateway) as asking:
        await gateway.route(routes(routed(CHAT, one)))
        asking.post(extra=extra)
        refused = await asking.answer()
        asking.post(extra=bearer("sk-all"))
        served = await asking.answer()

        assert (refused.status, refused.code, served.status) == (401, code, 200)  # and the connection stays
        assert b"\r\nWWW-Authenticate: Bearer" in refused.head
        assert len(one.asked) == 1
        assert gateway.plane.records.refusals == {code: 1}


async def test_before_anybody_says_who_may_enter_nobody_does_and_it_is_not_ready() -> None:
    async with in_process(identity=KEYS) as gateway, engine(echo) as one:
        fresh = DataPlane(gateway.plane.loop, connections_max=10)
        server = await fresh.loop.create_server(fresh.client, "127.0.0.1", 0)
        unknown = InProcess(fresh, f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await unknown.route(routes(routed(CHAT, one)))

        refused = await ask(unknown, extra=bearer("sk-all"))
        async with client(unknown) as asking:
            asking.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            health = await asking.answer()
            await asking.ended()
        server.close()
        fresh.close()

        assert (refused.status, refused.code, one.asked) == (503, "no_identity", [])
        assert (health.status, health.code) == (503, "no_identity")


async def test_a_revoked_key_is_refused_on_a_connection_that_it_opened() -> None:
    async with in_process(identity=KEYS) as gateway, engine(echo) as one, client(gateway) as asking:
        await gateway.route(routes(routed(CHAT, one)))
        asking.post(extra=bearer("sk-all"))
        before = await asking.answer()
        gateway.plane.identify(Identity(tenants=KEYS.tenants, keys=KEYS.keys[1:]))
        asking.post(extra=bearer("sk-all"))

        assert (before.status, (await asking.answer()).code) == (200, "invalid_api_key")


async def test_a_key_sees_and_reaches_only_its_services() -> None:
    async with in_process(identity=KEYS) as gateway, engine(echo) as one, client(gateway) as asking:
        await gateway.route(routes(routed(CHAT, one), routed(CODE, one)))
        lists = []
        for name in ("sk-all", "sk-chat"):
            asking.send(b"GET /v1/models HTTP/1.1\r\nHost: a\r\n" + bearer(name) + b"\r\n")
            lists.append({entry["id"] for entry in json.loads((await asking.answer()).body)["data"]})
        asking.post(b'{"model": "code"}', extra=bearer("sk-chat"))
        refused = await asking.answer()
        asking.post(b'{"model": "chat"}', extra=bearer("sk-chat"))
        served = await asking.answer()

        assert lists == [{"chat", "org/chat", "code", "org/code"}, {"chat", "org/chat"}]
        assert (refused.status, refused.code, served.status) == (403, "service_forbidden", 200)
        assert b"code" not in refused.body.replace(b'"code":', b"")
        assert len(one.asked) == 1


async def test_the_list_of_models_needs_a_key() -> None:
    async with in_process(identity=KEYS) as gateway, client(gateway) as asking:
        await gateway.route(routes(routed(CHAT)))
        asking.send(b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n")

        assert (await asking.answer()).code == "missing_api_key"


async def bands(gateway: Gateway) -> dict[str, int]:
    assert isinstance(gateway, InProcess)
    return {one.band: one.queued for one in gateway.plane.measures().lines[0].bands if one.queued}


@pytest.mark.parametrize(
    ("extra", "band"),
    [
        (bearer("sk-all"), "normal"),
        (bearer("sk-all") + b"x-fleetctl-priority: low\r\n", "low"),
        (bearer("sk-all") + b"x-fleetctl-priority: high\r\n", "normal"),
        (bearer("sk-batch"), "low"),
        (bearer("sk-batch") + b"x-fleetctl-priority: normal\r\n", "low"),
    ],
)
async def test_a_request_waits_in_its_band_and_under_its_tenant(extra: bytes, band: str) -> None:
    async with in_process(identity=KEYS) as gateway, client(gateway) as asking:
        await gateway.route(routes(routed(CHAT)))
        asking.post(extra=extra)
        await until_stats(gateway, CHAT, lambda stats: stats.queued == 1)

        assert await bands(gateway) == {band: 1}
        tenant = "batch" if b"sk-batch" in extra else "acme"
        assert {one.tenant: one.queued for one in gateway.plane.measures().lines[0].tenants}[tenant] == 1
        await gateway.route(routes())
        await asking.answer()


async def test_a_client_may_say_how_long_it_waits() -> None:
    async with in_process() as gateway:
        await gateway.route(routes(routed(CHAT)))

        refused = await ask(gateway, extra=b"x-fleetctl-timeout: 50ms\r\n")
        wrong = await ask(gateway, extra=b"x-fleetctl-timeout: soon\r\n")

        assert (refused.status, refused.code) == (503, "queue_timeout")
        assert (wrong.status, wrong.code) == (400, "bad_timeout")


async def test_the_keys_that_were_used_are_told() -> None:
    async with in_process(identity=KEYS) as gateway, engine(echo) as one, client(gateway) as asking:
        await gateway.route(routes(routed(CHAT, one)))
        told = []
        for _ in range(2):
            asking.post(extra=bearer("sk-chat"))
            await asking.answer()
            told.append(gateway.plane.entry_report().keys)

        assert told == [("id-sk-chat",), ("id-sk-chat",)]
        assert gateway.plane.entry_report().keys == ()
