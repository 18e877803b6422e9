"""The language of Nodes among themselves: signed requests, and a stream of frames that prove who made them.

`GET /v1/artifacts/KEY/manifest` gives the layout. `POST /v1/artifacts/KEY/chunks` names chunks, and is answered with
one frame for each as soon as it is there, in whatever order they come, and with a sign of life in between: so many
chunks are under way at once, and a Node that has nothing to give yet is told from one that is dead.
"""

import hashlib
import secrets
import struct
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from fleetctl.agent.chunks.hashes import HASH_BYTES, blake3, keyed, same
from fleetctl.agent.chunks.layout import Layout
from fleetctl.model.nodes import Artifact

NONCE, TIME, MAC = "X-Fleetctl-Nonce", "X-Fleetctl-Time", "X-Fleetctl-Mac"

SKEW_MAX_S = 120.0
"""A request older than this, or so far in the future, is refused. Clocks of machines with NTP agree to well under a
second; two minutes forgive one that has only just booted."""

_NONCES_MAX = 100_000
"""Remembered at once, 3 MB. A Node asks some tens of times for each Artifact."""

ALIVE_S = 0.5
"""How often a Node that has nothing to give says that it lives."""

_FRAME = struct.Struct(f">BII{HASH_BYTES}s{HASH_BYTES}s")
FRAME_BYTES = _FRAME.size
_CHUNK, _ALIVE, _OVER = 1, 2, 3


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """Which chunks are wanted."""

    layout: str
    """Hex digest of the layout that the asker has."""
    wanted: list[tuple[int, int]]
    """First and last of each run."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest so far."""

    layout: Layout
    here: int
    """Chunks that are here already."""


@dataclass(frozen=True, slots=True)
class Frame:
    kind: Literal["chunk", "alive", "over"]
    """`over`: nothing more will come, though not all that was asked for did."""
    index: int
    length: int
    digest: bytes
    """Of a chunk's content."""


def name_of(artifact: Artifact) -> str:
    """An Artifact's name in the addresses that Nodes ask each other for."""
    return hashlib.sha256(f"{artifact.kind}\0{artifact.name}".encode()).hexdigest()[:32]


def signed(key: bytes, method: str, path: str, body: bytes, now: float) -> dict[str, str]:
    """Headers of a request that only a Node of the fleet can make, once."""
    nonce = secrets.token_hex(16)
    at = f"{now:.3f}"
    return {NONCE: nonce, TIME: at, MAC: _request_mac(key, nonce, at, method, path, body).hex()}


class Door:
    """Lets in requests of the fleet's Nodes, each once."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, float] = OrderedDict()

    def refusal(self, key: bytes, method: str, path: str, body: bytes, headers: "Headers", now: float) -> str | None:
        """Why the request is not let in; None: it is. `now`: Unix seconds."""
        nonce, at, mac = (headers.get(name, "") for name in (NONCE, TIME, MAC))
        try:
            given, asked_at = bytes.fromhex(mac), float(at)
            right = _request_mac(key, nonce, at, method, path, body)
        except ValueError:  # no hex, no number, or no text at all
            return "not signed"
        if not same(given, right):
            return "signed with another key"
        if not abs(now - asked_at) <= SKEW_MAX_S:
            return f"signed {now - asked_at:.0f} s ago"
        while self._seen and next(iter(self._seen.values())) < now - 2 * SKEW_MAX_S:
            self._seen.popitem(last=False)
        if nonce in self._seen:
            return "asked before"
        if len(self._seen) >= _NONCES_MAX:
            return "too many requests"
        self._seen[nonce] = now
        return None


class Headers:
    """What `Door` needs of a request's headers."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._pairs = {name.lower(): value for name, value in pairs}

    def get(self, name: str, default: str) -> str:
        return self._pairs.get(name.lower(), default)


class Seal:
    """Makes and opens the frames of one answer: bound to the fleet's key, to the question and to the layout."""

    def __init__(self, key: bytes, nonce: str, layout: Layout) -> None:
        self._key = key
        self._bound = nonce.encode() + layout.digest
        self._beats = 0

    def chunk(self, index: int, length: int, digest: bytes) -> bytes:
        return self._frame(_CHUNK, index, length, digest)

    def alive(self) -> bytes:
        self._beats += 1
        return self._frame(_ALIVE, self._beats, 0, bytes(HASH_BYTES))

    def over(self) -> bytes:
        return self._frame(_OVER, 0, 0, bytes(HASH_BYTES))

    def open(self, data: bytes | bytearray | memoryview) -> Frame | None:
        """The frame; None: it was not made for this question by a Node of the fleet."""
        number, index, length, digest, mac = _FRAME.unpack(data)
        if not same(mac, self._mac(number, index, length, digest)):
            return None
        match number:
            case 1:
                return Frame("chunk", index, length, digest)
            case 2:
                self._beats += 1
                return Frame("alive", index, length, digest) if index == self._beats else None
            case 3:
                return Frame("over", index, length, digest)
        return None

    def _frame(self, number: int, index: int, length: int, digest: bytes) -> bytes:
        return _FRAME.pack(number, index, length, digest, self._mac(number, index, length, digest))

    def _mac(self, number: int, index: int, length: int, digest: bytes) -> bytes:
        return keyed(self._key, self._bound, struct.pack(">BII", number, index, length), digest)


def body_seal(key: bytes, nonce: str, body: bytes) -> str:
    """Of an answer that is sent as a whole."""
    return keyed(key, b"body", nonce.encode(), blake3(body)).hex()


def runs(indexes: Sequence[int]) -> list[tuple[int, int]]:
    """Rising numbers as first and last of each run."""
    found: list[tuple[int, int]] = []
    for index in indexes:
        if found and found[-1][1] == index - 1:
            found[-1] = (found[-1][0], index)
        else:
            found.append((index, index))
    return found


def unfolded(ask: Ask, count: int) -> list[int] | None:
    """The chunks that an Ask names, rising; None: it names what there is not."""
    found: list[int] = []
    for first, last in ask.wanted:
        if not (found[-1] if found else -1) < first <= last < count:
            return None
        found.extend(range(first, last + 1))
    return found


def _request_mac(key: bytes, nonce: str, at: str, method: str, path: str, body: bytes) -> bytes:
    return keyed(key, b"request", nonce.encode(), at.encode(), method.encode(), path.encode(), blake3(body))
