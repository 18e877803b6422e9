"""What a live run refuses, and what its cap holds."""

from dataclasses import replace

import pytest
from aws_world import offer
from cloud_contract import FLEET, ONE
from live_world import Purse, refusal

from fleetctl.model.instances import LaunchSpec
from fleetctl.model.names import PoolName

GOOD = '{"regions": ["us-east-1"]}'


@pytest.mark.parametrize(
    ("name", "cap", "options", "ci", "said"),
    [
        ("aws", None, GOOD, False, "--live-cap"),
        ("aws", 0.0, GOOD, False, "--live-cap"),
        ("aws", float("inf"), GOOD, False, "--live-cap"),
        ("aws", 5.0, GOOD, True, "never run in CI"),
        ("mars", 5.0, GOOD, False, "no such cloud"),
        ("aws", 5.0, "{}", False, "regions"),
        ("aws", 5.0, "regions", False, "no JSON"),
        ("aws", 5.0, '{"regions": ["r"], "endpoint": "http://127.0.0.1:1"}', False, "no real account"),
    ],
)
def test_a_live_run_is_refused(name: str, cap: float | None, options: str, ci: bool, said: str) -> None:
    refused = refusal(name, cap, options, ci=ci)

    assert refused is not None
    assert said in refused


def test_a_live_run_with_a_cap_may_begin() -> None:
    assert refusal("aws", 5.0, GOOD, ci=False) is None


def test_no_launch_goes_beyond_the_cap() -> None:
    spec = LaunchSpec(id=ONE, fleet=FLEET, pool=PoolName("gpu"), offer=replace(offer(), price_per_hour=2.0))
    purse = Purse(5.0)

    purse.pay(spec)
    purse.pay(spec)
    with pytest.raises(pytest.fail.Exception, match="nothing was launched"):
        purse.pay(spec)
    with pytest.raises(pytest.fail.Exception, match="nothing was launched"):  # no price known: it may be any
        Purse(5.0).pay(replace(spec, offer=replace(spec.offer, price_per_hour=None)))

    assert purse.spent_usd == 4.0
