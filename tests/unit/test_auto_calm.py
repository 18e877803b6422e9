"""What a calm stretch proves, and for how long."""

from fleetctl.decide.auto.calm import PROOF_S, RISING_S, enough, raw_load, watched
from fleetctl.model.learning import Calm, Record

TICK_S = 10.0


def after(seconds: float, *, load: float = 2.0, ready: int = 4, waits: bool = False, begin: Calm | None = None) -> Calm:
    """So long a stretch of such load, from time 0 or from where `begin` left off at 100,000 s."""
    calm, at = (Calm(), 0.0) if begin is None else (begin, 100_000.0)
    for _ in range(round(seconds / TICK_S)):
        at += TICK_S
        calm = watched(calm, now=at, load=load, ready=ready, waits=waits)
    return calm


def test_a_fleet_that_let_nobody_wait_is_enough_for_the_load_it_carried() -> None:
    calm = after(PROOF_S + 100.0)

    assert enough(calm, now=PROOF_S + 100.0, load=2.0) == 4
    assert enough(calm, now=PROOF_S + 100.0, load=2.2) is None, "that is more than it has carried"
    assert enough(after(PROOF_S / 2), now=PROOF_S / 2, load=1.0) is None, "too short to prove anything"


def test_the_fewest_count() -> None:
    calm = after(100.0, ready=3, begin=after(PROOF_S + 100.0, ready=4))

    assert enough(calm, now=100_100.0, load=2.0) == 3
    assert enough(after(100.0, ready=2, load=0.5, begin=calm), now=100_200.0, load=2.0) == 3, "those had less to do"


def test_a_wait_ends_the_proof() -> None:
    calm = after(TICK_S, waits=True, begin=after(PROOF_S + 100.0))

    assert enough(calm, now=100_020.0, load=1.0) is None
    assert enough(calm, now=200_000.0, load=1.0) is None, "and nothing is known of what is enough"


def test_rising_load_proves_nothing_of_what_comes_next() -> None:
    calm = after(TICK_S, load=3.0, begin=after(PROOF_S + 100.0))

    assert enough(calm, now=100_010.0 + RISING_S / 2, load=3.0) is None
    assert enough(calm, now=100_010.0 + RISING_S, load=3.0) == 4


def test_the_load_of_a_minute_needs_tokens_only() -> None:
    record = Record(first=0, arrivals=(1.0,) * 24, input_tokens=(500.0,) * 24, output_tokens=(100.0,) * 24)

    assert raw_load(record) > 0
    assert raw_load(record) == raw_load(
        Record(
            arrivals=record.arrivals[:12],
            input_tokens=record.input_tokens[:12],
            output_tokens=record.output_tokens[:12],
        )
    )
    assert raw_load(Record()) == 0.0
