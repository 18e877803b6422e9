"""What a prompt begins with, as a few numbers: requests that share them are best sent to the same replica."""

from typing import Final
from zlib import crc32

from fleetctl.gateway.scheduler.ticket import NO_PREFIX

_MESSAGES: Final = b'"messages"'
_PROMPT: Final = b'"prompt"'
_INPUT: Final = b'"input"'
_FIRST_BYTES: Final = 256
"""What each link covers from the prompt's key on: this a greeting, the next a system prompt, then one with tools, then
the beginning of a document.
"""
_SECOND_BYTES: Final = 1024
_THIRD_BYTES: Final = 4096
_FOURTH_BYTES: Final = 16_384


def chain(body: bytes, seed: int) -> tuple[int, ...]:
    """The prefix's hashes, shortest first, each covering all before it; a link that the body does not fill is left out.

    The same in every process. `seed` is `seed_of` the Service and adapter.
    """
    size = len(body)
    if size < _FIRST_BYTES:
        return NO_PREFIX
    start = body.find(_MESSAGES)
    if start < 0 and (start := body.find(_PROMPT)) < 0 and (start := body.find(_INPUT)) < 0:
        return NO_PREFIX
    size -= start
    if size < _FIRST_BYTES:
        return NO_PREFIX
    first = crc32(body[start : start + _FIRST_BYTES], seed)
    if size < _SECOND_BYTES:
        return (first,)
    second = crc32(body[start + _FIRST_BYTES : start + _SECOND_BYTES], first)
    if size < _THIRD_BYTES:
        return (first, second)
    third = crc32(body[start + _SECOND_BYTES : start + _THIRD_BYTES], second)
    if size < _FOURTH_BYTES:
        return (first, second, third)
    return (first, second, third, crc32(body[start + _THIRD_BYTES : start + _FOURTH_BYTES], third))


def seed_of(service: str, adapter: str) -> int:
    return crc32(adapter.encode(), crc32(service.encode() + b"\0"))
