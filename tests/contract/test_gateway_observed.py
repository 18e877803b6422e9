"""What can be seen of requests: their ids, the access log, tokens, times; and what probes find out."""

import asyncio
import json
import re
import socket
from pathlib import Path

import pytest
from gateway_world import (
    Asked,
    Engine,
    answer,
    ask,
    client,
    echo,
    engine,
    held,
    in_process,
    reset,
    routed,
    routes,
    service,
    until,
    until_stats,
)
from prometheus_client.parser import text_string_to_metric_families

from fleetctl.gateway.access_log import AccessLog
from fleetctl.gateway.draining import drain
from fleetctl.gateway.probes import Probes
from fleetctl.model.names import ServiceName

CHAT = ServiceName("chat")
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
USAGE = b'"usage":{"prompt_tokens":12,"total_tokens":45,"completion_tokens":33}'


async def value(gateway: object, name: str, **labels: str) -> float:
    text = await gateway.metrics()  # type: ignore[attr-defined]
    wanted = {"service": "chat", **labels}
    return next(
        one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
        if one.name == f"fleetctl_gateway_{name}" and one.labels == wanted
    )


def request_id(head: bytes) -> bytes:
    found = re.findall(rb"\r\nx-request-id: ([^\r]+)", head, re.IGNORECASE)
    assert len(found) == 1
    return bytes(found[0])


# Names


async def test_a_request_is_named_where_its_client_does_not_and_both_sides_hear_the_name() -> None:
    async def serve(_: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"", extra=b"X-Request-Id: the engine's own\r\n"))

    async with in_process() as gateway, engine(serve) as one, client(gateway) as asking:
        await gateway.route(routes(routed(CHAT, one)))
        names = []
        for _ in range(3):
            asking.post()
            names.append(request_id((await asking.answer()).head))

        assert len(set(names)) == 3
        assert [request_id(asked.head) for asked in one.asked] == names
        for name, asked in zip(names, one.asked, strict=True):
            assert b"\r\ntraceparent: 00-" + name + b"-" in asked.head


async def test_a_name_of_the_client_is_kept_and_told_in_a_refusal_too() -> None:
    async with in_process() as gateway, engine(echo) as one:
        await gateway.route(routes(routed(CHAT, one)))
        given = await ask(gateway, extra=b"X-Request-ID: mine-1\r\n")
        await gateway.route(routes(routed(CHAT, limit=0)))
        refused = await ask(gateway, extra=b"X-Request-ID: mine-2\r\n")

        assert (request_id(given.head), request_id(one.asked[0].head)) == (b"mine-1", b"mine-1")
        assert (refused.code, request_id(refused.head)) == ("queue_full", b"mine-2")


async def test_a_name_that_is_none_is_replaced() -> None:
    async with in_process() as gateway, engine(echo) as one:
        await gateway.route(routes(routed(CHAT, one)))

        answered = await ask(gateway, extra=b"X-Request-ID: two words\r\ntraceparent: 00-x\r\n")

        assert re.fullmatch(rb"[0-9a-f]{32}", request_id(answered.head))
        assert b"00-x\r\n" not in one.asked[0].head


# Tokens and times


