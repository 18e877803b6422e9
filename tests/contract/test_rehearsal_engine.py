"""The rehearsal engine as the process it is, met over HTTP."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import aiohttp
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

import fleetctl
from fleetctl.agent.failures import port_taken

ROOT = Path(fleetctl.__file__).parents[1]
"""Where `python -m fleetctl.rehearsal` finds the package, installed or not."""

MODEL = "hf://acme/tiny-8b@1f2e3d"

SENTENCE = "No model was run; a rehearsal engine wrote these words. "

WAIT_S = 60.0
"""Far above what anything here takes, so that only an engine that hangs meets it, on the slowest machine too."""

POLL_S = 0.01
POLLS_MAX = int(WAIT_S / POLL_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """An engine that runs for one test."""

    process: subprocess.Popen[str]
    url: str
    stderr: IO[str]

    def said(self) -> str:
        self.stderr.seek(0)
        return self.stderr.read()


def command(*flags: str, port: int = 0) -> list[str]:
    return [sys.executable, "-m", "fleetctl.rehearsal", "--model", MODEL, "--port", str(port), *flags]


@contextlib.contextmanager
def engine(*flags: str) -> Iterator[Running]:
    """Start one, and see to its end."""
    with (
        tempfile.TemporaryFile("w+") as stderr,
        subprocess.Popen(command(*flags), cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, f"the engine did not start: {Running(process=process, url='', stderr=stderr).said()}"
            yield Running(process=process, url=line.split()[-1], stderr=stderr)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def plain() -> Iterator[Running]:
    """A quick one that tests may share, because none changes it."""
    with engine("--speed", "20") as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=WAIT_S)) as session:
        yield session


async def until(happens: Callable[[], Awaitable[bool]], what: str) -> None:
    """Ask again and again, for a bounded time, until the answer is yes."""
    for _ in range(POLLS_MAX):
        if await happens():
            return
        await asyncio.sleep(POLL_S)
    raise AssertionError(f"in {POLLS_MAX} polls it never came true that {what}")


async def ready(http: aiohttp.ClientSession, running: Running) -> None:
    async def healthy() -> bool:
        return await status(http, running, "/health") == 200

    await until(healthy, "the engine becomes ready")


async def status(http: aiohttp.ClientSession, running: Running, path: str, *, method: str = "GET") -> int:
    async with http.request(method, running.url + path) as response:
        await response.read()
        return response.status


async def get(http: aiohttp.ClientSession, running: Running, path: str) -> Any:
    async with http.get(running.url + path) as response:
        assert response.status == 200
        return await response.json()


def text_body(**fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "prompt": "How are you?", **fields}


async def post(http: aiohttp.ClientSession, running: Running, path: str, body: Any) -> tuple[int, Any]:
    async with http.post(running.url + path, json=body) as response:
        return response.status, await response.json()


async def events(response: aiohttp.ClientResponse) -> AsyncIterator[str]:
    """The data of each server-sent event, as it comes."""
    async for line in response.content:
        if line.strip():
            name, _, data = line.decode().rstrip("\n").partition(": ")
            assert name == "data"
            yield data


async def streamed(
    http: aiohttp.ClientSession, running: Running, path: str, body: dict[str, Any]
) -> tuple[list[Any], str]:
    """Every event of a stream, decoded, and the last one as it stands."""
    async with http.post(running.url + path, json={**body, "stream": True}) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        got = [data async for data in events(response)]
    return [msgspec.json.decode(data) for data in got[:-1]], got[-1]


async def samples(http: aiohttp.ClientSession, running: Running) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """What `/metrics` says, read by Prometheus's own parser; labels that all samples share are checked and left out."""
    async with http.get(running.url + "/metrics") as response:
        assert response.status == 200
        assert response.content_type == "text/plain"
        text = await response.text()
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        assert family.type in ("gauge", "counter", "histogram"), family.name
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("engine") == "0"
            assert labels.pop("model_name")
            found[sample.name, frozenset(labels.items())] = sample.value
    return found


def value(found: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str) -> float:
    return found["vllm:" + name, frozenset(labels.items())]


async def load_is(http: aiohttp.ClientSession, running: Running, *, in_batch: int, waiting: int) -> None:
    async def is_so() -> bool:
        found = await samples(http, running)
        return (value(found, "num_requests_running"), value(found, "num_requests_waiting")) == (in_batch, waiting)

    await until(is_so, f"{in_batch} run and {waiting} wait")


