"""Prices from the clouds' APIs. The servers are ours, in the shapes that the vendors document; boto3 is AWS's own."""

import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass

import price_servers as servers
import pytest

from fleetctl import prices
from fleetctl.catalog import PriceRow, load
from fleetctl.errors import AuthFailure, MissingDependency, ProviderError, Throttled, UsageError
from fleetctl.model.services import Market
from fleetctl.prices import Ask, _web, gpuhunt

NOW = 1_795_000_000.0
TYPES = load().types


@pytest.fixture(autouse=True)
def no_real_credentials(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever this machine is logged in to: none of it is to be found, and no metadata service is asked."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "GOOGLE_", "AZURE_", "CLOUDSDK_")):
            monkeypatch.delenv(name)
    for name, value in {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_CONFIG_FILE": os.devnull,
        "no_proxy": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    yield


def ask(endpoint: str, *regions: str) -> Ask:
    return Ask(types=TYPES, regions=regions, now=NOW, endpoint=endpoint)


def told(rows: list[PriceRow]) -> set[tuple[str, str, str, str, float]]:
    return {(row.type, row.region, row.zone, row.market.value, row.price.usd_per_hour) for row in rows}


# Azure

SIZE = "Standard_ND96isr_H100_v5"


def test_azure_prices_come_by_region_and_market_over_all_pages() -> None:
    items = [
        servers.azure_item(SIZE, "eastus", 98.0),
        servers.azure_item(SIZE, "eastus", 40.0, skuName="ND96isr H100 v5 Spot", meterName="ND96isr H100 v5 Spot"),
        servers.azure_item(SIZE, "westus", 99.0),
        servers.azure_item("Standard_NC4as_T4_v3", "westus", 0.5),
    ]

    with servers.serving(servers.azure(items, page=1)) as server:
        rows = list(prices.load("azure")(ask(server.url)))

    assert told(rows) == {
        (SIZE, "eastus", "", "on_demand", 98.0),
        (SIZE, "eastus", "", "spot", 40.0),
        (SIZE, "westus", "", "on_demand", 99.0),
        ("Standard_NC4as_T4_v3", "westus", "", "on_demand", 0.5),
    }
    assert {(row.price.source, row.price.as_of) for row in rows} == {("Azure retail prices API", NOW)}
    assert all(len(one.query["$filter"][0]) < 1_500 for one in server.asked)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"productName": "Virtual Machines NDsr H100 v5 Series Windows"}, id="Windows"),
        pytest.param({"skuName": "ND96isr H100 v5 Low Priority"}, id="low priority"),
        pytest.param({"type": "DevTestConsumption"}, id="another offer"),
        pytest.param({"type": "Reservation", "unitOfMeasure": "1 Hour"}, id="a reservation"),
        pytest.param({"unitOfMeasure": "1 Month"}, id="another unit"),
        pytest.param({"currencyCode": "EUR"}, id="another currency"),
        pytest.param({"retailPrice": 0.0}, id="no price yet"),
        pytest.param({"armRegionName": ""}, id="nowhere"),
    ],
)
def test_azure_items_of_another_kind_are_no_prices(changes: dict[str, object]) -> None:
    with servers.serving(servers.azure([servers.azure_item(SIZE, "eastus", 98.0, **changes)])) as server:
        assert list(prices.load("azure")(ask(server.url))) == []


def test_only_the_regions_asked_for_are_kept() -> None:
    items = [servers.azure_item(SIZE, region, 98.0) for region in ("eastus", "westus")]

    with servers.serving(servers.azure(items)) as server:
        rows = prices.load("azure")(ask(server.url, "westus"))

    assert [row.region for row in rows] == ["westus"]


# GCP

L4 = [
    servers.gcp_sku("G2 Instance Core running in Iowa", 0.025, "us-central1", group="CPU"),
    servers.gcp_sku("G2 Instance Ram running in Iowa", 0.003, "us-central1", group="RAM", unit="GiBy.h"),
    servers.gcp_sku("Nvidia L4 GPU running in Iowa", 0.56, "us-central1"),
]
SPOT_L4 = [
    servers.gcp_sku(
        "Spot Preemptible G2 Instance Core running in Iowa", 0.01, "us-central1", usage="Preemptible", group="CPU"
    ),
    servers.gcp_sku(
        "Spot Preemptible G2 Instance Ram running in Iowa",
        0.001,
        "us-central1",
        usage="Preemptible",
        group="RAM",
        unit="GiBy.h",
    ),
    servers.gcp_sku(
        "Nvidia L4 GPU attached to Spot Preemptible VMs running in Iowa", 0.2, "us-central1", usage="Preemptible"
    ),
]


