"""Clients that people use, against the gateway over rehearsal engines: the OpenAI library, and curl."""

import asyncio
import contextlib
import itertools
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from gateway_world import AsProcess, engine, routed, routes, saying, service, until_stats
from raw_sockets import Running, answers, linked, running_process, say

import fleetctl
from fleetctl.rehearsal.replies import SENTENCE

if TYPE_CHECKING:
    from openai import AsyncOpenAI

ROOT = Path(fleetctl.__file__).parents[1]
MODEL = "rehearsal-8b"
TOKENS = 20
TOKEN_S = 0.04
STREAMS = 200
CURL = shutil.which("curl")
needs_curl = pytest.mark.skipif(CURL is None, reason="needs curl")
pytestmark = pytest.mark.timeout(60)


@contextlib.contextmanager
def rehearsal(*flags: str) -> Iterator[str]:
    """The address of a rehearsal engine, a process of its own."""
    argv = [sys.executable, "-m", "fleetctl.rehearsal", "--model", MODEL, "--port", "0", *flags]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            yield running.stdout.readline().split()[-1].removeprefix("http://")
        finally:
            running.kill()


@pytest.fixture(scope="module")
def process() -> Iterator[Running]:
    yield from running_process()


@pytest.fixture(scope="module")
def quick() -> Iterator[str]:
    with rehearsal("--speed", "50", "--concurrency", str(STREAMS)) as address:
        yield address


@pytest.fixture(scope="module")
def steady() -> Iterator[str]:
    """One event each TOKEN_S."""
    with rehearsal("--token-s", str(TOKEN_S), "--growth", "0") as address:
        yield address


@pytest.fixture
async def gateway(process: Running) -> AsyncIterator[AsProcess]:
    async with linked(process) as one:
        yield one


# The OpenAI library


@contextlib.asynccontextmanager
async def openai_client(gateway: AsProcess, *, retries: int = 0) -> "AsyncIterator[AsyncOpenAI]":
    openai = pytest.importorskip("openai")
    url = f"http://{gateway.address}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key="sk-none", max_retries=retries, timeout=20.0) as client:
        yield client


def asking(**more: object) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": "count"}], "max_tokens": TOKENS, **more}


def said(tokens: int) -> str:
    return (SENTENCE * tokens)[: 4 * tokens]


async def test_an_answer_a_stream_and_the_list_of_models(gateway: AsProcess, quick: str) -> None:
    async with openai_client(gateway) as client:
        name = service()
        await gateway.route(routes(routed(name, quick)))

        whole = await client.chat.completions.create(**asking())
        stream = await client.chat.completions.create(**asking(stream=True, stream_options={"include_usage": True}))
        chunks = [chunk async for chunk in stream]
        text = await client.completions.create(model=MODEL, prompt="count", max_tokens=TOKENS)
        models = [model.id async for model in client.models.list()]
        one = await client.models.retrieve(f"org/{name}")

    assert whole.choices[0].message.content == said(TOKENS)
    assert whole.usage is not None
    assert whole.usage.completion_tokens == TOKENS
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == said(TOKENS)
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == TOKENS
    assert text.choices[0].text == said(TOKENS)
    assert models == [name, f"org/{name}"]
    assert one.id == f"org/{name}"


async def test_the_plain_client_in_a_thread(gateway: AsProcess, quick: str) -> None:
    openai = pytest.importorskip("openai")
    await gateway.route(routes(routed(service(), quick)))

    def ask() -> list[str]:
        with openai.OpenAI(base_url=f"http://{gateway.address}/v1", api_key="sk-none", timeout=20.0) as client:
            stream = client.chat.completions.create(**asking(stream=True))
            return [chunk.choices[0].delta.content or "" for chunk in stream]

    assert "".join(await asyncio.to_thread(ask)) == said(TOKENS)


async def test_two_hundred_streams_at_once(gateway: AsProcess, quick: str) -> None:
    async with openai_client(gateway) as client:
        name = service()
        await gateway.route(routes(routed(name, quick, slots=STREAMS)))

        async def one() -> str:
            stream = await client.chat.completions.create(**asking(stream=True))
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        texts = await asyncio.gather(*(one() for _ in range(STREAMS)))

        stats = await until_stats(gateway, str(name), lambda stats: stats.completed == STREAMS)
    assert set(texts) == {said(TOKENS)}
    assert (stats.failed, dict(stats.in_flight)) == (0, {"r0": 0})