# What it says of itself.


def test_help_says_that_no_model_runs() -> None:
    done = subprocess.run([*command(), "--help"], cwd=ROOT, capture_output=True, text=True, check=True)

    assert "It runs no model" in done.stdout


async def test_every_answer_says_that_it_is_a_rehearsal(http: aiohttp.ClientSession, plain: Running) -> None:
    version = await get(http, plain, "/version")
    _, completion = await post(http, plain, "/v1/completions", text_body())
    async with http.get(plain.url + "/no-such-path") as response:
        server = response.headers["Server"]

    assert version == {"version": fleetctl.__version__, "engine": "rehearsal"}
    assert completion["system_fingerprint"] == "rehearsal"
    assert server == f"fleetctl-rehearsal/{fleetctl.__version__}"


async def test_the_models_listed_are_the_names_served(http: aiohttp.ClientSession) -> None:
    with engine("--served-model-name", "chat", "chat-large") as running:
        await ready(http, running)

        models = await get(http, running, "/v1/models")
        first = await post(http, running, "/v1/completions", {"model": "chat-large", "prompt": "x", "max_tokens": 1})
        unnamed = await post(http, running, "/v1/completions", {"prompt": "x", "max_tokens": 1})
        by_model = await post(http, running, "/v1/completions", text_body(max_tokens=1))

    assert [(model["id"], model["root"]) for model in models["data"]] == [("chat", MODEL), ("chat-large", MODEL)]
    assert (first[0], first[1]["model"]) == (200, "chat-large")
    assert (unnamed[0], unnamed[1]["model"]) == (200, "chat")
    assert by_model[0] == 404


# Answers.


async def test_a_completion_has_the_tokens_asked_for(http: aiohttp.ClientSession, plain: Running) -> None:
    code, body = await post(http, plain, "/v1/completions", text_body(prompt="123456789", max_tokens=15))

    assert code == 200
    assert body["object"] == "text_completion"
    assert body["model"] == MODEL
    choice = {"index": 0, "text": SENTENCE + "No m", "logprobs": None, "finish_reason": "length"}
    assert body["choices"] == [choice]
    assert body["usage"] == {"prompt_tokens": 3, "completion_tokens": 15, "total_tokens": 18}