def test_gcp_machines_are_the_sum_of_their_parts() -> None:
    with servers.serving(servers.gcp([*L4, *SPOT_L4])) as server:
        rows = list(prices.load("gcp")(ask(server.url)))

    found = {(row.type, row.region, row.market.value): row.price.usd_per_hour for row in rows}
    assert found["g2-standard-4", "us-central1", "on_demand"] == pytest.approx(4 * 0.025 + 16 * 0.003 + 0.56)
    assert found["g2-standard-96", "us-central1", "spot"] == pytest.approx(96 * 0.01 + 384 * 0.001 + 8 * 0.2)
    assert {row.type.split("-")[0] for row in rows} == {"g2"}
    assert len(server.asked) == 2, "two pages"
    assert "Authorization" not in server.asked[0].headers


@pytest.mark.parametrize("missing", range(3))
def test_a_gcp_machine_with_a_part_of_unknown_price_has_none(missing: int) -> None:
    with servers.serving(servers.gcp([sku for at, sku in enumerate(L4) if at != missing])) as server:
        assert list(prices.load("gcp")(ask(server.url))) == []


def test_gcp_disks_that_come_with_a_machine_are_counted_by_the_hour() -> None:
    skus = [
        servers.gcp_sku("A2 Instance Core running in Iowa", 0.03, "us-central1", group="CPU"),
        servers.gcp_sku("A2 Instance Ram running in Iowa", 0.004, "us-central1", group="RAM", unit="GiBy.h"),
        servers.gcp_sku("Nvidia Tesla A100 80GB GPU running in Iowa", 3.9, "us-central1"),
        servers.gcp_sku("SSD backed Local Storage", 0.073, "us-central1", group="LocalSSD", unit="GiBy.mo"),
    ]

    with servers.serving(servers.gcp(skus)) as server:
        rows = {row.type: row.price.usd_per_hour for row in prices.load("gcp")(ask(server.url))}

    assert rows["a2-ultragpu-1g"] == pytest.approx(12 * 0.03 + 170 * 0.004 + 3.9 + 375 * 0.073 / 730)
    assert "a2-highgpu-1g" not in rows, "the price of another A100 is not its price"


@pytest.mark.parametrize(
    "sku",
    [
        servers.gcp_sku("Commitment v1: Nvidia L4 GPU running in Iowa", 0.1, "us-central1", usage="Commit1Yr"),
        servers.gcp_sku("Reserved Nvidia L4 GPU in Iowa for 1 Year", 0.1, "us-central1"),
        servers.gcp_sku("Nvidia L4 GPU attached to DWS Defined Duration VMs running in Iowa", 0.1, "us-central1"),
        servers.gcp_sku("Nvidia L4 GPU running in Iowa", 0.1, "us-central1", unit="mo"),
        servers.gcp_sku("Nvidia L4 GPU running in Oregon", 0.1, "us-west1"),
    ],
    ids=lambda sku: str(sku["description"]),
)
def test_gcp_prices_of_other_terms_or_places_do_not_fill_a_gap(sku: dict[str, object]) -> None:
    with servers.serving(servers.gcp([L4[0], L4[1], sku])) as server:
        assert list(prices.load("gcp")(ask(server.url))) == []


# AWS


def test_aws_prices_are_the_lists_by_region_and_spot_by_zone() -> None:
    products = [
        servers.aws_product("g6.xlarge", "us-east-1", "0.8000000000"),
        servers.aws_product("g6.xlarge", "eu-west-1", "0.9000000000"),
        servers.aws_product("p5.48xlarge", "us-east-1", "0.0000000000"),
        servers.aws_product("g5.xlarge", "us-east-1", "7.0000000000", unit="Quantity"),
    ]
    spot = [
        ("g6.xlarge", "us-east-1a", "0.300000", "2026-11-20T00:00:00.000Z"),
        ("g6.xlarge", "us-east-1a", "0.350000", "2026-11-21T00:00:00.000Z"),
        ("g6.xlarge", "us-east-1b", "0.400000", "2026-11-21T00:00:00.000Z"),
    ]

    with servers.serving(servers.aws(products, spot)) as server:
        rows = list(prices.load("aws")(ask(server.url, "us-east-1")))

    assert told(rows) == {
        ("g6.xlarge", "us-east-1", "", "on_demand", 0.8),
        ("g6.xlarge", "us-east-1", "us-east-1a", "spot", 0.35),
        ("g6.xlarge", "us-east-1", "us-east-1b", "spot", 0.4),
    }
    (form,) = [one.form for one in server.asked if b"DescribeSpotPriceHistory" in one.body]
    assert form["ProductDescription.1"] == ["Linux/UNIX"]
    assert form["StartTime"] == form["EndTime"]