async def test_an_unknown_model_is_not_found_and_the_known_are_named(gateway: AsProcess, quick: str) -> None:
    openai = pytest.importorskip("openai")
    async with openai_client(gateway) as client:
        first, second = service(), service()
        await gateway.route(routes(routed(first, quick), routed(second, quick)))

        with pytest.raises(openai.NotFoundError) as caught:
            await client.chat.completions.create(**asking())

    assert caught.value.code == "model_not_found"
    assert first in caught.value.message
    assert f"org/{second}" in caught.value.message


async def test_what_the_engine_refuses_reaches_the_client_as_the_engine_said_it(gateway: AsProcess, quick: str) -> None:
    openai = pytest.importorskip("openai")
    async with openai_client(gateway) as client:
        await gateway.route(routes(routed(service(), quick)))

        with pytest.raises(openai.BadRequestError, match="one choice"):
            await client.chat.completions.create(**asking(n=2))
        with pytest.raises(openai.NotFoundError):  # a rehearsal engine has none
            await client.embeddings.create(model=MODEL, input="count")


async def test_a_full_queue_is_a_rate_limit_and_a_retry_waits_as_long_as_it_was_told(
    gateway: AsProcess, quick: str
) -> None:
    openai = pytest.importorskip("openai")
    name = service()
    async with openai_client(gateway) as hasty, openai_client(gateway, retries=4) as patient:
        await gateway.route(routes(routed(name, limit=1)))
        first = asyncio.ensure_future(hasty.chat.completions.create(**asking()))
        await until_stats(gateway, str(name), lambda stats: stats.queued == 1)
        with pytest.raises(openai.RateLimitError) as caught:
            await hasty.chat.completions.create(**asking())
        begun = time.monotonic()
        retrying = asyncio.ensure_future(patient.chat.completions.create(**asking()))
        await asyncio.sleep(0.3)
        await gateway.route(routes(routed(name, quick)))

        answered = await retrying
        waited_s = time.monotonic() - begun

        assert (await first).choices[0].message.content == said(TOKENS)
    told_s = float(caught.value.response.headers["retry-after"])
    assert caught.value.code == "queue_full"
    assert answered.choices[0].message.content == said(TOKENS)
    assert 1.0 <= told_s <= waited_s < told_s + 3


async def test_a_stream_whose_replica_is_lost_is_an_error_and_not_a_short_answer(gateway: AsProcess) -> None:
    openai = pytest.importorskip("openai")
    event = b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[]}\n\n'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with openai_client(gateway) as client, engine(saying(head + b"%x\r\n%b\r\n" % (len(event), event))) as lost:
        await gateway.route(routes(routed(service(), lost)))

        stream = await client.chat.completions.create(**asking(stream=True))
        got = []
        with pytest.raises(openai.APIError, match="lost"):
            async for chunk in stream:
                got.append(chunk.id)  # noqa: PERF401  what came before the error counts

    assert got == ["1"]


async def test_a_client_that_stops_listening_frees_the_engine(gateway: AsProcess, steady: str) -> None:
    async with openai_client(gateway) as client:
        name = service()
        await gateway.route(routes(routed(name, steady)))
        stream = await client.chat.completions.create(**asking(stream=True, max_tokens=5000))
        await anext(aiter(stream))

        await stream.close()

        stats = await until_stats(gateway, str(name), lambda stats: dict(stats.in_flight) == {"r0": 0})
    assert (stats.completed, stats.failed) == (0, 0)


# curl


@dataclass(frozen=True, slots=True)
class Piece:
    at: float
    raw: bytes


async def curl(*words: str) -> Sequence[Piece]:
    """What it writes, as it writes it."""
    assert CURL is not None
    running = await asyncio.create_subprocess_exec(CURL, "-sS", "--max-time", "20", *words, stdout=subprocess.PIPE)
    assert running.stdout is not None
    pieces = []
    while raw := await running.stdout.read(2**16):
        pieces.append(Piece(time.monotonic(), raw))
    assert await running.wait() == 0
    return pieces


