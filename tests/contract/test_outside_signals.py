"""Signals from outside, read from real servers and processes: the number, or why there is none, and never a secret."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from fleetctl.controller.outside import OutsideWatch
from fleetctl.model.names import ServiceName
from fleetctl.model.outside import (
    Access,
    AzureQueueSource,
    HttpSource,
    PrometheusSource,
    PubSubSource,
    Secret,
    Signal,
    SqsSource,
)
from fleetctl.model.services import Gpu, Service
from fleetctl.model.signals import OutsideReading
from fleetctl.model.snapshots import Intent
from fleetctl.scrape.outside import OutsideSources
from fleetctl.scrape.outside.http import BODY_BYTES_MAX

NOW = 1_700_000_000.0
TOKEN = "s3cr3t-token"
PATIENCE_S = 60.0


class StandingClock:
    """A `ports.Clock` whose time stands; who sleeps, sleeps for long."""

    def now(self) -> float:
        return NOW

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(3600.0)


class Server:
    """One HTTP server of a source: what it answers is set, what it was asked is kept."""

    def __init__(self) -> None:
        self.address = ""
        self.body: bytes = b"{}"
        self.status = 200
        self.headers: dict[str, str] = {}
        self.hangs = False
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.path, dict(request.query), dict(request.headers)))
        if self.hangs:
            await asyncio.sleep(3600.0)
        return web.Response(body=self.body, status=self.status, headers=self.headers)


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


async def read(signal: Signal) -> OutsideReading:
    sources = OutsideSources(StandingClock())
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await sources.read(signal)
    finally:
        await sources.close()
        await asyncio.sleep(0)


def known(value: float, at: float = NOW) -> OutsideReading:
    return OutsideReading(name="s", value=value, at=at)


# Prometheus


def prometheus(address: str, *, access: Access | None = None, timeout_s: float = 5.0) -> Signal:
    source = PrometheusSource(url=address, query='sum(rate(http_requests{job="shop"}[1m]))', access=access or Access())
    return Signal(name="s", target=1.0, timeout_s=timeout_s, prometheus=source)


def vector(*values: str) -> bytes:
    result = [{"metric": {"job": str(at)}, "value": [NOW, value]} for at, value in enumerate(values)]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()


SCALAR = b'{"status":"success","data":{"resultType":"scalar","result":[1700000000.0,"7"]}}'


@pytest.mark.parametrize(("body", "value"), [(vector("41.5"), 41.5), (SCALAR, 7.0), (vector("0"), 0.0)])
async def test_prometheus_answers_with_one_number(body: bytes, value: float) -> None:
    async with serving() as server:
        server.body = body

        assert await read(prometheus(server.address)) == known(value)
        path, query, _ = server.asked[0]
        assert (path, query) == ("/api/v1/query", {"query": 'sum(rate(http_requests{job="shop"}[1m]))'})


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (vector(), 200, "has no series"),
        (vector("1", "2"), 200, "has 2 series; sum()"),
        (vector("NaN"), 200, "is nan"),
        (vector("+Inf"), 200, "is inf"),
        (vector("-3"), 200, "-3, which is no amount"),
        (b'{"status":"success","data":{"resultType":"matrix","result":[]}}', 200, "is a matrix"),
        (b"<html>", 200, "no JSON"),
        (b'{"status":"error"}', 200, "there is no 'data'"),
        (vector("1"), 503, "HTTP 503 from http://127.0.0.1"),
        (vector("1"), 302, "HTTP 302"),
        (b" " * (BODY_BYTES_MAX + 1), 200, "more than"),
        (b"[" * 100_000, 200, "no JSON"),
    ],
)
async def test_what_is_no_number_is_unknown(body: bytes, status: int, says: str) -> None:
    async with serving() as server:
        server.body, server.status = body, status
        server.headers = {"Location": "/elsewhere"} if status == 302 else {}

        reading = await read(prometheus(server.address))

        assert reading.value is None
        assert says in reading.why_unknown
        assert len(server.asked) == 1, "no redirect is followed: it would carry the secret elsewhere"


async def test_who_does_not_answer_or_is_not_there_is_unknown_in_time() -> None:
    async with serving() as server:
        server.hangs = True
        hanging = await read(prometheus(server.address, timeout_s=0.2))
        gone = server.address
    refused = await read(prometheus(gone))

    assert (hanging.value, hanging.why_unknown) == (None, "no answer within 0.2 s")
    assert refused.value is None
    assert refused.why_unknown.startswith(f"cannot connect to {gone}")


# secrets


async def test_a_token_comes_from_a_variable_or_a_file_and_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROM_TOKEN", TOKEN)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    accesses = (
        Access(token=Secret(env="PROM_TOKEN")),
        Access(token=Secret(file=str(tmp_path / "token"))),
        Access(user="me", password=Secret(env="PROM_TOKEN")),
    )
    async with serving() as server:
        server.body = vector("1")
        for access in accesses:
            assert (await read(prometheus(server.address, access=access))).value == 1.0
        server.status, server.body = 401, TOKEN.encode()
        refused = await read(prometheus(server.address, access=accesses[0]))

        sent = [headers["Authorization"] for _, _, headers in server.asked]
    assert sent[:2] == [f"Bearer {TOKEN}"] * 2
    assert sent[2] == "Basic bWU6czNjcjN0LXRva2Vu"
    assert "401" in refused.why_unknown
    assert TOKEN not in repr(refused)


@pytest.mark.parametrize(
    ("where", "content", "says"),
    [
        (Secret(env="NOBODY_SET_THIS"), None, "the variable NOBODY_SET_THIS holds no secret"),
        (Secret(file="token"), None, "cannot be read: No such file"),
        (Secret(file="token"), b"  \n", "holds no secret"),
        (Secret(file="token"), b"a\nX-Evil: b", "more than one line"),
        (Secret(file="token"), b"\xff\xfe", "not text"),
    ],
)
async def test_a_secret_that_is_not_there_is_named_and_nothing_is_asked(
    tmp_path: Path, where: Secret, content: bytes | None, says: str
) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    if where.file is not None:
        where = Secret(file=str(tmp_path / where.file))
    async with serving() as server:
        reading = await read(prometheus(server.address, access=Access(token=where)))

        assert reading.value is None
        assert says in reading.why_unknown
        assert server.asked == []


async def test_a_query_of_an_address_is_not_shown_because_it_may_hold_a_key() -> None:
    async with serving() as server:
        server.status = 500
        url = f"{server.address}/queue?api_key={TOKEN}"
        reading = await read(Signal(name="s", target=1.0, http=HttpSource(url=url)))

        assert reading.why_unknown == f"HTTP 500 from {server.address}/queue"
        assert server.asked[0][1] == {"api_key": TOKEN}


# JSON documents


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$.queue.length", 12.0),
        ("/queue/length", 12.0),
        ("$.queues[1].n", 4.0),
        ("/queues/1/n", 4.0),
        ("$['a.b']", 3.5),
        ("/x~1y", 9.0),
    ],
)
async def test_a_number_in_a_document(path: str, value: float) -> None:
    document = {"queue": {"length": 12}, "queues": [{"n": 1}, {"n": "4"}], "a.b": 3.5, "x/y": 9, "on": True}
    async with serving() as server:
        server.body = json.dumps(document).encode()

        assert await read(Signal(name="s", target=1.0, http=HttpSource(url=server.address, path=path))) == known(value)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("$.queue", "is no number"),
        ("$.on", "is no number"),
        ("$.off", "there is no 'off'"),
        ("$.list[7]", "there is no 7"),
        ("/list/-1", "there is no '-1'"),
        ("$.word", "is no number"),
    ],
)
async def test_what_is_no_number_in_a_document(path: str, says: str) -> None:
    async with serving() as server:
        server.body = json.dumps({"queue": {}, "on": True, "list": [1], "word": "many"}).encode()

        reading = await read(Signal(name="s", target=1.0, http=HttpSource(url=server.address, path=path)))

        assert reading.value is None
        assert says in reading.why_unknown


# commands


def python(code: str, *, timeout_s: float = 10.0) -> Signal:
    return Signal(name="s", target=1.0, timeout_s=timeout_s, command=(sys.executable, "-c", code))


async def test_a_command_prints_a_number() -> None:
    assert await read(python("print(' 42.5 ')")) == known(42.5)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("print('many')", "is no number"),
        ("pass", "is no number"),
        ("print('nan')", "is nan"),
        ("print(-1)", "no amount"),
        ("import sys; print(3); sys.exit('the shop is closed')", "ended with 1: the shop is closed"),
        ("import sys; sys.exit('no route to http://me:pw@shop/q')", "no route to http://…@shop/q"),
        ("print('1' * 1000000)", "prints more than 4096 bytes"),
        ("import sys; sys.stderr.write('x' * 1000000); sys.exit(3)", "ended with 3"),
        ("import os; os.kill(os.getpid(), 9)", "ended with -9"),
    ],
)
async def test_a_command_that_does_not_is_unknown(code: str, says: str) -> None:
    reading = await read(python(code))

    assert reading.value is None
    assert says in reading.why_unknown


async def test_a_command_that_is_not_there_is_unknown() -> None:
    reading = await read(Signal(name="s", target=1.0, command=("/not/there",)))

    assert reading.why_unknown == "/not/there cannot be run: No such file or directory"


async def test_a_command_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = (
        "import os, subprocess, sys, time;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}'); time.sleep(600)"
    )

    reading = await read(python(code, timeout_s=3.0))

    assert reading.why_unknown == "no answer within 3 s"
    for pid in pids.read_text().split():
        assert await ended(int(pid)), f"{pid} still runs"


async def ended(pid: int) -> bool:
    """Whether the process ends within a moment; a zombie of somebody else's child has ended."""
    until = time.monotonic() + 5.0
    stat = Path(f"/proc/{pid}/stat")
    while time.monotonic() < until:
        try:
            if stat.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        await asyncio.sleep(0.02)
    return False


