"""Clients that ask for a stream of tokens and count what came."""

import asyncio
import json
from dataclasses import dataclass

import aiohttp

ANSWER_S = 60.0
"""A request may be held through a whole cold start and still be streamed in that time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of one request."""

    status: int
    tokens: int
    """As the engine counted them."""
    pieces: int
    """Events that carried text."""
    done: bool
    """The stream ended with [DONE]."""
    failure: str = ""

    def whole(self, tokens: int) -> bool:
        return self.status == 200 and self.done and self.tokens == tokens == self.pieces and not self.failure


async def ask(
    session: aiohttp.ClientSession, url: str, *, tokens: int, model: str = "rehearsal-8b", **more: object
) -> Answer:
    """One streaming chat request, with `more` in its body; never raises for what the other side does."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "count"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": tokens,
        **more,
    }
    status = counted = pieces = 0
    done = False
    try:
        async with asyncio.timeout(ANSWER_S), session.post(f"{url}/v1/chat/completions", json=body) as response:
            status = response.status
            if status != 200:
                failure = await response.text()
                return Answer(status=status, tokens=0, pieces=0, done=False, failure=failure)
            async for line in response.content:
                data = line.decode().strip().removeprefix("data: ")
                if data == "[DONE]":
                    done = True
                elif data:
                    event = json.loads(data)
                    counted = (event.get("usage") or {}).get("completion_tokens", counted)
                    pieces += sum(1 for choice in event["choices"] if choice["delta"].get("content"))
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        return Answer(status=status, tokens=counted, pieces=pieces, done=done, failure=repr(error))
    return Answer(status=status, tokens=counted, pieces=pieces, done=done)


def client() -> aiohttp.ClientSession:
    """A session that opens as many connections as there are requests."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True))