async def test_a_chat_completion_has_a_message(http: aiohttp.ClientSession, plain: Running) -> None:
    parts = [{"type": "text", "text": "1234"}, {"type": "text", "text": "5"}]
    messages = [{"role": "system", "content": "abcd"}, {"role": "user", "content": parts}]

    code, body = await post(http, plain, "/v1/chat/completions", {"messages": messages, "max_completion_tokens": 2})

    assert code == 200
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "No model"}
    assert body["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


@pytest.mark.parametrize(
    ("fields", "prompt_tokens", "output_tokens", "reason"),
    [
        ({}, 3, 16, "16 tokens when nothing is said"),
        ({"prompt": ""}, 1, 16, "an empty prompt still has a first token"),
        ({"prompt": ["12345"]}, 2, 16, "a list of one text is that text"),
        ({"prompt": [17, 4, 2]}, 3, 16, "token numbers are counted as they are"),
        ({"prompt": [[17, 4, 2, 9]]}, 4, 16, "and so is a list of one list of them"),
        ({"rehearsal": {"input_tokens": 3000}}, 3000, 16, "a stated count goes before the text"),
        ({"max_tokens": 5, "max_completion_tokens": 2}, 3, 2, "the newer name goes before the older"),
        (
            {"n": 1, "stream": None, "temperature": 0.1, "seed": 1},
            3,
            16,
            "nulls and fields we have no use for are fine",
        ),
    ],
)
async def test_usage_counts(
    http: aiohttp.ClientSession,
    plain: Running,
    fields: dict[str, Any],
    prompt_tokens: int,
    output_tokens: int,
    reason: str,
) -> None:
    code, body = await post(http, plain, "/v1/completions", text_body(**fields))

    assert code == 200, reason
    assert body["usage"]["prompt_tokens"] == prompt_tokens, reason
    assert body["usage"]["completion_tokens"] == output_tokens, reason


@pytest.mark.parametrize(
    ("path", "body", "code", "says", "reason"),
    [
        ("/v1/completions", b'{"model":', 400, "truncated", "JSON that is cut off"),
        ("/v1/completions", b"\xff\xfe", 400, "cannot be used", "bytes that are no JSON"),
        ("/v1/completions", b"[]", 400, "Expected `object`", "JSON of another shape"),
        ("/v1/completions", b"{}", 400, "`prompt`", "a required field is absent"),
        ("/v1/completions", b'{"prompt":"x","max_tokens":0}', 400, "max_tokens", "no tokens asked for"),
        ("/v1/completions", b'{"prompt":"x","max_tokens":"9"}', 400, "max_tokens", "a number as text"),
        ("/v1/completions", b'{"prompt":["a","b"]}', 400, "takes one", "two prompts at once"),
        ("/v1/completions", b'{"prompt":[]}', 400, "takes one", "no prompt at all"),
        ("/v1/completions", b'{"prompt":"x","n":2}', 400, "one choice", "two answers at once"),
        ("/v1/completions", b'{"prompt":"x","max_tokens":131072}', 400, "131072", "longer than the context"),
        ("/v1/completions", b'{"prompt":"x","model":"gpt-9"}', 404, MODEL, "another model; ours is named"),
        ("/v1/chat/completions", b'{"messages":[]}', 400, "messages", "a chat in which nobody spoke"),
        ("/v1/chat/completions", b'{"prompt":"x"}', 400, "messages", "the body of the other endpoint"),
        ("/v1/embeddings", b"{}", 404, "/v1/embeddings", "an endpoint that we lack"),
        ("/health", b"{}", 405, "Method Not Allowed", "the wrong method"),
    ],
)
async def test_what_cannot_be_answered_gets_an_error_of_openais_shape(
    http: aiohttp.ClientSession, plain: Running, path: str, body: bytes, code: int, says: str, reason: str
) -> None:
    async with http.post(plain.url + path, data=body) as response:
        got = await response.json()

    assert response.status == code, reason
    assert says in got["error"]["message"], reason
    assert got["error"]["code"] == code
    assert got["error"]["type"]


# Streams.


async def test_a_text_stream_gives_one_event_per_token(http: aiohttp.ClientSession, plain: Running) -> None:
    got, last = await streamed(http, plain, "/v1/completions", text_body(max_tokens=30))

    choices = [event["choices"][0] for event in got]
    assert last == "[DONE]"
    assert "".join(choice["text"] for choice in choices) == (SENTENCE * 3)[: 30 * 4]
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["length"]
    assert all(event["usage"] is None for event in got)
    assert len({event["id"] for event in got}) == 1


async def test_a_chat_stream_names_the_role_first_and_the_usage_last(
    http: aiohttp.ClientSession, plain: Running
) -> None:
    chat = {"messages": [{"role": "user", "content": "hi"}], "stream_options": {"include_usage": True}, "max_tokens": 3}

    got, last = await streamed(http, plain, "/v1/chat/completions", chat)

    role, *pieces, counted = got
    assert last == "[DONE]"
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(piece["choices"][0]["delta"]["content"] for piece in pieces) == "No model was"
    assert all("role" not in piece["choices"][0]["delta"] for piece in pieces)
    assert pieces[-1]["choices"][0]["finish_reason"] == "length"
    assert {event["object"] for event in got} == {"chat.completion.chunk"}
    assert counted["choices"] == []
    assert counted["usage"] == {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}


async def test_tokens_per_chunk_holds_back_all_but_the_first_and_the_last(http: aiohttp.ClientSession) -> None:
    # 10 ms per token: between two of them a reader has time to take what is there.
    with engine("--tokens-per-chunk", "4", "--token-s", "0.01") as running:
        await ready(http, running)

        got, _ = await streamed(http, running, "/v1/completions", text_body(max_tokens=11))

    texts = [event["choices"][0]["text"] for event in got]
    assert "".join(texts) == SENTENCE[: 11 * 4]
    assert len(texts) <= 4, "1 + 4 + 4 + 2, or fewer where the machine was slow"
    assert len(texts) > 1, "they do not all come together"


async def test_tokens_take_the_time_that_they_should(http: aiohttp.ClientSession) -> None:
    with engine("--token-s", "0.1", "--speed", "10") as running:
        await ready(http, running)
        began_at = time.monotonic()

        async with http.post(running.url + "/v1/completions", json=text_body(max_tokens=50, stream=True)) as response:
            times = [time.monotonic() - began_at async for _ in events(response)]

    assert times[-1] >= 50 * 0.01
    assert times[-1] < 50 * 0.1 / 2, "the speed counts"
    assert times[0] < times[-1] / 2, "tokens are sent as they come"


# Metrics.


async def test_metrics_show_the_load_and_then_what_was_done(http: aiohttp.ClientSession) -> None:
    with engine("--concurrency", "2", "--token-s", "0.02", "--prefill-s-per-token", "0") as running:
        await ready(http, running)
        body = text_body(max_tokens=40, rehearsal={"input_tokens": 1000})

        asks = [asyncio.create_task(post(http, running, "/v1/completions", body)) for _ in range(5)]
        await load_is(http, running, in_batch=2, waiting=3)
        loaded = await samples(http, running)

        async def holds_memory() -> bool:
            return 0 < value(await samples(http, running), "kv_cache_usage_perc") <= 1

        await until(holds_memory, "prompts that were read take KV memory")
        await asyncio.gather(*asks)
        done = await samples(http, running)

    assert value(loaded, "num_requests_waiting_by_reason", reason="capacity") == 3
    assert value(loaded, "num_requests_waiting_by_reason", reason="deferred") == 0
    assert value(done, "num_requests_running") == value(done, "num_requests_waiting") == 0
    assert value(done, "kv_cache_usage_perc") == 0
    assert value(done, "prompt_tokens_total") == 5000
    assert value(done, "generation_tokens_total") == 200
    assert value(done, "request_success_total", finished_reason="length") == 5
    assert value(done, "request_success_total", finished_reason="abort") == 0
    assert value(done, "time_to_first_token_seconds_count") == 5
    assert value(done, "time_to_first_token_seconds_bucket", le="0.001") == 0
    assert value(done, "time_to_first_token_seconds_bucket", le="+Inf") == 5
    assert value(done, "e2e_request_latency_seconds_count") == 5
    assert value(done, "e2e_request_latency_seconds_bucket", le="0.5") == 0, "40 tokens take 0.8 s"
    assert value(done, "e2e_request_latency_seconds_sum") >= 7.0, "three rounds of two seats: 0.8 0.8 1.6 1.6 2.4"
    assert value(done, "time_to_first_token_seconds_sum") >= 3.2, "and first tokens after 0.02 0.02 0.82 0.82 1.62"


async def test_a_name_with_quotes_and_backslashes_stays_one_label(http: aiohttp.ClientSession) -> None:
    name = 'a "quoted" back\\slash\nname'
    with engine("--served-model-name", name) as running:
        await ready(http, running)

        async with http.get(running.url + "/metrics") as response:
            families = list(text_string_to_metric_families(await response.text()))

    assert {sample.labels["model_name"] for family in families for sample in family.samples} == {name}


# Clients that leave.


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_disconnects_leaves_batch_and_queue_at_once(
    http: aiohttp.ClientSession, stream: bool
) -> None:
    with engine("--concurrency", "1") as running:
        await ready(http, running)
        # At 20 ms a token these would take half an hour: nothing but the disconnect can end them.
        body = text_body(max_tokens=90_000, stream=stream)
        runs = asyncio.create_task(post(http, running, "/v1/completions", body))
        await load_is(http, running, in_batch=1, waiting=0)
        waits = asyncio.create_task(post(http, running, "/v1/completions", body))
        await load_is(http, running, in_batch=1, waiting=1)

        waits.cancel()
        await load_is(http, running, in_batch=1, waiting=0)
        runs.cancel()
        await load_is(http, running, in_batch=0, waiting=0)
        after, _ = await post(http, running, "/v1/completions", text_body(max_tokens=1))
        found = await samples(http, running)

        assert after == 200
        assert value(found, "request_success_total", finished_reason="abort") == 2
        assert value(found, "request_success_total", finished_reason="length") == 1
        assert running.said() == ""
        await asyncio.gather(runs, waits, return_exceptions=True)


# Sleep.


async def test_asleep_it_refuses_requests_and_awake_it_answers_again(http: aiohttp.ClientSession) -> None:
    with engine("--wake-s", "0.2") as running:
        await ready(http, running)

        slept = await status(http, running, "/sleep?level=1", method="POST")
        asleep = await get(http, running, "/is_sleeping")
        refused, why = await post(http, running, "/v1/completions", text_body())
        healthy = await status(http, running, "/health")
        began_at = time.monotonic()
        woke = await status(http, running, "/wake_up", method="POST")
        took_s = time.monotonic() - began_at
        awake = await get(http, running, "/is_sleeping")
        answered, _ = await post(http, running, "/v1/completions", text_body(max_tokens=1))

    assert (slept, woke, healthy) == (200, 200, 200)
    assert (asleep, awake) == ({"is_sleeping": True}, {"is_sleeping": False})
    assert (refused, answered) == (503, 200)
    assert "/wake_up" in why["error"]["message"]
    assert took_s >= 0.2


async def test_sleep_cuts_running_answers_short(http: aiohttp.ClientSession) -> None:
    with engine("--concurrency", "1") as running:
        await ready(http, running)
        body = text_body(max_tokens=90_000)
        runs = asyncio.create_task(streamed(http, running, "/v1/completions", body))
        await load_is(http, running, in_batch=1, waiting=0)
        waits = asyncio.create_task(post(http, running, "/v1/completions", body))
        await load_is(http, running, in_batch=1, waiting=1)

        await status(http, running, "/sleep?level=2", method="POST")
        got, last = await runs
        _, waited = await waits

    assert last == "[DONE]"
    assert got[-1]["choices"][0]["finish_reason"] == "abort"
    assert waited["choices"][0]["finish_reason"] == "abort"
    assert waited["usage"]["completion_tokens"] == 0


async def test_a_waking_goes_on_when_its_caller_gives_up(http: aiohttp.ClientSession) -> None:
    with engine("--wake-s", "1.5") as running:
        await ready(http, running)
        await status(http, running, "/sleep", method="POST")

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await status(http, running, "/wake_up", method="POST")
        still = await get(http, running, "/is_sleeping")

        async def awake() -> bool:
            sleeping = await get(http, running, "/is_sleeping")
            return sleeping["is_sleeping"] is False

        assert still == {"is_sleeping": True}
        await until(awake, "it wakes all the same")


async def test_a_second_call_to_wake_waits_for_the_same_waking(http: aiohttp.ClientSession) -> None:
    with engine("--wake-s", "0.3") as running:
        await ready(http, running)
        await status(http, running, "/sleep", method="POST")

        async def wake() -> Any:
            assert await status(http, running, "/wake_up", method="POST") == 200
            return await get(http, running, "/is_sleeping")

        first, second = await asyncio.gather(wake(), wake())

        assert first == second == {"is_sleeping": False}
        assert await wake() == {"is_sleeping": False}, "and one that is awake already stays so"


async def test_levels_other_than_1_and_2_are_refused(http: aiohttp.ClientSession, plain: Running) -> None:
    assert await status(http, plain, "/sleep?level=3", method="POST") == 400
    assert await get(http, plain, "/is_sleeping") == {"is_sleeping": False}


# The process.


async def test_while_loading_it_has_neither_health_nor_load_nor_answers(http: aiohttp.ClientSession) -> None:
    began_at = time.monotonic()
    with engine("--load-s", "1.5") as running:
        paths = ("/health", "/metrics", "/v1/models", "/is_sleeping")
        loading = [await status(http, running, path) for path in paths]
        refused, _ = await post(http, running, "/v1/completions", text_body())
        version = await status(http, running, "/version")

        await ready(http, running)

        took_s = time.monotonic() - began_at
        loaded = [await status(http, running, path) for path in paths]

    assert loading == [503] * 4
    assert refused == 503
    assert version == 200
    assert took_s >= 1.5
    assert loaded == [200] * 4


async def test_sigterm_finishes_what_was_accepted_and_takes_no_more(http: aiohttp.ClientSession) -> None:
    with engine("--concurrency", "1", "--token-s", "0.02") as running:
        await ready(http, running)
        body = text_body(max_tokens=50)
        runs = asyncio.create_task(streamed(http, running, "/v1/completions", body))
        await load_is(http, running, in_batch=1, waiting=0)
        waits = asyncio.create_task(post(http, running, "/v1/completions", body))
        await load_is(http, running, in_batch=1, waiting=1)

        running.process.terminate()

        async def refuses() -> bool:
            try:
                async with aiohttp.ClientSession() as newcomer, newcomer.get(running.url + "/health"):
                    return False
            except aiohttp.ClientConnectionError:
                return True

        await until(refuses, "the port is closed")
        alive = running.process.poll() is None
        got, last = await runs
        code, waited = await waits

        assert alive, "it was still at work when it refused newcomers"
        assert last == "[DONE]"
        assert got[-1]["choices"][0]["finish_reason"] == "length"
        assert (code, waited["usage"]["completion_tokens"]) == (200, 50)
        assert running.process.wait(WAIT_S) == 0
        assert running.said() == ""


async def test_when_the_grace_is_over_answers_are_cut_short(http: aiohttp.ClientSession) -> None:
    with engine("--grace-s", "0.3") as running:
        await ready(http, running)
        runs = asyncio.create_task(streamed(http, running, "/v1/completions", text_body(max_tokens=90_000)))
        await load_is(http, running, in_batch=1, waiting=0)

        running.process.terminate()
        got, last = await runs

        assert last == "[DONE]"
        assert got[-1]["choices"][0]["finish_reason"] == "abort"
        assert running.process.wait(WAIT_S) == 0
        assert running.said() == ""


def test_a_port_in_use_is_one_sentence_and_status_7(plain: Running) -> None:
    port = int(plain.url.rpartition(":")[2])

    done = subprocess.run(command(port=port), cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 7
    assert done.stdout == ""
    expected = f"rehearsal: port {port} of 127.0.0.1 is in use; choose another with --port, or --port 0\n"
    assert done.stderr == expected
    assert port_taken(expected.encode()), "a Node then starts it at another port"


@pytest.mark.parametrize(
    ("flags", "says", "reason"),
    [
        (("--host", "192.0.2.1"), "cannot listen on 192.0.2.1:0", "an address of another machine"),
        (("--concurrency", "0"), "at least 1", "a batch of nobody"),
        (("--load-s", "-1"), "at least 0", "a time before now"),
        (("--token-s", "nan"), "finite number", "not a time"),
        (("--speed", "0"), "from 0.001", "no speed at all"),
        (("--port", "70000"), "to 65535", "no such port"),
    ],
)
def test_wrong_arguments_are_status_2(flags: tuple[str, ...], says: str, reason: str) -> None:
    done = subprocess.run([*command(), *flags], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 2, reason
    assert says in done.stderr, reason


def orphan() -> tuple[int, str]:
    """Start one from a shell that is gone at once, its end of the pipes with it. Returns its pid and its address."""
    script = 'exec 3>&1; "$@" 2>&1 & echo $! >&3'
    words = ["/bin/sh", "-c", script, "sh", *command()]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as shell:
        assert shell.stdout is not None
        lines = sorted((shell.stdout.readline().strip(), shell.stdout.readline().strip()))
        assert shell.wait(WAIT_S) == 0
    pid, listens = lines
    return int(pid), listens.split()[-1]


async def test_it_outlives_its_parent_and_its_terminal(http: aiohttp.ClientSession) -> None:
    pid, url = orphan()
    try:
        os.kill(pid, signal.SIGHUP)

        async with http.get(f"{url}/health") as response:
            code = response.status
        async with http.post(f"{url}/v1/completions", json=text_body(max_tokens=1)) as response:
            answered = response.status

        assert (code, answered) == (200, 200)
    finally:
        os.kill(pid, signal.SIGTERM)

    async def gone() -> bool:
        # It is init's child now, and where init does not reap, it stays as a zombie: an empty command line.
        try:
            return not Path(f"/proc/{pid}/cmdline").read_bytes()
        except FileNotFoundError:
            return True

    await until(gone, "it ends when told")


# The levers.


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        (("--fail-load", "--load-s", "0.1"), 3, "could not be loaded"),
        (("--crash-after-s", "0.1"), 1, "crashed"),
    ],
)
def test_a_lever_ends_the_process(flags: tuple[str, ...], code: int, says: str) -> None:
    with engine(*flags) as running:
        assert running.process.wait(WAIT_S) == code
        assert re.fullmatch(rf"rehearsal: .*{says}.*{flags[0]}.*\n", running.said())


async def test_never_ready_loads_for_ever_and_still_ends_when_told(http: aiohttp.ClientSession) -> None:
    with engine("--never-ready") as running:
        codes = [await status(http, running, "/health") for _ in range(20)]
        running.process.terminate()

        assert codes == [503] * 20, "without the lever it would be ready before the first answer"
        assert running.process.wait(WAIT_S) == 0


async def test_garbage_metrics_are_garbage_and_nothing_else_is(http: aiohttp.ClientSession) -> None:
    with engine("--garbage-metrics") as running:
        await ready(http, running)

        async with http.get(running.url + "/metrics") as response:
            garbage = await response.read()
        code, _ = await post(http, running, "/v1/completions", text_body(max_tokens=1))

    assert response.status == 200
    assert code == 200
    with pytest.raises(UnicodeDecodeError):
        garbage.decode()
    with pytest.raises(ValueError, match="metric name"):
        list(text_string_to_metric_families(garbage.decode(errors="replace")))