# clouds' queues


@pytest.fixture(scope="module")
def amazon() -> Iterator[str]:
    """moto's SQS on this machine."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def queue_of(amazon: str, name: str, *, messages: int, taken: int) -> str:
    """The address of a new queue with so many messages, some of them being worked on."""
    import boto3

    client = boto3.client(
        "sqs",
        endpoint_url=amazon,
        region_name="eu-central-1",
        aws_access_key_id="none",
        aws_secret_access_key="none",
    )
    url: str = client.create_queue(QueueName=name)["QueueUrl"]
    for number in range(messages):
        client.send_message(QueueUrl=url, MessageBody=str(number))
    assert len(client.receive_message(QueueUrl=url, MaxNumberOfMessages=taken)["Messages"]) == taken
    client.close()
    return url


@pytest.mark.parametrize(("in_flight", "value"), [(True, 5.0), (False, 3.0)])
async def test_sqs(amazon: str, in_flight: bool, value: float) -> None:
    url = await asyncio.to_thread(queue_of, amazon, f"orders-{in_flight}", messages=5, taken=2)
    source = SqsSource(queue_url=url, region="eu-central-1", endpoint=amazon, in_flight=in_flight)

    reading = await read(Signal(name="s", target=1.0, timeout_s=15.0, sqs=source))

    assert reading == known(value)


async def test_sqs_says_what_is_wrong(amazon: str) -> None:
    def sqs(endpoint: str, *, timeout_s: float = 10.0) -> Signal:
        source = SqsSource(queue_url=f"{endpoint}/1/nobodys", region="eu-central-1", endpoint=endpoint)
        return Signal(name="s", target=1.0, timeout_s=timeout_s, sqs=source)

    missing = await read(sqs(amazon))
    async with serving() as server:
        server.hangs = True
        hanging = await read(sqs(server.address, timeout_s=0.3))

    assert missing.value is None
    assert "NonExistentQueue" in missing.why_unknown or "QueueDoesNotExist" in missing.why_unknown
    assert hanging.value is None
    assert "no answer within 0.3 s" in hanging.why_unknown or "SQS does not answer" in hanging.why_unknown


async def test_azures_queue_tells_in_a_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZ_TOKEN", TOKEN)
    async with serving() as server:
        server.headers = {"x-ms-approximate-messages-count": "17"}
        source = AzureQueueSource(
            account="shop", queue="orders", endpoint=f"{server.address}/shop", token=Secret(env="AZ_TOKEN")
        )
        reading = await read(Signal(name="s", target=1.0, azure_queue=source))
        server.headers = {}
        nothing = await read(Signal(name="s", target=1.0, azure_queue=source))

        path, query, headers = server.asked[0]
    assert reading == known(17.0)
    assert (path, query) == ("/shop/orders", {"comp": "metadata"})
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert headers["x-ms-version"] >= "2017-11-09", "tokens need at least this one"
    assert "x-ms-approximate-messages-count" in nothing.why_unknown


def points(*values: tuple[str, object]) -> bytes:
    made = [{"interval": {"endTime": end}, "value": {"int64Value": value}} for end, value in values]
    return json.dumps({"timeSeries": [{"points": made}]} if made else {}).encode()


async def test_pubsubs_backlog_is_as_old_as_cloud_monitoring_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GCP_TOKEN", TOKEN)
    async with serving() as server:
        source = PubSubSource(
            project="shop", subscription="orders", endpoint=server.address, token=Secret(env="GCP_TOKEN")
        )
        signal = Signal(name="s", target=1.0, pubsub=source)
        server.body = points(("2023-11-14T22:10:00Z", "23"), ("2023-11-14T22:09:00Z", "99"))
        reading = await read(signal)
        server.body = points()
        nothing = await read(signal)

        path, query, _ = server.asked[0]
    assert reading == known(23.0, at=NOW - 200.0)
    assert path == "/v3/projects/shop/timeSeries"
    assert 'subscription_id="orders"' in query["filter"]
    assert (query["interval.startTime"], query["interval.endTime"]) == ("2023-11-14T22:03:20Z", "2023-11-14T22:13:20Z")
    assert "no point of orders" in nothing.why_unknown


# side by side


class TurningClock:
    """A `ports.Clock` that lets the test say when an interval is over."""

    def __init__(self) -> None:
        self.time = NOW
        self.turns = asyncio.Condition()

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        until = self.time + seconds
        async with self.turns:
            await self.turns.wait_for(lambda: self.time >= until)

    async def turn(self, seconds: float) -> None:
        async with self.turns:
            self.time += seconds
            self.turns.notify_all()


async def test_one_source_that_hangs_delays_no_other_and_no_tick() -> None:
    async with serving() as good, serving() as bad:
        good.body, bad.hangs = vector("5"), True
        hanging = Signal(name="bad", target=1.0, timeout_s=600.0, http=HttpSource(url=bad.address))
        quick = Signal(
            name="good",
            target=1.0,
            interval_s=15.0,
            prometheus=PrometheusSource(url=good.address, query="q"),
        )
        service = Service(
            name=ServiceName("chat"),
            engine="rehearsal",
            model="m",
            gpu=(Gpu(name="ANY"),),
            concurrency=8,
            signals=(hanging, quick),
        )
        intents = (Intent(service=service, revision="r"),)
        clock = TurningClock()
        sources = OutsideSources(clock)
        watch = OutsideWatch(clock, sources)

        async def until(value: float) -> OutsideReading:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    found = {one.name: one for one in watch.readings(intents).get(service.name, ())}
                    assert "bad" not in found
                    if "good" in found and found["good"].value == value:
                        return found["good"]
                    await asyncio.sleep(0.01)

        assert watch.readings(intents) == {}, "it never waits"
        first = await until(5.0)
        good.body = vector("6")
        await asyncio.sleep(0.05)
        assert (await until(5.0)).at == first.at, "its interval is not over"
        await clock.turn(15.0)
        second = await until(6.0)
        none_wanted = watch.readings((Intent(service=service, revision="r", up=False),))
        await watch.close()
        await sources.close()
        await asyncio.sleep(0)

    assert (first.at, second.at) == (NOW, NOW + 15.0)
    assert none_wanted == {}
