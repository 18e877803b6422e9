"""What replicas say they serve, asked once at a start or reload: best effort, bounded, and never in a request's way."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import aiohttp
import msgspec

from fleetctl.model.names import ServiceName
from fleetctl.model.routes import Route, Upstream

ASK_TIMEOUT_S: Final = 2.0
"""An engine lists its models from memory; one that takes longer is not well, and the gateway starts without it."""
ASKED_AT_ONCE: Final = 64
"""A thousand replicas that hang delay a start by half a minute, not by half an hour."""
ANSWER_LIMIT_BYTES: Final = 1024 * 1024
"""A list of a thousand models is a tenth of this."""
NAMES_MAX: Final = 256
"""Models and adapters that one replica's list adds."""
_NAME_LENGTH_MAX: Final = 512


class _Card(msgspec.Struct):
    id: str
    parent: str | None = None
    """vLLM: the model that a LoRA adapter is of; None: it is a model."""


class _List(msgspec.Struct):
    data: list[_Card]


_LIST: Final = msgspec.json.Decoder(_List)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What one replica said."""

    address: str
    models: tuple[str, ...] = ()
    adapters: tuple[str, ...] = ()
    trouble: str = ""
    """Why it said nothing of use."""
    reached: bool = True


class ServedModels:
    """Asks replicas what they serve, and remembers it: one that is restarting at a reload still serves the same."""

    def __init__(self) -> None:
        self._heard: dict[str, Heard] = {}
        """By address: the newest list that was of use."""

    async def fill(self, routes: Sequence[Route]) -> tuple[tuple[Route, ...], tuple[str, ...]]:
        """The routes, those without models with what their replicas list at `/v1/models`; and a warning per trouble.

        A model that another service has already stays with it. A replica that does not answer keeps its place: it gets
        requests when it does.
        """
        gate = asyncio.Semaphore(ASKED_AT_ONCE)
        addresses = {upstream.address for route in routes for upstream in route.upstreams}
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ASK_TIMEOUT_S)) as session:
            answers = await asyncio.gather(*(_ask(session, gate, address) for address in sorted(addresses)))
        wanted = {upstream.address for route in routes if not route.models for upstream in route.upstreams}
        warnings = [
            f"replica {one.address} {one.trouble}"
            for one in answers
            if one.trouble and (not one.reached or one.address in wanted)
        ]
        before = self._heard
        self._heard = {one.address: before.get(one.address, one) if one.trouble else one for one in answers}
        taken = {name: route.service for route in routes for name in (route.service, *route.models, *route.adapters)}
        made = []
        for route in routes:
            filled, clashes = (route, ()) if route.models else _filled(route, self._heard, taken)
            made.append(filled)
            warnings += clashes
            if not filled.models and len(routes) > 1:
                warnings.append(
                    f"no model is known that selects {route.service}: it is asked for as /{route.service}/v1/… until"
                    " `models` is written, or SIGHUP is sent while a replica answers"
                )
        return tuple(made), tuple(dict.fromkeys(warnings))


def _filled(route: Route, heard: Mapping[str, Heard], taken: dict[str, ServiceName]) -> tuple[Route, tuple[str, ...]]:
    """With what its replicas list, and a warning for each name that selects another service; `taken` is added to."""
    models: dict[str, None] = {}
    adapters: dict[str, None] = dict.fromkeys(route.adapters)
    clashes = []
    for upstream in route.upstreams:
        one = heard[upstream.address]
        for name, into in (*((m, models) for m in one.models), *((a, adapters) for a in one.adapters)):
            owner = taken.setdefault(name, route.service)
            if owner == route.service:
                into[name] = None
            else:
                clashes.append(
                    f"replica {upstream.address} of {route.service} lists {name!r}, which selects {owner};"
                    " write `models` to say who serves it"
                )
    upstreams = tuple(_loaded(upstream, heard[upstream.address]) for upstream in route.upstreams)
    made = replace(route, models=tuple(models), adapters=tuple(adapters), upstreams=upstreams)
    return made, tuple(clashes)


def _loaded(upstream: Upstream, heard: Heard) -> Upstream:
    """With the adapters that it says are loaded."""
    return replace(upstream, adapters=tuple(dict.fromkeys((*upstream.adapters, *heard.adapters))))


async def _ask(session: aiohttp.ClientSession, gate: asyncio.Semaphore, address: str) -> Heard:
    async with gate:
        try:
            async with session.get(f"http://{address}/v1/models", allow_redirects=False) as answer:
                if answer.status != 200:
                    return Heard(address=address, trouble=f"does not list its models: it answers {answer.status}")
                body = b""
                while chunk := await answer.content.read(ANSWER_LIMIT_BYTES + 1 - len(body)):
                    body += chunk
                    if len(body) > ANSWER_LIMIT_BYTES:
                        return Heard(address=address, trouble="lists more models than are read")
        except TimeoutError:
            why = f"does not answer in {ASK_TIMEOUT_S:g} s; it gets requests when it does"
            return Heard(address=address, trouble=why, reached=False)
        except (aiohttp.ClientError, OSError) as error:
            number = error.errno if isinstance(error, OSError) else None
            why = os.strerror(number).lower() if number else type(error).__name__
            return Heard(
                address=address, trouble=f"does not answer ({why}); it gets requests when it does", reached=False
            )
    try:
        cards = _LIST.decode(body).data[:NAMES_MAX]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Heard(address=address, trouble="answers /v1/models with something else than a list of models")
    fit = [card for card in cards if 0 < len(card.id) <= _NAME_LENGTH_MAX and card.id.isprintable()]
    return Heard(
        address=address,
        models=tuple(card.id for card in fit if card.parent is None),
        adapters=tuple(card.id for card in fit if card.parent is not None),
    )