def test_aws_without_a_region_is_told_before_anything_is_asked() -> None:
    with servers.serving(servers.aws([], [])) as server, pytest.raises(UsageError, match="region by region"):
        prices.load("aws")(ask(server.url))

    assert server.asked == []


def test_aws_without_credentials_says_how_to_log_in() -> None:
    with pytest.raises(AuthFailure, match="credentials") as caught:
        prices.load("aws")(Ask(types=TYPES[:1], regions=("us-east-1",), now=NOW))

    assert "aws configure" in caught.value.hint


@pytest.mark.parametrize(
    ("code", "kind"),
    [("AccessDeniedException", AuthFailure), ("ThrottlingException", Throttled), ("SomethingNew", ProviderError)],
)
def test_aws_refusals_keep_their_code(code: str, kind: type[ProviderError]) -> None:
    refused = 400, "application/x-amz-json-1.1", f'{{"__type": "{code}", "message": "no"}}'.encode()

    with servers.serving(lambda _: refused) as server, pytest.raises(kind) as caught:
        prices.load("aws")(ask(server.url, "us-east-1"))

    assert type(caught.value) is kind
    assert caught.value.provider_code == code


# what all share


@pytest.mark.parametrize(
    ("status", "kind"), [(401, AuthFailure), (403, AuthFailure), (500, ProviderError), (404, ProviderError)]
)
def test_a_refused_page_is_one_of_our_errors(status: int, kind: type[ProviderError]) -> None:
    refused = servers.as_json({"error": "no"}, status)

    with servers.serving(lambda _: refused) as server, pytest.raises(kind, match=str(status)) as caught:
        prices.load("azure")(ask(server.url))

    assert type(caught.value) is kind


def test_a_page_refused_for_haste_is_asked_again() -> None:
    with servers.serving(lambda _: servers.as_json({"a": 1})) as server:
        server.fail = [servers.as_json({}, 429), servers.as_json({}, 429)]

        answer = _web.get_json(f"{server.url}/x", who="azure", pause_s=0.0)

    assert answer == {"a": 1}
    assert len(server.asked) == 3


def test_haste_has_an_end() -> None:
    with servers.serving(lambda _: servers.as_json({}, 429)) as server, pytest.raises(Throttled):
        _web.get_json(f"{server.url}/x", who="azure", pause_s=0.0)

    assert len(server.asked) == _web.TRIES


@pytest.mark.parametrize("url", ["http://example.com/", "file:///etc/hostname", "ftp://127.0.0.1/"])
def test_prices_never_come_over_an_open_line(url: str) -> None:
    with pytest.raises(ProviderError, match="https"):
        _web.get_json(url, who="azure")


def test_nonsense_and_silence_are_errors_of_the_provider() -> None:
    with servers.serving(lambda _: (200, "text/html", b"<html>")) as server:
        with pytest.raises(ProviderError, match="no JSON"):
            _web.get_json(server.url + "/", who="azure")
        gone = server.url
    with pytest.raises(ProviderError, match="does not answer"):
        _web.get_json(gone + "/", who="azure")


def test_one_source_that_fails_takes_nothing_from_another() -> None:
    items = [servers.azure_item(SIZE, "eastus", 98.0)]

    with servers.serving(servers.azure(items)) as good, servers.serving(lambda _: servers.as_json({}, 500)) as bad:
        answers = prices.refresh({"azure": ask(good.url), "gcp": ask(bad.url)})

    assert [(answer.source, len(answer.rows), answer.error is None) for answer in answers] == [
        ("azure", 1, True),
        ("gcp", 0, False),
    ]


# gpuhunt


@dataclass
class Item:
    """As gpuhunt's own CatalogItem has it, in what is read of it; written down by us."""

    provider: str = "aws"
    instance_name: str = "g6.xlarge"
    location: str = "us-east-1"
    price: float = 0.8
    spot: bool = False


def test_gpuhunts_items_of_known_machines_are_prices_with_their_origin() -> None:
    items = [Item(), Item(spot=True, price=0.3), Item(instance_name="t3.micro"), Item(price=0.0, location="eu-west-1")]

    rows = list(gpuhunt.rows(items, ask("")))

    assert told(rows) == {
        ("g6.xlarge", "us-east-1", "", "on_demand", 0.8),
        ("g6.xlarge", "us-east-1", "", "spot", 0.3),
    }
    assert {(row.price.source, row.market) for row in rows} == {
        ("gpuhunt", Market.ON_DEMAND),
        ("gpuhunt", Market.SPOT),
    }


@pytest.mark.skipif(importlib.util.find_spec("gpuhunt") is not None, reason="it is installed here")
def test_gpuhunt_that_is_not_installed_says_how_to() -> None:
    with pytest.raises(MissingDependency) as caught:
        prices.load("gpuhunt")(ask(""))

    assert caught.value.hint == "pip install gpuhunt"
