"""Attempts at places: what came of each, and until when it rests."""

from dataclasses import replace

from fleet_world import a_service, an_offer

from fleetctl.decide.attempts import attempts
from fleetctl.decide.rests import RETRY_FIRST_S
from fleetctl.model.instances import Instance, InstancePhase, Offer
from fleetctl.model.names import InstanceId
from fleetctl.model.places import Experience, place_of

NOW = 1000.0
EMPTY = replace(an_offer(), zone="z-1", region="z")
FULL = replace(an_offer(), zone="z-2", region="z")


def a_row(number: int, offer: Offer, **changed: object) -> Instance:
    return replace(
        Instance(
            id=InstanceId(f"gpu-{number}"),
            pool=a_service().pool_name,
            offer=offer,
            phase_at=NOW - 50,
            created_at=NOW - 50,
        ),
        **changed,  # type: ignore[arg-type]
    )


def refused(number: int, offer: Offer, at: float, code: str = "capacity") -> Instance:
    return a_row(
        number, offer, phase=InstancePhase.TERMINATED, failures=1, failed_at=at, failure="none left", failure_code=code
    )


def test_a_place_that_refused_rests_and_the_next_one_was_granted() -> None:
    rows = [refused(1, EMPTY, NOW - 1.0), a_row(2, FULL, phase=InstancePhase.READY, booted_at=NOW - 10.0)]
    place = str(place_of(EMPTY))
    known = {place: Experience(place=place_of(EMPTY), at=NOW, short=1.0)}

    granted, resting = attempts(rows, known, NOW)

    assert (granted.outcome, granted.failures, granted.rests_until, granted.at) == ("ready", 0, None, NOW - 10.0)
    assert (resting.place, resting.outcome, resting.detail) == (place, "capacity", "none left")
    assert resting.rests_until == NOW - 1.0 + RETRY_FIRST_S
    assert resting.shortage == 0.5


def test_each_failure_in_a_row_doubles_the_rest_and_a_success_ends_it() -> None:
    rows = [refused(number, EMPTY, NOW - 4.0 + number) for number in (1, 2, 3)]

    (before,) = attempts(rows, {}, NOW)
    (after,) = attempts([*rows, a_row(4, EMPTY, phase=InstancePhase.READY, booted_at=NOW)], {}, NOW)

    assert (before.attempts, before.failures) == (3, 3)
    assert before.rests_until == NOW - 1.0 + 4 * RETRY_FIRST_S
    assert (after.outcome, after.failures, after.rests_until) == ("ready", 3, None)


def test_a_quota_rests_every_zone_of_its_region() -> None:
    rows = [refused(1, EMPTY, NOW - 1.0, "quota"), a_row(2, FULL, phase=InstancePhase.BOOTING)]

    found = {one.place: one for one in attempts(rows, {}, NOW)}

    assert found[str(place_of(FULL))].outcome == "booting"
    assert found[str(place_of(FULL))].rests_until == found[str(place_of(EMPTY))].rests_until is not None
