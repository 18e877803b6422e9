"""The replay against real HTTP servers that answer well, late, wrongly, in part or not at all."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from fleetctl.errors import UsageError
from fleetctl.sim.asking import (
    CUT_OFF,
    FAULT_IN_STREAM,
    NOT_CONNECTED,
    NOT_DONE,
    NOT_SENT,
    NOT_UNDERSTOOD,
    TOO_SHORT,
    UNANSWERED,
)
from fleetctl.sim.replay import Progress, ReplayResult, SteadyClock, replay
from fleetctl.sim.traces import Trace

ROOT = Path(__file__).parents[2]
DONE = b"data: [DONE]\n\n"
FIRST_S, REST_S = 0.15, 0.1


def trace_of(*arrivals_s: float, output_tokens: int = 3) -> Trace:
    return Trace(
        arrivals_s=array("d", arrivals_s),
        input_tokens=array("I", [500] * len(arrivals_s)),
        output_tokens=array("I", [output_tokens] * len(arrivals_s)),
        duration_s=max(arrivals_s, default=0.0),
    )


def piece(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return b"data: " + json.dumps({"object": "chat.completion.chunk", "choices": [choice]}).encode() + b"\n\n"


def counted(tokens: int) -> bytes:
    return b'data: {"choices": [], "usage": {"prompt_tokens": 500, "completion_tokens": %d}}\n\n' % tokens


Answering = Callable[[web.Request, web.StreamResponse], Awaitable[None]]


def streamed(*parts: bytes) -> Answering:
    async def answer(request: web.Request, response: web.StreamResponse) -> None:
        for part in parts:
            await response.write(part)

    return answer


async def late(request: web.Request, response: web.StreamResponse) -> None:
    await asyncio.sleep(FIRST_S)
    await response.write(b'data: {"choices": [{"delta": {"role": "assistant", "content": ""}}]}\n\n' + piece("a"))
    await asyncio.sleep(REST_S)
    await response.write(piece("b") + piece("c") + DONE)


async def cut(request: web.Request, response: web.StreamResponse) -> None:
    await response.write(piece("a"))
    assert request.transport is not None
    request.transport.abort()


async def hang(request: web.Request, response: web.StreamResponse) -> None:
    await response.write(piece("a"))
    await request.app[STOPPED].wait()


ANSWERINGS: dict[str, Answering] = {
    "good": streamed(piece("a"), piece("b"), piece("c"), DONE),
    "torn": streamed(piece("a")[:9], piece("a")[9:] + piece("b")[:-1], b"\n" + piece("c") + DONE[:-3], DONE[-3:]),
    "remarks": streamed(b": hello\r\n\r\nevent: x\r\n", piece("a"), piece("b"), piece("c"), DONE),
    "counted": streamed(piece("abc"), counted(3), DONE),
    "late": late,
    "cut": cut,
    "hang": hang,
    "undone": streamed(piece("a"), piece("b"), piece("c")),
    "short": streamed(piece("a"), piece("b"), DONE),
    "counted-short": streamed(piece("a"), piece("b"), piece("c"), counted(2), DONE),
    "silent": streamed(counted(3), DONE),
    "fault": streamed(piece("a"), b'data: {"error": {"message": "engine died"}}\n\n', DONE),
    "garbled": streamed(b"data: {nothing\n\n", DONE),
    "endless": streamed(b"data: ", b"x" * (1 << 20), b"y"),
}
STOPPED = web.AppKey("STOPPED", asyncio.Event)
SEEN = web.AppKey("SEEN", list[dict[str, Any]])
GATE = web.AppKey("GATE", asyncio.Event)


async def complete(request: web.Request) -> web.StreamResponse:
    name = request.match_info["name"]
    body = await request.json()
    seen = request.app[SEEN]
    seen.append(body)
    match name:
        case "busy":
            return web.json_response({"error": {"message": "queue full"}}, status=503)
        case "moved":
            raise web.HTTPFound("/good/v1/chat/completions")
        case "whole":
            said = {"message": {"content": "abc"}, "finish_reason": "length"}
            return web.json_response({"choices": [said], "usage": {"completion_tokens": body["max_tokens"]}})
        case "three-at-once":
            if len(seen) == 3:
                request.app[GATE].set()
            await request.app[GATE].wait()
            name = "good"
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):  # the client may have gone
        await ANSWERINGS[name](request, response)
    return response


@asynccontextmanager
async def endpoint() -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    app = web.Application()
    app[STOPPED], app[SEEN], app[GATE] = asyncio.Event(), [], asyncio.Event()
    app.router.add_post("/{name}/v1/chat/completions", complete)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", app[SEEN]
    finally:
        app[STOPPED].set()
        await runner.cleanup()


async def replayed(name: str, trace: Trace, **options: Any) -> ReplayResult:
    async with endpoint() as (url, _):
        return await replay(trace, f"{url}/{name}", "m", clock=SteadyClock(), **options)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("good", "one event per write"),
        ("torn", "events torn across writes"),
        ("remarks", "comments, event names and Windows line ends are passed over"),
        ("counted", "several tokens in one piece, counted by the endpoint"),
    ],
)
async def test_a_whole_stream_is_an_answer(name: str, why: str) -> None:
    result = await replayed(name, trace_of(0.0, 0.01))

    assert (result.requests, result.failed, result.failures) == (2, 0, {}), why
    assert [answer.tokens for answer in result.answers] == [3, 3]
    assert len(result.ttfts_s) == len(result.latencies_s) == 2


@pytest.mark.parametrize(
    ("name", "reason", "why"),
    [
        ("busy", "status 503", "not 200"),
        ("moved", "status 302", "a redirect is not followed: it could lead to another machine"),
        ("cut", CUT_OFF, "the connection ends in mid-stream"),
        ("undone", NOT_DONE, "the body ends well, the stream does not"),
        ("short", TOO_SHORT, "two of three tokens"),
        ("counted-short", TOO_SHORT, "the endpoint itself counts two of three tokens"),
        ("silent", TOO_SHORT, "tokens counted, but no text came"),
        ("fault", FAULT_IN_STREAM, "an error after the status was sent"),
        ("garbled", NOT_UNDERSTOOD, "no JSON"),
        ("endless", NOT_UNDERSTOOD, "a line without end is not held in memory"),
    ],
)
async def test_what_is_not_fully_answered_has_failed(name: str, reason: str, why: str) -> None:
    result = await replayed(name, trace_of(0.0, 0.01), grace_s=5.0)

    assert result.failures == {reason: 2}, why
    assert result.latencies_s == []


async def test_what_is_sent_says_the_lengths_of_the_trace() -> None:
    async with endpoint() as (url, seen):
        await replay(trace_of(0.0, output_tokens=0), f"{url}/good/v1/", "chat-model", clock=SteadyClock())

    (body,) = seen
    assert body["model"] == "chat-model"
    assert body["max_tokens"] == 1, "an answer of no tokens cannot be asked for"
    assert body["rehearsal"] == {"input_tokens": 500}
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})


async def test_time_to_first_text_is_not_that_to_the_role_nor_to_the_end() -> None:
    result = await replayed("late", trace_of(0.0))

    (answer,) = result.answers
    assert answer.ttft_s is not None
    assert FIRST_S - 0.01 <= answer.ttft_s <= answer.latency_s - REST_S + 0.01
    assert result.ttft_percentile_s(0.99) == answer.ttft_s
    assert result.latency_percentile_s(0.5) == answer.latency_s


async def test_requests_leave_at_their_times_though_none_is_answered() -> None:
    result = await replayed("three-at-once", trace_of(0.0, 0.05, 0.1), grace_s=10.0)

    assert result.failed == 0, "the first answer came only after the third request"
    assert result.answers[0].latency_s >= 0.09


async def test_time_scale_multiplies_the_arrivals() -> None:
    result = await replayed("good", trace_of(0.0, 4.0), time_scale=0.05)

    assert 0.2 <= result.duration_s < 2.0
    assert [answer.arrival_s for answer in result.answers] == [0.0, 4.0], "in the trace's own time"


async def test_whole_answers_without_streaming() -> None:
    result = await replayed("whole", trace_of(0.0), stream=False)

    assert result.failed == 0
    assert result.answers[0].tokens == 3


async def test_inexact_lets_answers_be_shorter_but_not_empty() -> None:
    short = await replayed("short", trace_of(0.0), exact=False)
    silent = await replayed("silent", trace_of(0.0), exact=False)

    assert (short.failed, silent.failures) == (0, {TOO_SHORT: 1})


async def test_what_hangs_is_given_up_after_the_grace_and_what_is_too_much_is_not_sent() -> None:
    result = await replayed("hang", trace_of(0.0, 0.01, 0.02), limit_in_flight=2, grace_s=0.2)

    assert result.failures == {UNANSWERED: 2, NOT_SENT: 1}
    assert [answer.failure for answer in result.answers] == [UNANSWERED, UNANSWERED, NOT_SENT]
    assert result.answers[0].ttft_s is not None, "its first text had come"
    assert result.ttfts_s == [], "but it was not answered"


async def test_an_endpoint_that_is_gone() -> None:
    async with endpoint() as (url, _):
        pass

    result = await replay(trace_of(0.0), f"{url}/good", "m", clock=SteadyClock())

    assert result.failures == {NOT_CONNECTED: 1}


async def test_progress_comes_by_the_second_and_ends_with_everything_done() -> None:
    seen: list[Progress] = []

    await replayed("good", trace_of(0.0, 0.3, 1.6), on_event=seen.append)

    assert len(seen) == 2
    assert (seen[0].sent, seen[0].done, seen[0].in_flight) == (2, 2, 0)
    assert 1.0 <= seen[0].t_s < 1.5
    assert (seen[1].sent, seen[1].done, seen[1].failed) == (3, 3, 0)
    assert seen[1].ttft_p50_s is not None


async def test_an_empty_trace_is_no_work() -> None:
    result = await replayed("good", trace_of())

    assert (result.requests, result.failures, result.lag_max_s) == (0, {}, 0.0)
    assert str(result.ttft_percentile_s(0.5)) == "nan"


@pytest.mark.parametrize("url", ["127.0.0.1:80", "ftp://127.0.0.1", "http://"])
async def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="no address of an endpoint"):
        await replay(trace_of(0.0), url, "m", clock=SteadyClock())


# As a process of its own.


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "fleetctl.sim.replay", "--model", "m", *arguments]


async def run(*arguments: str) -> tuple[int | None, list[dict[str, Any]], str]:
    process = await asyncio.create_subprocess_exec(
        *command(*arguments), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, [json.loads(line) for line in out.splitlines()], err.decode()


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "recorded.csv"
    path.write_text("arrival_s,input_tokens,output_tokens\n0,5000,3\n0.3,5000,3\n1.2,5000,3\n")
    return path


async def test_the_process_says_how_it_stands_and_ends_with_a_summary(recorded: Path) -> None:
    async with endpoint() as (url, seen):
        status, lines, err = await run(
            "--url", f"{url}/good", "--trace", str(recorded), "--output-scale", "1", "--answers", "-o", "json"
        )

    assert (status, err) == (0, "")
    assert [line["event"] for line in lines] == ["begin", *["progress"] * 2, *["answer"] * 3, "summary"]
    assert lines[0]["requests"] == 3
    assert lines[-1]["requests"] == 3
    assert lines[-1]["failed"] == 0
    assert lines[-1]["failures"] == {}
    assert 0 < lines[-1]["ttft_p50_s"] <= lines[-1]["ttft_p99_s"] <= lines[-1]["latency_p99_s"]
    assert seen[0]["rehearsal"] == {"input_tokens": 500}, "prompts ×0.1 unless told otherwise"


async def test_the_process_fails_when_requests_fail_and_null_stands_for_no_figure(recorded: Path) -> None:
    async with endpoint() as (url, _):
        status, lines, _ = await run("--url", f"{url}/busy", "--trace", str(recorded), "-o", "json")

    assert status == 1
    assert lines[-1]["failures"] == {"status 503": 3}
    assert lines[-1]["ttft_p50_s"] is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--url", "http://203.0.113.7:80"], "not on this machine"),
        (["--url", "http://example.org"], "not on this machine"),
        (["--url", "http://127.0.0.1:9", "--duration-s", "5"], "a demo cannot last 5 s"),
        (["--url", "http://127.0.0.1:9", "--trace", "nowhere.csv"], "nowhere.csv cannot be read"),
        (["--url", "ftp://localhost"], "no address of an endpoint"),
    ],
)
async def test_the_process_refuses_what_makes_no_sense(arguments: list[str], said: str) -> None:
    status, lines, err = await run(*arguments, "-o", "json")

    assert status == 2
    assert lines[-1]["event"] == "error"
    assert said in lines[-1]["message"]
    assert said in err
    assert "Traceback" not in err


async def test_the_process_ends_at_once_when_told_to() -> None:
    async with endpoint() as (url, _):
        process = await asyncio.create_subprocess_exec(
            *command("--url", f"{url}/hang", "-o", "json"), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        assert json.loads(await process.stdout.readline())["event"] == "begin"

        process.send_signal(signal.SIGTERM)
        _, err = await asyncio.wait_for(process.communicate(), 10)

    assert process.returncode == 128 + signal.SIGTERM
    assert err == b""


async def test_the_process_stops_making_load_when_nobody_reads() -> None:
    readable, writable = os.pipe()
    async with endpoint() as (url, _):
        process = await asyncio.create_subprocess_exec(
            *command("--url", f"{url}/hang", "-o", "json"), cwd=ROOT, stdout=writable, stderr=subprocess.PIPE
        )
        os.close(writable)
        os.read(readable, 1)

        os.close(readable)
        _, err = await asyncio.wait_for(process.communicate(), 10)

    assert process.returncode == 128 + signal.SIGTERM
    assert err == b""