@pytest.mark.parametrize("split", [False, True], ids=["in one write", "in many"])
async def test_tokens_of_a_counted_answer_are_read_from_its_end(split: bool) -> None:
    body = b'{"choices":[{"text":"' + b"x" * 20_000 + b'"}],' + USAGE + b"}"

    async def serve(_: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
        raw = answer(body)
        step = 700 if split else len(raw)
        for start in range(0, len(raw), step):
            writer.write(raw[start : start + step])
            await writer.drain()
            await asyncio.sleep(0)

    async with in_process() as gateway, engine(serve) as one:
        await gateway.route(routes(routed(CHAT, one)))

        assert (await ask(gateway)).body == body

        await until_stats(gateway, CHAT, lambda stats: stats.completed == 1)
        assert await value(gateway, "input_tokens_total") == 12
        assert await value(gateway, "output_tokens_total") == 33


@pytest.mark.parametrize(
    ("last", "output", "between"),
    [(b"data: {" + USAGE + b"}\n\n", 33, 32), (b"", 10, 9)],
    ids=["the engine says", "events are counted"],
)
async def test_tokens_of_a_stream_are_read_from_its_last_event_or_counted(
    last: bytes, output: int, between: int
) -> None:
    async def serve(_: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(SSE)
        for event in [b'data: {"n":%d}\n\n' % number for number in range(11)] + [last, b"data: [DONE]\n\n"]:
            if event:
                writer.write(b"%x\r\n%b\r\n" % (len(event), event))
                await writer.drain()
                await asyncio.sleep(0.002)
        writer.write(b"0\r\n\r\n")

    async with in_process() as gateway, engine(serve) as one:
        await gateway.route(routes(routed(CHAT, one)))

        await ask(gateway, b'{"stream": true}')

        await until_stats(gateway, CHAT, lambda stats: stats.completed == 1)
        assert await value(gateway, "output_tokens_total") == output
        assert await value(gateway, "inter_token_seconds_count") == between
        assert 0.01 < await value(gateway, "inter_token_seconds_sum") < 15


async def test_the_first_byte_of_the_body_counts_not_that_of_the_head() -> None:
    async def serve(engine: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(SSE)
        await engine.go.wait()
        writer.write(b"5\r\nhello\r\n0\r\n\r\n")

    async with in_process() as gateway, engine(serve) as one, client(gateway) as asking:
        await gateway.route(routes(routed(CHAT, one)))
        asking.post()
        await asking.head()
        before = await value(gateway, "ttft_seconds_count")
        one.go.set()
        await asking.reader.readuntil(b"0\r\n\r\n")

        await until_stats(gateway, CHAT, lambda stats: stats.completed == 1)
        assert (before, await value(gateway, "ttft_seconds_count")) == (0, 1)


# The access log


def logged(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_every_request_leaves_one_line_without_prompt_and_key(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(path)
    async with in_process(access_log=log) as gateway, engine(echo) as good, engine(reset) as bad, engine(held) as slow:
        secret = b"Authorization: Bearer sk-secret\r\n"
        await gateway.route(routes(routed(CHAT, good)))
        answered = await ask(gateway, b'{"prompt": "private"}', path="/v1/x?token=private", extra=secret)
        await gateway.route(routes(routed(CHAT, bad)))
        await ask(gateway, extra=secret)
        await gateway.route(routes())
        await ask(gateway, extra=secret)
        await gateway.route(routes(routed(CHAT, slow)))
        async with client(gateway) as leaving:
            leaving.post(extra=secret)
            await until(lambda: slow.running == 1)
        await until(lambda: slow.left == 1)
        await until(lambda: len(logged(path)) == 4)
    log.close()

    lines = logged(path)
    assert [(line["outcome"], line["status"], line["code"]) for line in lines] == [
        ("answered", 200, ""), ("failed", 502, "upstream_failed"), ("refused", 404, "no_services"),
        ("cancelled", 0, ""),
    ]  # fmt: skip
    assert [line["replica"] for line in lines] == ["r0", "r0", "", "r0"]
    first = lines[0]
    assert (first["service"], first["replica"], first["path"]) == ("chat", "r0", "/v1/x")
    assert first["bytes_in"] == 21
    assert str(first["request_id"]).encode() == request_id(answered.head)
    assert 0 < float(str(first["ttft_s"])) <= float(str(first["total_s"]))
    assert "private" not in path.read_text()
    assert "secret" not in path.read_text()


async def test_only_a_sample_of_the_answered_is_logged_and_all_that_failed(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(path, sample=0.0)
    async with in_process(access_log=log) as gateway, engine(echo) as good:
        await gateway.route(routes(routed(CHAT, good)))
        await ask(gateway)
        await gateway.route(routes())
        await ask(gateway)
    log.close()

    assert [line["outcome"] for line in logged(path)] == ["refused"]


# Probes and the end


async def probed(address: str, path: str = "", timeout_s: float = 5.0) -> bool:
    probes = Probes(asyncio.get_running_loop())
    probes.timeout_s = timeout_s
    told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    probes.start(address, path, told.set_result)
    async with asyncio.timeout(15):
        return await told


@pytest.mark.parametrize(
    ("status", "well"), [("200 OK", True), ("204 No Content", True), ("503 Loading", False), ("404 No", False)]
)
async def test_a_probe_asks_for_its_path(status: str, well: bool) -> None:
    async def serve(_: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"", status))

    async with engine(serve) as one:
        assert await probed(one.address, "/health") is well
        assert one.asked[0].line == b"GET /health HTTP/1.1"


async def test_without_a_path_connecting_is_enough() -> None:
    async with engine(held) as one:
        assert await probed(one.address)
        assert one.asked == []


async def test_what_does_not_listen_answer_or_speak_is_not_well() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{taken.getsockname()[1]}"

        async def garbage(_: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
            writer.write(b"SSH-2.0\r\n")

        async with engine(held) as mute, engine(reset) as resets, engine(garbage) as odd:
            found = [
                await probed(nobody),
                await probed(nobody, "/health"),
                await probed("no port"),
                await probed(mute.address, "/health", timeout_s=0.1),
                await probed(resets.address, "/health"),
                await probed(odd.address, "/health"),
            ]

    assert found == [False] * 6


async def test_a_replica_that_failed_gets_requests_again_once_its_probe_is_well() -> None:
    async def serve(engine: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.line.startswith(b"GET /health"):
            writer.write(answer(b""))
        elif len(engine.asked) == 1:
            writer.transport.abort()
        else:
            writer.write(answer(asked.body))

    async with in_process() as gateway, engine(serve) as one:
        route = routed(CHAT, one)
        await gateway.route(routes(type(route)(
            service=route.service, models=(), upstreams=route.upstreams, probe_path="/health",
        )))  # fmt: skip
        failed = await ask(gateway, b"1")
        resting = gateway.plane.measures().lines[0].resting
        served = await ask(gateway, b"2")

        assert (failed.status, resting, served.body) == (502, ("r0",), b"2")
        assert [asked.line[:11] for asked in one.asked] == [b"POST /v1/x ", b"GET /health", b"POST /v1/x "]
        assert gateway.plane.measures().lines[0].resting == ()


async def test_stopping_says_how_long_what_runs_has(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "fleetctl.gateway")
    async with in_process() as gateway, engine(held) as one:
        name = service()
        await gateway.route(routes(routed(name, one, slots=1)))
        running = asyncio.ensure_future(ask(gateway, b"runs"))
        await until(lambda: one.running == 1)
        waiting = asyncio.ensure_future(ask(gateway))
        await until_stats(gateway, name, lambda stats: stats.queued == 1)

        stopping = asyncio.ensure_future(drain(gateway.plane, timeout_s=7.0))
        refused = await waiting
        one.go.set()
        await running
        await stopping

        assert (refused.status, refused.code) == (503, "shutting_down")
        assert b"7 s to end" in refused.body
        assert "1 run, and have 7 s to end" in caplog.text
