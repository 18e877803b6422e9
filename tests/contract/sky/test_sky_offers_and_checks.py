"""Offers, settings and checks. Judge: a table and a state that the stand-in of ours holds."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from cloud_contract import FLEET
from sky_world import DATE, POOL, World

from fleetctl.errors import UsageError
from fleetctl.model.services import Gpu, Market, Placement, Pool


def pool(*gpu: Gpu, **placement: object) -> Pool:
    return replace(POOL, gpu=gpu or POOL.gpu, placement=Placement(**placement))  # type: ignore[arg-type]


async def test_offers_are_those_of_clouds_that_fleetctl_does_not_know_itself(sky: World) -> None:
    provider = sky.make(FLEET)

    offers = await provider.offers(pool())
    eight = await provider.offers(pool(Gpu(name="H100", count=8)))
    named = await sky.make(FLEET, clouds=["aws"]).offers(pool(Gpu(name="H100", count=8)))

    assert [(one.zone, one.instance_type, one.price_per_hour) for one in offers] == [
        ("lambda/us-east-1", "gpu_1x_h100", 2.49),
        ("lambda/us-west-2", "gpu_1x_h100", 2.59),
        ("runpod/CA", "1x_H100_SECURE", 3.29),
    ]
    assert {(one.price_source, one.price_as_of) for one in offers} == {("skypilot catalog v8", DATE)}
    assert [one.zone for one in eight] == ["lambda/us-east-1"]
    assert [(one.zone, one.price_per_hour) for one in named] == [("aws/us-east-1", None)], "its table has no date here"


async def test_spot_is_offered_where_it_is_sold(sky: World) -> None:
    provider = sky.make(FLEET)

    spot = await provider.offers(pool(market=Market.SPOT))
    reserved = await provider.offers(pool(market=Market.RESERVED))

    assert [(one.zone, one.price_per_hour, one.market) for one in spot] == [("runpod/CA", 1.5, Market.SPOT)]
    assert reserved == ()


async def test_gpus_have_our_names_and_a_zero_is_no_price(sky: World) -> None:
    provider = sky.make(FLEET)

    offers = await provider.offers(pool(Gpu(name="A100")))

    assert [(str(one.gpu), one.zone, one.price_per_hour) for one in offers] == [
        ("A100-40GB:1", "lambda/us-east-1", 1.29),
        ("A100-80GB:1", "runpod/US", None),
    ]


@pytest.mark.parametrize(
    ("regions", "zones"),
    [
        (("us-west-2",), ["lambda/us-west-2"]),
        (("runpod",), ["runpod/CA"]),
        (("lambda/us-east-1", "CA"), ["lambda/us-east-1", "runpod/CA"]),
    ],
)
async def test_regions_may_be_named_with_and_without_their_cloud(
    sky: World, regions: tuple[str, ...], zones: list[str]
) -> None:
    by_pool = await sky.make(FLEET).offers(pool(regions=regions))
    by_fleet = await sky.make(FLEET, regions=list(regions)).offers(pool())

    assert [one.zone for one in by_pool] == [one.zone for one in by_fleet] == zones


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"region": "x"}, "providers.sky.region: there is no such setting"),
        ({"clouds": "lambda"}, "providers.sky.clouds: a list of texts is wanted"),
        ({"server": "127.0.0.1"}, "providers.sky.server: a URL"),
        ({"address": "{host}"}, r"providers.sky.address: a template of \{id\}, \{ip\}, \{user\} and \{port\}"),
    ],
)
def test_wrong_settings_are_named(sky: World, options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        sky.make(FLEET, **options)


async def test_checks_say_what_is_missing(sky: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no rsync there, and the stand-in names its Python by path
    here = {check.check: check for check in await sky.make(FLEET, server="").checks((POOL,))}
    other = {check.check: check for check in await sky.make(FLEET, clouds=["nebius"]).checks((POOL,))}

    assert here["sky/rsync"].status == "fail"
    assert here["sky/environment"].status == here["sky/clouds"].status == here["sky/listing"].status == "ok"
    assert "sky/rsync" not in other, "a server elsewhere has its own"
    assert (other["sky/clouds"].status, "nebius" in other["sky/clouds"].detail) == ("fail", True)
    assert "--with nebius" in other["sky/clouds"].fix


async def test_old_prices_are_flagged(sky: World) -> None:
    for cloud in ("lambda", "runpod"):
        sky.date(cloud, time.time() - 3600)
    fresh = {check.check: check for check in await sky.make(FLEET).checks((POOL,))}
    sky.date("lambda", time.time() - 8 * 86_400)
    old = {check.check: check for check in await sky.make(FLEET).checks((POOL,))}

    assert fresh["sky/offers"].status == "ok"
    assert old["sky/offers"].status == "warn"
    assert "8.0 days" in old["sky/offers"].detail
