"""BLAKE3 of chunks, and the keyed hashes by which Nodes of one fleet know each other."""

import hmac

from fleetctl.errors import AgentFailure

HASH_BYTES = 32
KEY_BYTES = 32
MISSING = bytes(HASH_BYTES)
"""Stands for a chunk that is not here; no content has this hash."""


def blake3(data: bytes | bytearray | memoryview) -> bytes:
    """32 bytes. Raises `AgentFailure` where the package is not installed."""
    try:
        from blake3 import blake3 as made
    except ImportError:
        raise _not_installed() from None
    return made(data).digest()


def keyed(key: bytes, *parts: bytes) -> bytes:
    """A hash of all parts that only holders of the key can make; each part is told from the next by its length."""
    try:
        from blake3 import blake3 as made
    except ImportError:
        raise _not_installed() from None
    hasher = made(key=key)
    for part in parts:
        hasher.update(len(part).to_bytes(8, "big"))
        hasher.update(part)
    return hasher.digest()


def same(one: bytes, other: bytes) -> bool:
    """In a time that does not tell how much of it is right."""
    return hmac.compare_digest(one, other)


def key_of(text: str) -> bytes | None:
    """The fleet's key from its hex; None: there is none, or it is damaged."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        return None
    return key if len(key) == KEY_BYTES else None


def _not_installed() -> AgentFailure:
    return AgentFailure(
        "the node agent cannot check what it fetches: the blake3 package is not installed",
        hint="pip install 'fleetctl[node]' on this node",
    )
