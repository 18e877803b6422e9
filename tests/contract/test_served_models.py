"""What replicas say they serve: real servers, well and badly behaved."""

import asyncio
import json
import time
from dataclasses import replace

import pytest
from gateway_world import Asked, Engine, Serve, answer, echo, engine, held, reset, routed, saying
from lone_gateway import listing

from fleetctl.gateway.served_models import ASK_TIMEOUT_S, NAMES_MAX, ServedModels
from fleetctl.model.routes import Route


def unnamed(name: str, *engines: Engine | str) -> Route:
    return replace(routed(name, *engines), models=())


async def test_models_and_adapters_of_all_replicas_are_taken_together() -> None:
    async with (
        engine(listing("org/a", "a", serve=echo)) as one,
        engine(listing("org/a", adapters=("legal",), serve=echo)) as two,
    ):
        (route,), warnings = await ServedModels().fill([unnamed("chat", one, two)])

    assert (route.models, route.adapters, warnings) == (("org/a", "a"), ("legal",), ())
    assert [upstream.adapters for upstream in route.upstreams] == [(), ("legal",)]


async def test_what_is_written_is_not_asked() -> None:
    async with engine(listing("other", serve=echo)) as one:
        (route,), _ = await ServedModels().fill([routed("chat", one)])

    assert route.models == ("org/chat",)


async def test_a_name_that_two_services_list_stays_with_the_first() -> None:
    async with engine(listing("m", serve=echo)) as one, engine(listing("m", serve=echo)) as two:
        (first, second), warnings = await ServedModels().fill([unnamed("a", one), unnamed("b", two)])

    assert (first.models, second.models) == (("m",), ())
    assert "lists 'm', which selects a; write `models`" in warnings[0]
    assert "no model is known that selects b" in warnings[1]


def raw(body: bytes, status: str = "200 OK") -> Serve:
    async def serve(_: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(body, status))

    return serve


@pytest.mark.parametrize(
    ("serve", "said"),
    [
        (raw(b"{}", "401 Unauthorized"), "does not list its models: it answers 401"),
        (raw(b"{}", "404 Not Found"), "does not list its models: it answers 404"),
        (raw(b"", "302 Found"), "does not list its models: it answers 302"),
        (raw(b"<html>"), "answers /v1/models with something else"),
        (raw(b'{"data": [{"id": 7}]}'), "answers /v1/models with something else"),
        (raw(b'{"data": "\xff"}'), "answers /v1/models with something else"),
        (raw(b" " * 2_000_000), "lists more models than are read"),
        (saying(b"SSH-2.0-OpenSSH_9.2\r\n"), "does not answer"),
        (reset, "does not answer"),
    ],
    ids=["a key is wanted", "no such path", "elsewhere", "no JSON", "numbers", "no UTF-8", "too much", "SSH", "reset"],
)
async def test_one_that_does_not_list_its_models_keeps_its_place(serve: Serve, said: str) -> None:
    async with engine(serve) as one:
        given = unnamed("chat", one)
        (route,), (warning,) = await ServedModels().fill([given])

    assert route == given
    assert warning.startswith(f"replica {one.address} {said}")


async def test_one_that_hangs_is_waited_for_for_two_seconds_with_all_others() -> None:
    async with engine(held) as one, engine(held) as two, engine(held) as three, engine(held) as four:
        began = time.monotonic()
        _, warnings = await ServedModels().fill([unnamed("chat", one, two, three, four)])
        took_s = time.monotonic() - began

    assert len(warnings) == 4
    assert all("does not answer in 2 s" in warning for warning in warnings)
    assert ASK_TIMEOUT_S <= took_s < 4 * ASK_TIMEOUT_S, "not one after the other"


async def test_one_that_is_restarting_at_a_reload_still_serves_what_it_did() -> None:
    served = ServedModels()
    async with engine(listing("m", serve=echo)) as one:
        await served.fill([unnamed("chat", one)])

    (route,), warnings = await served.fill([unnamed("chat", one)])

    assert route.models == ("m",)
    assert "does not answer" in warnings[0]


async def test_a_list_without_end_and_names_that_are_none_are_cut() -> None:
    cards = [{"id": f"m{number}"} for number in range(2 * NAMES_MAX)]
    odd = [{"id": ""}, {"id": "a\nb"}, {"id": "x" * 10_000}]
    async with engine(raw(json.dumps({"data": odd + cards}).encode())) as one:
        (route,), _ = await ServedModels().fill([unnamed("chat", one)])

    assert len(route.models) == NAMES_MAX - len(odd)
    assert route.models[0] == "m0"
