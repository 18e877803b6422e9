"""What Nodes say to each other, and what they do not believe."""

import pytest

from fleetctl.agent.chunks.hashes import blake3, key_of
from fleetctl.agent.chunks.layout import CHUNK_LEAST_BYTES, File, Layout
from fleetctl.agent.chunks.wire import (
    FRAME_BYTES,
    SKEW_MAX_S,
    Ask,
    Door,
    Frame,
    Headers,
    Seal,
    name_of,
    runs,
    signed,
    unfolded,
)
from fleetctl.model.nodes import Artifact

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
LAYOUT = Layout(revision="r", files=(File(path="a", size=9 * CHUNK_LEAST_BYTES),), chunk_size=CHUNK_LEAST_BYTES)
NOW = 1_700_000_000.0


def refusal(door: Door, key: bytes = KEY, now: float = NOW, **changes: str) -> str | None:
    headers = signed(key, "POST", "/v1/x", b"body", NOW)
    headers.update({name.replace("_", "-"): value for name, value in changes.items() if name.startswith("X_")})
    pairs = Headers(headers.items())
    asked = {"method": "POST", "path": "/v1/x", "body": "body"} | changes
    return door.refusal(KEY, asked["method"], asked["path"], asked["body"].encode(), pairs, now)


def test_a_question_of_the_fleet_is_let_in() -> None:
    assert refusal(Door()) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "GET"}, "signed with another key"),
        ({"path": "/v1/y"}, "signed with another key"),
        ({"body": "bodY"}, "signed with another key"),
        ({"X_Fleetctl_Nonce": "00"}, "signed with another key"),
        ({"X_Fleetctl_Time": str(NOW + 1)}, "signed with another key"),
        ({"X_Fleetctl_Mac": "00" * 32}, "signed with another key"),
        ({"X_Fleetctl_Mac": ""}, "signed with another key"),
        ({"X_Fleetctl_Mac": "no hex"}, "not signed"),
        ({"X_Fleetctl_Time": "soon"}, "not signed"),
        ({"X_Fleetctl_Nonce": "\udcff"}, "not signed"),
    ],
)
def test_a_question_that_was_changed_is_not(changes: dict[str, str], said: str) -> None:
    assert refusal(Door(), **changes) == said


def test_nor_one_of_another_fleet() -> None:
    assert refusal(Door(), key=OTHER) == "signed with another key"


@pytest.mark.parametrize("away_s", [SKEW_MAX_S + 1, -SKEW_MAX_S - 1])
def test_nor_one_of_another_time(away_s: float) -> None:
    assert refusal(Door(), now=NOW + away_s) == f"signed {away_s:.0f} s ago"


def test_nor_the_same_twice_for_as_long_as_it_would_be_believed() -> None:
    door = Door()
    headers = Headers(signed(KEY, "GET", "/", b"", NOW).items())

    said = [door.refusal(KEY, "GET", "/", b"", headers, NOW + age) for age in (0, 1, SKEW_MAX_S, SKEW_MAX_S + 1)]

    assert said == [None, "asked before", "asked before", "signed 121 s ago"]


def seals(nonce: str = "n", key: bytes = KEY, layout: Layout = LAYOUT) -> Seal:
    return Seal(key, nonce, layout)


def test_a_frame_says_which_chunk_comes() -> None:
    frame = seals().chunk(3, 70, blake3(b"x"))

    assert len(frame) == FRAME_BYTES
    assert seals().open(frame) == Frame("chunk", 3, 70, blake3(b"x"))


@pytest.mark.parametrize("bit", range(0, FRAME_BYTES * 8, 7))
def test_a_frame_of_which_any_bit_was_changed_is_not_believed(bit: int) -> None:
    frame = bytearray(seals().chunk(3, 70, blake3(b"x")))

    frame[bit // 8] ^= 1 << bit % 8

    assert seals().open(frame) is None


@pytest.mark.parametrize(
    "other",
    [
        seals(nonce="another question"),
        seals(key=OTHER),
        seals(layout=Layout(revision="r2", files=LAYOUT.files, chunk_size=CHUNK_LEAST_BYTES)),
    ],
)
def test_a_frame_answers_one_question_of_one_fleet_about_one_layout(other: Seal) -> None:
    assert other.open(seals().chunk(3, 70, blake3(b"x"))) is None


def test_a_sign_of_life_counts_once() -> None:
    sender, receiver = seals(), seals()
    beats = [sender.alive(), sender.alive()]

    heard = [receiver.open(beat) for beat in (beats[0], beats[0], beats[1])]

    assert [frame and frame.kind for frame in heard] == ["alive", None, None]


@pytest.mark.parametrize("indexes", [[], [0], [0, 1, 2], [1, 3, 4, 8]])
def test_runs_name_the_same_chunks(indexes: list[int]) -> None:
    assert unfolded(Ask(layout="", wanted=runs(indexes)), 9) == indexes


@pytest.mark.parametrize("wanted", [[(0, 9)], [(3, 2)], [(2, 3), (3, 4)], [(5, 6), (1, 2)], [(-1, 2)]])
def test_chunks_that_there_are_not_are_not_asked_for(wanted: list[tuple[int, int]]) -> None:
    assert unfolded(Ask(layout="", wanted=wanted), 9) is None


@pytest.mark.parametrize(("text", "found"), [("", False), ("zz", False), ("ab" * 31, False), ("ab" * 32, True)])
def test_a_key_is_whole_or_none(text: str, found: bool) -> None:
    assert (key_of(text) is not None) is found


def test_names_tell_kinds_apart() -> None:
    assert name_of(Artifact(kind="weights", name="a")) != name_of(Artifact(kind="cache", name="a"))