def together(pieces: Sequence[Piece]) -> bytes:
    return b"".join(piece.raw for piece in pieces)


def alike(raw: bytes) -> bytes:
    """Without what differs between any two answers of one engine."""
    raw = re.sub(rb"rehearsal-\d+", b"rehearsal-N", raw)
    raw = re.sub(rb'"created":\d+', b'"created":T', raw)
    return re.sub(rb"\r\n(?:Date|x-request-id): [^\r]*", b"", raw)


CHAT = "v1/chat/completions"


@needs_curl
async def test_curl_gets_each_event_as_it_is_sent_and_the_bytes_that_the_engine_sent(
    gateway: AsProcess, steady: str
) -> None:
    await gateway.route(routes(routed(service(), steady)))
    body = json.dumps(asking(stream=True))

    direct = await curl("-N", "-i", "--raw", f"http://{steady}/{CHAT}", "-d", body)
    through = await curl("-N", "-i", "--raw", f"http://{gateway.address}/{CHAT}", "-d", body)

    assert alike(together(through)) == alike(together(direct))
    assert together(through).count(b"data: ") == TOKENS + 2  # the role first and [DONE] last
    events = [piece for piece in through if b"data: " in piece.raw]
    gaps = [after.at - before.at for before, after in itertools.pairwise(events)]
    assert len(events) >= TOKENS * 0.8  # a busy machine may join a few
    assert TOKEN_S / 2 < statistics.median(gaps) < TOKEN_S * 2


@needs_curl
@pytest.mark.parametrize(
    "words", [("--http1.0",), ("-H", "Expect: 100-continue"), ("-H", "Transfer-Encoding: chunked")]
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_curl_in_its_other_ways_gets_the_same(
    gateway: AsProcess, quick: str, words: tuple[str, ...], stream: bool
) -> None:
    await gateway.route(routes(routed(service(), quick)))
    body = json.dumps(asking(stream=stream))

    direct = together(await curl(f"http://{quick}/{CHAT}", "-d", body))
    through = together(await curl(*words, f"http://{gateway.address}/{CHAT}", "-d", body))

    assert alike(through) == alike(direct)
    assert through.count(b"data: ") == (TOKENS + 2 if stream else 0)


@needs_curl
async def test_curl_sends_a_large_file(gateway: AsProcess, quick: str) -> None:
    await gateway.route(routes(routed(service(), quick)))
    large = asking(messages=[{"role": "user", "content": "word " * 2_000_000}], rehearsal={"input_tokens": 3})
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(large, file)
        file.flush()

        raw = together(await curl(f"http://{gateway.address}/{CHAT}", "-d", f"@{file.name}"))

    answered = json.loads(raw)
    assert answered["choices"][0]["message"]["content"] == said(TOKENS)
    assert answered["usage"]["prompt_tokens"] == 3


# Bodies that are no JSON


@pytest.mark.parametrize(
    "body", [b"{", b"", b"\xff\xfe{}", b'{"model": 7}', b'{"model": "\xff"}', b"[]", b"[" * 100_000, b'{"model": null}']
)
async def test_a_body_that_names_no_model_is_refused_in_words(gateway: AsProcess, quick: str, body: bytes) -> None:
    first, second = service(), service()
    await gateway.route(routes(routed(first, quick), routed(second, quick)))
    head = f"POST /{CHAT} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"

    (refused,) = answers(await say(gateway, head.encode() + body))

    error = json.loads(refused.body)["error"]
    assert error["type"] == "invalid_request_error"
    assert (refused.status == 400 and "JSON" in error["message"]) or (
        refused.status == 404 and str(first) in error["message"]
    )


async def test_with_one_service_alone_the_engine_judges_the_body(gateway: AsProcess, quick: str) -> None:
    await gateway.route(routes(routed(service(), quick)))
    head = f"POST /{CHAT} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\n"

    (refused,) = answers(await say(gateway, head.encode() + b'{"\xff"'))

    assert refused.status == 400
    assert json.loads(refused.body)["error"]["type"] == "BadRequestError"
