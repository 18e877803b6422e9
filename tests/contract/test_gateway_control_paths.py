"""No request reaches an engine's sleep and wake through the gateway: real sockets, however it is spelled and sent."""

import json

import pytest
from gateway_world import client, echo, engine, in_process, routed, routes, service

from fleetctl.engines import engine as known
from fleetctl.engines import engine_names
from fleetctl.gateway.control_paths import steers

STEERING = (
    "/collective_rpc",
    "/is_sleeping",
    "/release_memory_occupation",
    "/reset_prefix_cache",
    "/resume_memory_occupation",
    "/sleep?level=1",
    "/sleep?level=2",
    "/wake_up",
    "/wake_up?tags=weights",
)
SPELLINGS = ("{}", "/{}", "/.{}", "/v1/..{}", "/%73leep", "{}/", "{}/x", "{};a")


def calls() -> set[str]:
    """Everything that a node agent calls to put any engine to sleep and to wake it."""
    found = set()
    for name in engine_names():
        sleep = known(name).sleep
        for level in (1, 2) if sleep is not None else ():
            assert sleep is not None
            found |= {call.path for call in (*sleep.level(level).enter, *sleep.level(level).wake)}
    return found


def test_every_call_that_steers_any_engine_asleep_is_a_control_path() -> None:
    assert calls() >= {"/sleep?level=1", "/sleep?level=2", "/release_memory_occupation", "/collective_rpc"}
    assert [path for path in calls() if not steers(path.encode())] == []


@pytest.mark.parametrize("path", sorted(calls() | set(STEERING)))
async def test_the_gateway_forwards_no_control_path(path: str) -> None:
    name = service()
    bare, _, query = path.partition("?")
    targets = [spelling.format(bare) + (f"?{query}" if query else "") for spelling in SPELLINGS]
    body = json.dumps({"model": str(name), "method": "reload_weights"}).encode()
    asks = [
        (method, where, extra)
        for method in (b"POST", b"GET", b"PUT")
        for where, extra in [
            *((f"/{name}{target}", b"") for target in targets),
            *((target, b"X-Fleetctl-Service: " + name.encode() + b"\r\n") for target in targets),
            *((target, b"") for target in targets),
        ]
    ]
    async with in_process() as gateway, engine(echo) as one:
        await gateway.route(routes(routed(name, one)))

        got = []
        for method, where, extra in asks:
            async with client(gateway) as asking:
                head = b"%b %b HTTP/1.1\r\nHost: a\r\n%bContent-Length: %d\r\n\r\n"
                asking.send(head % (method, where.encode(), extra, len(body)) + body)
                got.append((method, where, (await asking.answer()).status))

        assert one.asked == []
        assert {status for _, _, status in got} <= {403, 404}, [one for one in got if one[2] not in (403, 404)]
