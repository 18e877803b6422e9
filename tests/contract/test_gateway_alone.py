"""A gateway alone, as people run it: `fleetctl gateway` before engines, with real clients and real signals."""

import asyncio
import json
import signal
import socket
from pathlib import Path

import pytest
from gateway_world import (
    ask,
    client,
    echo,
    engine,
    held,
    until,
)
from lone_gateway import FLEETCTL, lines_of, listing, named, ran, running, stepped
from ports import free_port


async def test_it_says_where_it_listens_and_what_it_serves_and_answers() -> None:
    async with (
        engine(listing("org/a", "a", serve=echo)) as one,
        engine(listing("org/a", serve=echo)) as two,
        running("--auth", "none", *lines_of(one, two)) as gateway,
    ):
        asked = await ask(gateway, b'{"model": "a"}', "/v1/chat/completions")
        _, models, _ = await ran("curl", "-sS", f"{gateway.url}/models")

        assert gateway.url == f"http://127.0.0.1:{gateway.port}/v1"
        await gateway.said("service default: 2 replicas, 8 slots; model org/a, a")
        await gateway.said("auth: none")

    assert asked.status == 200
    assert asked.body.endswith(b'|{"model": "a"}')
    assert {"org/a", "a"} == {one["id"] for one in json.loads(models)["data"]}


async def test_services_are_told_apart_by_the_models_that_their_replicas_list() -> None:
    async with engine(listing("org/chat", serve=named)) as chat, engine(listing("org/code", serve=named)) as code:
        words = ["--replica", f"chat@http://{chat.address}=2", "--replica", f"code@http://{code.address}=2"]
        async with running("--auth", "none", *words) as gateway:
            by_model = await ask(gateway, b'{"model": "org/code"}')
            by_path = await ask(gateway, b"{}", "/chat/v1/x")
            unknown = await ask(gateway, b'{"model": "nobody"}')

    assert by_model.body == str(code.port).encode()
    assert by_path.body == str(chat.port).encode()
    assert (unknown.status, unknown.code) == (404, "model_not_found")
    assert b"org/chat" in unknown.body


async def test_an_adapter_that_a_replica_lists_is_asked_of_it() -> None:
    async with (
        engine(listing("base", serve=named)) as one,
        engine(listing("base", adapters=("legal",), serve=named)) as two,
        running("--auth", "none", *lines_of(one, two)) as gateway,
    ):
        answers = [(await ask(gateway, b'{"model": "legal"}')).body for _ in range(4)]

    assert set(answers) == {str(two.port).encode()}


async def test_a_replica_that_does_not_answer_is_a_warning_and_served_when_it_does() -> None:
    port = free_port()
    async with running("--auth", "none", "--replica", f"http://127.0.0.1:{port}=4") as gateway:
        await gateway.said(f"warning: replica 127.0.0.1:{port} does not answer (connection refused); it gets requests")
        async with client(gateway) as waiting:
            waiting.post(b"hello")

            async with engine(echo, port):
                late = await waiting.answer()

    assert late.status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_what_runs_ends_in_full_when_it_is_told_to_stop(number: signal.Signals) -> None:
    async with (
        engine(listing("a", serve=stepped)) as one,
        running("--auth", "none", *lines_of(one)) as gateway,
        client(gateway) as streaming,
    ):
        streaming.post()
        await streaming.head()
        gateway.process.send_signal(number)
        await gateway.said("60 s to end")
        one.go.set()

        rest = await streaming.ended()

        assert b"data: 2" in rest
        assert rest.endswith(b"0\r\n\r\n")
        assert await gateway.ended() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_second_signal_ends_it_at_once(workers: str) -> None:
    async with (
        engine(listing("a", serve=stepped)) as one,
        running("--auth", "none", "--workers", workers, *lines_of(one)) as gateway,
        client(gateway) as streaming,
    ):
        streaming.post()
        await streaming.head()
        gateway.process.send_signal(signal.SIGINT)
        await gateway.said("stopping: ")

        gateway.process.send_signal(signal.SIGINT)

        assert await gateway.ended() == 0
        assert not one.go.is_set()


async def test_an_access_log_on_stdout_is_nothing_but_lines_of_json() -> None:
    async with (
        engine(listing("a", serve=echo)) as one,
        running("--auth", "none", "--access-log", "-", *lines_of(one)) as gateway,
    ):
        asked = await ask(gateway, b"a secret prompt")

        line = json.loads(await gateway.said("answered", out=True))

    assert asked.status == 200
    assert (line["service"], line["status"], line["replica"]) == ("default", 200, one.address)
    assert not any("secret" in one for one in (*gateway.out, *gateway.err))


async def test_an_access_log_that_was_moved_is_begun_anew(tmp_path: Path) -> None:
    log = tmp_path / "access.jsonl"
    async with (
        engine(listing("a", serve=echo)) as one,
        running("--auth", "none", "--access-log", str(log), *lines_of(one)) as gateway,
    ):
        await ask(gateway)
        await until(lambda: log.exists() and log.stat().st_size > 0)
        log.rename(tmp_path / "old.jsonl")

        await gateway.reload()

        await ask(gateway)
        await until(lambda: log.exists() and log.stat().st_size > 0)
    assert len(log.read_text().splitlines()) == len((tmp_path / "old.jsonl").read_text().splitlines()) == 1


async def test_metrics_have_a_port_of_their_own() -> None:
    port = free_port()
    async with (
        engine(listing("a", serve=echo)) as one,
        running("--auth", "none", "--metrics", f"127.0.0.1:{port}", *lines_of(one)) as gateway,
    ):
        await ask(gateway)

        _, metrics, _ = await ran("curl", "-sS", f"http://127.0.0.1:{port}/metrics")

    assert 'fleetctl_gateway_requests_total{service="default",outcome="answered"} 1' in metrics


async def test_two_processes_share_what_slots_there_are() -> None:
    async with (
        engine(listing("a", serve=held)) as one,
        running("--auth", "none", "--workers", "2", *lines_of(one, slots=2)) as gateway,
    ):
        asking = [asyncio.ensure_future(ask(gateway, b"%d" % number)) for number in range(8)]
        await until(lambda: one.running == 2)
        one.go.set()

        answers = await asyncio.gather(*asking)

    assert [one.status for one in answers] == [200] * 8
    assert one.most_running == 2


# what cannot start


async def test_a_port_that_is_taken_ends_with_7() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"

        words = [*FLEETCTL, "gateway", "--auth", "none", "--replica", "http://127.0.0.1:1=1", "--listen", listen]
        code, out, err = await ran(*words)

    assert (code, out) == (7, "")
    assert f"error: the gateway cannot listen on {listen}: Address already in use\nhint: " in err
