"""Who follows whom, as a story of what Nodes report."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.decide.feeds import ANCESTORS, Member, feeds, travels
from fleetctl.model.names import InstanceId
from fleetctl.model.nodes import Artifact, ArtifactState, ArtifactStatus, Feed

WEIGHTS = Artifact(kind="weights", name="s3://models/large")
TOTAL = 1_000_000_000
FAST, HALF = 100_000_000.0, 50_000_000.0


def member(name: str, status: ArtifactStatus | None = None, zone: str = "a") -> Member:
    return Member(instance=InstanceId(name), zone=zone, address=f"{name}:1", status=status)


def fetching(done: int, parent: str | None, rate: float | None = FAST) -> ArtifactStatus:
    return ArtifactStatus(
        artifact=WEIGHTS,
        state=ArtifactState.FETCHING,
        bytes_done=done,
        bytes_total=TOTAL,
        rate=rate,
        parent=InstanceId(parent) if parent is not None else None,
    )


PRESENT = ArtifactStatus(artifact=WEIGHTS, state=ArtifactState.PRESENT, bytes_done=TOTAL, bytes_total=TOTAL)


def chain(names: str, *, done: int = 500_000_000, apart: int = 1_000_000) -> list[Member]:
    """Nodes that follow each other in this order, each a little behind."""
    found = []
    for place, name in enumerate(names):
        parent = names[place - 1] if place else None
        found.append(member(name, fetching(done - place * apart, parent)))
    return found


def changed(members: list[Member], name: str, **changes: object) -> list[Member]:
    return [
        replace(one, status=replace(one.status, **changes)) if one.instance == name and one.status else one  # type: ignore[arg-type]
        for one in members
    ]


def first_parents(found: dict[InstanceId, Feed]) -> dict[str, str]:
    return {name: feed.parents[0].instance if feed.parents else "" for name, feed in sorted(found.items())}


def test_nodes_that_have_nothing_yet_stand_in_one_chain_behind_one_seed() -> None:
    found = feeds(WEIGHTS, [member(name) for name in "cabd"])

    assert first_parents(found) == {"a": "", "b": "a", "c": "b", "d": "c"}


def test_each_knows_those_before_it_and_the_first() -> None:
    found = feeds(WEIGHTS, [member(name) for name in "abcdefgh"])

    assert [peer.instance for peer in found[InstanceId("h")].parents] == ["g", "f", "e", "a"]
    assert [peer.address for peer in found[InstanceId("b")].parents] == ["a:1"]


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([], "nobody wants it"),
        ([member("a")], "one Node has nobody to share with"),
        ([member("a", PRESENT), member("b", PRESENT)], "all have it"),
        ([member("a"), member("b", zone="b")], "zones do not feed each other"),
    ],
)
def test_no_feeds(members: list[Member], why: str) -> None:
    assert feeds(WEIGHTS, members) == {}, why


def test_each_zone_has_a_chain_and_a_seed_of_its_own() -> None:
    found = feeds(WEIGHTS, [member("a"), member("b"), member("x", zone="b"), member("y", zone="b")])

    assert first_parents(found) == {"a": "", "b": "a", "x": "", "y": "x"}


def test_as_many_chains_as_nodes_that_hold_it() -> None:
    holders = [member("h1", PRESENT), member("h2", PRESENT)]

    found = feeds(WEIGHTS, [*holders, *(member(name) for name in "abcd")])

    assert first_parents(found) == {"a": "h1", "b": "h2", "c": "a", "d": "b"}


def test_an_order_that_works_is_kept_whatever_a_moment_s_numbers_say() -> None:
    members = chain("dbca", apart=0)
    members = changed(members, "a", bytes_done=500_300_000)

    assert first_parents(feeds(WEIGHTS, members)) == {"d": "", "b": "d", "c": "b", "a": "c"}


def test_whoever_comes_later_comes_last() -> None:
    members = [*chain("bcd"), member("a")]

    assert first_parents(feeds(WEIGHTS, members)) == {"b": "", "c": "b", "d": "c", "a": "d"}


def test_only_the_orphan_moves_when_a_node_cannot_be_asked() -> None:
    members = [one for one in chain("abcde") if one.instance != "c"]

    assert first_parents(feeds(WEIGHTS, members)) == {"a": "", "b": "a", "d": "b", "e": "d"}


def test_the_seed_s_follower_becomes_the_seed() -> None:
    members = [one for one in chain("abcd") if one.instance != "a"]

    assert first_parents(feeds(WEIGHTS, members)) == {"b": "", "c": "b", "d": "c"}


def test_one_that_stands_still_beside_more_goes_last_and_those_behind_it_stay() -> None:
    members = chain("abcde")
    members = changed(members, "c", bytes_done=400_000_000, rate=None)
    members = changed(members, "d", bytes_done=399_000_000, rate=None)
    members = changed(members, "e", bytes_done=398_000_000, rate=None)

    assert first_parents(feeds(WEIGHTS, members)) == {"a": "", "b": "a", "d": "b", "e": "d", "c": "e"}


def test_one_at_half_the_rate_goes_last_and_those_that_it_held_up_stay() -> None:
    members = chain("abcde")
    members = changed(members, "c", bytes_done=420_000_000, rate=HALF)
    members = changed(members, "d", bytes_done=419_000_000, rate=HALF)
    members = changed(members, "e", bytes_done=418_000_000, rate=HALF)

    assert first_parents(feeds(WEIGHTS, members)) == {"a": "", "b": "a", "d": "b", "e": "d", "c": "e"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"bytes_done": 420_000_000, "rate": 0.8 * FAST}, "a fifth slower is no other kind of link"),
        ({"rate": HALF}, "it is hardly behind: a moment's rate"),
        ({"bytes_done": 420_000_000, "rate": 0.0}, "it has only just begun to follow"),
        ({"bytes_done": TOTAL, "rate": None}, "it makes sure of what it has"),
        ({"bytes_done": 497_000_000, "rate": None}, "it has all that the one before it has"),
    ],
)
def test_not_every_difference_is_a_fault(changes: dict[str, object], why: str) -> None:
    members = changed(chain("abcd"), "b", **changes)

    assert first_parents(feeds(WEIGHTS, members)) == {"a": "", "b": "a", "c": "b", "d": "c"}, why


def test_one_that_failed_goes_last() -> None:
    members = changed(chain("abcd"), "b", state=ArtifactState.FAILED, rate=None)

    assert first_parents(feeds(WEIGHTS, members))["b"] == "d"


def test_a_seed_that_stands_still_makes_way() -> None:
    members = [changed(chain("abc"), one, rate=None)[place] for place, one in enumerate("abc")]

    assert first_parents(feeds(WEIGHTS, members)) == {"b": "", "c": "b", "a": "c"}


def test_of_two_that_fetch_from_the_origin_the_one_that_has_less_follows() -> None:
    members = [member("a", fetching(10_000_000, None)), member("b", fetching(90_000_000, None))]

    assert first_parents(feeds(WEIGHTS, members)) == {"a": "b", "b": ""}


def test_a_node_that_has_all_is_followed_further_by_those_who_did() -> None:
    members = changed(chain("abc", done=TOTAL), "a", state=ArtifactState.PRESENT, rate=None)

    assert first_parents(feeds(WEIGHTS, members)) == {"b": "a", "c": "b"}


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("weights", "hf://org/model", True),
        ("weights", "https://host/model.gguf", True),
        ("weights", "file:///models/x", False),
        ("weights", "org/model", False),
        ("weights", "engine+hf://org/model", False),
        ("weights", "rehearsal://tiny", False),
        ("image", "vllm/vllm-openai@sha256:1", True),
        ("cache", "abc", True),
    ],
)
def test_what_travels(kind: str, name: str, expected: bool) -> None:
    assert travels(Artifact(kind=kind, name=name)) is expected  # type: ignore[arg-type]


NAMES = "abcdefgh"
statuses = st.one_of(
    st.none(),
    st.just(PRESENT),
    st.builds(
        fetching,
        st.integers(0, TOTAL),
        st.one_of(st.none(), st.sampled_from([*NAMES, "gone"])),
        st.one_of(st.none(), st.floats(0, 2 * FAST)),
    ),
    st.builds(lambda: replace(fetching(5, None), state=ArtifactState.FAILED)),
)


@given(st.lists(st.tuples(st.sampled_from(NAMES), statuses, st.sampled_from("xy")), unique_by=lambda row: row[0]))
def test_whatever_nodes_report_everybody_is_fed_and_nobody_in_a_circle(
    rows: list[tuple[str, ArtifactStatus | None, str]],
) -> None:
    members = [member(name, status, zone) for name, status, zone in rows]
    zones = {one.instance: one.zone for one in members}

    found = feeds(WEIGHTS, members)

    assert found == feeds(WEIGHTS, list(reversed(members)))
    lacking = {one.instance for one in members if not one.holds and sum(z == one.zone for z in zones.values()) > 1}
    assert set(found) == lacking
    for name, feed in found.items():
        assert len(feed.parents) <= ANCESTORS + 1
        assert all(zones[peer.instance] == zones[name] for peer in feed.parents)
    for zone in "xy":
        seeds = [name for name, feed in found.items() if zones[name] == zone and not feed.parents]
        held = any(one.holds for one in members if one.zone == zone)
        in_zone = [name for name in found if zones[name] == zone]
        assert len(seeds) == (0 if held or not in_zone else 1)
    for name in found:
        path = [name]
        while path[-1] in found and found[path[-1]].parents:
            path.append(found[path[-1]].parents[0].instance)
            assert len(path) <= len(members), "a circle"
