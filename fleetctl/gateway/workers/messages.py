"""What worker processes and the scheduler process say to each other, and how it is written down.

A frame is four bytes of length (little endian) and a msgpack list of messages: all that one side said in one turn of
its loop. Each message is an array of its tag and its fields. Frames go over a socket pair that the gateway made for its
own processes, so whatever does not fit comes from a process gone wrong: `BadFrame`, and that process is ended.
"""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec

from fleetctl.gateway.scheduler.ticket import Band, Fault
from fleetctl.model.routes import Identity, Routes

FRAME_LIMIT_BYTES: Final = 64 * 1024 * 1024
"""Four times the largest routes; a length beyond it is garbage, not a message."""
_HEADER: Final = struct.Struct("<I")


class BadFrame(Exception):
    """Bytes that no process of this gateway would have sent."""


class Said(msgspec.Struct, array_like=True, gc=False):
    """What goes one way once. None of them holds a reference that could come back to it: no work for the collector."""


# from a worker to the scheduler; `id` is unique in its worker


class Ask(Said, tag=1):
    id: int
    service: str
    tenant: str
    band: Annotated[int, msgspec.Meta(ge=0, lt=len(Band))]
    prefix: tuple[int, ...]
    adapter: str
    input_tokens: int
    output_tokens: int
    patience_s: float | None
    size_bytes: int
    streams: bool


class Hears(Said, tag=2):
    id: int


class Finish(Said, tag=3):
    id: int
    answered: bool
    input_tokens: int
    output_tokens: int
    heard: bool
    """Its first byte came in this turn, too, and nothing else says so."""


class Cancel(Said, tag=4):
    id: int


class GiveBack(Said, tag=5):
    id: int
    fault: Annotated[int, msgspec.Meta(ge=0, lt=len(Fault))]
    """Its place among the Faults."""


class Probed(Said, tag=6):
    generation: int
    well: bool


class Carried(Said, tag=7):
    """A request that a scheduler before this one had seated, and that runs on."""

    id: int
    service: str
    replica: str
    address: str


class Hello(Said, tag=8):
    """The first message of a worker."""

    worker: int
    pid: int
    carried: tuple[Carried, ...] = ()


class Report(Said, tag=9):
    """What it has counted since it began, as the data plane's own document (msgpack)."""

    body: bytes
    keys: tuple[str, ...]
    """Ids of API keys that were used since the report before."""


# from the scheduler to a worker


class Granted(Said, tag=1):
    id: int
    generation: int
    retriable: bool
    uncached_tokens: int


class Refused(Said, tag=2):
    id: int
    status: int
    code: str
    message: str
    retry_after_s: int | None
    extra: str


class SeatKnown(Said, tag=3):
    """Said before the first grant of this generation."""

    generation: int
    service: str
    replica: str
    address: str


class SeatLeft(Said, tag=4):
    """It is no longer in the routes."""

    generation: int


class Probe(Said, tag=5):
    generation: int


class Named(Said, tag=6):
    """The names that select Services; the routes without their replicas, which are the scheduler's matter."""

    routes: Routes


class Identified(Said, tag=7):
    identity: Identity


Up = Ask | Hears | Finish | Cancel | GiveBack | Probed | Hello | Report
Down = Granted | Refused | SeatKnown | SeatLeft | Probe | Named | Identified
S = TypeVar("S")


def _write_path(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError


def _read_path(kind: type, value: object) -> Path:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError


_encoder: Final = msgspec.msgpack.Encoder(enc_hook=_write_path)


class Reader(Generic[S]):
    """Bytes as they come, taken apart into messages; `kind` is the union of those that may come."""

    __slots__ = ("_begun", "_decoder")

    def __init__(self, kind: Any) -> None:
        self._decoder: msgspec.msgpack.Decoder[list[S]] = msgspec.msgpack.Decoder(list[kind], dec_hook=_read_path)
        self._begun = bytearray()

    def feed(self, data: bytes) -> list[S]:
        """The messages of all frames that are complete now. Raises `BadFrame`."""
        if self._begun:
            self._begun += data
            data = bytes(self._begun) if self._whole(self._begun) else b""
            if not data:
                return []
            self._begun.clear()
        said: list[S] = []
        view, start = memoryview(data), 0
        while start + _HEADER.size <= len(data):
            end = start + _HEADER.size + self._length(data, start)
            if end > len(data):
                break
            try:
                said += self._decoder.decode(view[start + _HEADER.size : end])
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise BadFrame(f"a frame of {end - start} bytes holds no messages: {error}") from error
            start = end
        if start < len(data):
            self._begun += view[start:]
        return said

    def _whole(self, begun: bytearray) -> bool:
        """Whether it begins with a whole frame: until then nothing of a long one is copied again and again."""
        return len(begun) >= _HEADER.size and len(begun) >= _HEADER.size + self._length(begun, 0)

    @staticmethod
    def _length(data: bytes | bytearray, start: int) -> int:
        length: int = _HEADER.unpack_from(data, start)[0]
        if length > FRAME_LIMIT_BYTES:
            raise BadFrame(f"a frame says that it has {length} bytes, and the most is {FRAME_LIMIT_BYTES}")
        return length


def frames(said: Sequence[Said]) -> bytes:
    """Messages as one frame, or as several where it would be too long. `ValueError`: a message is, by itself."""
    body = _encoder.encode(said)
    if len(body) <= FRAME_LIMIT_BYTES:
        return _HEADER.pack(len(body)) + body
    if len(said) == 1:
        raise ValueError(f"a message of {len(body)} bytes; the most is {FRAME_LIMIT_BYTES}")
    half = len(said) // 2
    return frames(said[:half]) + frames(said[half:])
