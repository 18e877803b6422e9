"""What the gateway's processes say to each other: nothing is lost, nothing is taken for something else."""

import struct
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.gateway.scheduler.ticket import Band, Fault
from fleetctl.gateway.settings import Settings
from fleetctl.gateway.workers.controls import Apply, Drain, Join, Told
from fleetctl.gateway.workers.messages import (
    FRAME_LIMIT_BYTES,
    Ask,
    BadFrame,
    Cancel,
    Carried,
    Down,
    Finish,
    GiveBack,
    Granted,
    Hears,
    Hello,
    Identified,
    Named,
    Probe,
    Probed,
    Reader,
    Refused,
    Report,
    Said,
    SeatKnown,
    SeatLeft,
    Up,
    frames,
)
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.routes import Identity, KeyEntry, Route, Routes, TenantEntry, Upstream

NUMBERS = st.integers(0, 2**63 - 1)
WORDS = st.text(max_size=40)
PREFIXES = st.lists(st.integers(-(2**63), 2**64 - 1), max_size=4).map(tuple)
CARRIED = st.lists(st.builds(Carried, NUMBERS, WORDS, WORDS, WORDS), max_size=3).map(tuple)
UPS = st.one_of(
    st.builds(
        Ask, NUMBERS, WORDS, WORDS, st.sampled_from(Band).map(int), PREFIXES, WORDS, NUMBERS, NUMBERS,
        st.none() | st.floats(0, 1e9), NUMBERS, st.booleans(),
    ),
    st.builds(Hears, NUMBERS),
    st.builds(Finish, NUMBERS, st.booleans(), NUMBERS, NUMBERS, st.booleans()),
    st.builds(Cancel, NUMBERS),
    st.builds(GiveBack, NUMBERS, st.integers(0, len(Fault) - 1)),
    st.builds(Probed, NUMBERS, st.booleans()),
    st.builds(Hello, NUMBERS, NUMBERS, CARRIED),
    st.builds(Report, st.binary(max_size=99), st.lists(WORDS, max_size=3).map(tuple)),
)  # fmt: skip
DOWNS = st.one_of(
    st.builds(Granted, NUMBERS, NUMBERS, st.booleans(), NUMBERS),
    st.builds(Refused, NUMBERS, st.integers(400, 599), WORDS, WORDS, st.none() | NUMBERS, WORDS),
    st.builds(SeatKnown, NUMBERS, WORDS, WORDS, WORDS),
    st.builds(SeatLeft, NUMBERS),
    st.builds(Probe, NUMBERS),
)


def fed(reader: Reader[Said], data: bytes, cuts: Sequence[int]) -> list[Said]:
    """What it reads when the bytes come in pieces."""
    at = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [one for start, end in pairwise(at) for one in reader.feed(data[start:end])]


@given(st.lists(st.lists(UPS, min_size=1, max_size=5), max_size=4), st.lists(st.integers(0, 10**6), max_size=8))
def test_what_a_worker_says_arrives_in_order_however_it_is_cut(said: list[list[Up]], cuts: list[int]) -> None:
    data = b"".join(frames(turn) for turn in said)

    assert fed(Reader(Up), data, cuts) == [one for turn in said for one in turn]


@given(st.lists(st.lists(DOWNS, min_size=1, max_size=5), max_size=4), st.lists(st.integers(0, 10**6), max_size=8))
def test_what_the_scheduler_says_arrives_in_order_however_it_is_cut(said: list[list[Down]], cuts: list[int]) -> None:
    data = b"".join(frames(turn) for turn in said)

    assert fed(Reader(Down), data, cuts) == [one for turn in said for one in turn]


def test_names_keys_and_settings_travel_whole() -> None:
    route = Route(
        service=ServiceName("chat"),
        models=("org/chat",),
        upstreams=(Upstream(replica=ReplicaId("r1"), address="127.0.0.1:1", slots=3),),
        hosts=("*.example.org",),
    )
    key = KeyEntry(id="k", sha256="ab", tenant="t", services=(ServiceName("chat"),), expires_at=7.5)
    identity = Identity(tenants=(TenantEntry(name="t", weight=2.0),), keys=(key,))
    down = [Named(Routes(fence=3, epoch="e", routes=(route,))), Identified(identity)]
    told = [Join(3), Apply(Settings(tls_key=Path("/etc/key.pem"), workers=4, identity=identity)), Drain()]

    assert Reader[Down](Down).feed(frames(down)) == down
    assert Reader[Told](Told).feed(frames(told)) == told


@given(st.binary(min_size=4, max_size=200))
def test_garbage_is_refused_or_awaited_and_never_becomes_many_messages(garbage: bytes) -> None:
    reader: Reader[Up] = Reader(Up)

    try:
        said = reader.feed(garbage)
    except BadFrame:
        return

    # An empty list is a frame of no messages; all else that is accepted can be said again.
    assert Reader[Up](Up).feed(frames(said)) == said


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "no bytes are no list"),
        (b"\xc1", "a byte that msgpack never uses"),
        (msgspec.msgpack.encode({"id": 1}), "a map"),
        (msgspec.msgpack.encode([[99, 1]]), "an unknown tag"),
        (msgspec.msgpack.encode([[2, "x"]]), "an id that is no number"),
        (msgspec.msgpack.encode([[2]]), "an id that is missing"),
        (msgspec.msgpack.encode([[5, 1, len(Fault)]]), "a Fault that does not exist"),
        (msgspec.msgpack.encode([[1, 1, "s", "t", 3, [], "", 1, 1, None, 1, False]]), "a Band that does not exist"),
        (msgspec.msgpack.encode([[2, 1]]) + b"\x00", "something after the list"),
        (b"\xdd\xff\xff\xff\xff", "a list of four thousand million"),
        (b"\x91\x93\x02\xa1\xff\x01", "text that is not UTF-8"),
    ],
)
def test_a_frame_that_is_none_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(BadFrame):
        Reader[Up](Up).feed(struct.pack("<I", len(body)) + body)


def test_a_length_beyond_the_bound_is_refused_before_its_bytes_come() -> None:
    with pytest.raises(BadFrame, match=str(FRAME_LIMIT_BYTES)):
        Reader[Up](Up).feed(struct.pack("<I", FRAME_LIMIT_BYTES + 1))


def test_a_long_frame_that_comes_in_many_pieces_is_read_once() -> None:
    data = frames([Report(bytes(300_000), ())])
    reader: Reader[Up] = Reader(Up)

    said = [reader.feed(data[at : at + 1000]) for at in range(0, len(data), 1000)]

    assert all(not one for one in said[:-1])
    assert said[-1] == [Report(bytes(300_000), ())]


def test_a_turn_that_is_too_long_for_one_frame_is_several() -> None:
    quarter = Report(bytes(FRAME_LIMIT_BYTES // 4), ())

    data = frames([quarter] * 5)

    assert Reader[Up](Up).feed(data) == [quarter] * 5
    with pytest.raises(ValueError, match="the most is"):
        frames([Report(bytes(FRAME_LIMIT_BYTES), ())])
