"""`fleetctl catalog refresh` against stand-ins of the price APIs; the stand-ins are ours, in the documented shapes."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import price_servers as servers
import pytest

SIZE = "Standard_ND96isr_H100_v5"
L4 = [
    servers.gcp_sku("G2 Instance Core running in Iowa", 0.025, "us-central1", group="CPU"),
    servers.gcp_sku("G2 Instance Ram running in Iowa", 0.003, "us-central1", group="RAM", unit="GiBy.h"),
    servers.gcp_sku("Nvidia L4 GPU running in Iowa", 0.56, "us-central1"),
]


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    out: str
    err: str


def fleetctl(home: Path, *words: str, code: int = 0) -> Ran:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("FLEETCTL_", "AWS_", "GOOGLE_", "AZURE_"))
    }
    done = subprocess.run(
        [sys.executable, "-m", "fleetctl", *words],
        env={**kept, "FLEETCTL_HOME": str(home), "AWS_EC2_METADATA_DISABLED": "true", "no_proxy": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


def items(ran: Ran) -> list[dict[str, Any]]:
    found = json.loads(ran.out)["items"]
    assert isinstance(found, list)
    return found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_refreshed_prices_are_kept_with_source_and_date_and_sort_the_offers(home: Path) -> None:
    rows = [servers.azure_item(SIZE, "eastus", 98.0), servers.azure_item(SIZE, "westus", 90.0)]
    spot = [("p5.48xlarge", "us-east-1a", "40.0", "2026-11-21T00:00:00.000Z")]
    products = [servers.aws_product("p5.48xlarge", "us-east-1", "55.04")]

    with servers.serving(servers.azure(rows)) as azure, servers.serving(servers.aws(products, spot)) as aws:
        words = ["--endpoint", f"azure={azure.url}", "--endpoint", f"aws={aws.url}", "--region", "us-east-1"]
        told = items(
            fleetctl(home, "catalog", "refresh", "-p", "azure", "-p", "aws", *words, "-r", "westus", "-o", "json")
        )
    found = items(fleetctl(home, "offers", "--catalog", "--gpu", "H100:8", "-o", "json"))
    on_spot = items(fleetctl(home, "offers", "--catalog", "--gpu", "H100:8", "--spot", "-p", "aws", "-o", "json"))

    assert {(row["source"], row["prices"], row["error"]) for row in told} == {("azure", 1, ""), ("aws", 2, "")}
    priced = [(row["type"], row["zone"], row["price_per_gpu_hour"], row["price_source"]) for row in found[:2]]
    assert priced == [
        ("p5.48xlarge", "us-east-1", 6.88, "AWS Price List API"),
        (SIZE, "westus", 11.25, "Azure retail prices API"),
    ]
    assert all(0 <= row["price_age_s"] < 120 for row in found[:2])
    assert all(row["price_per_hour"] is None for row in found[2:])
    assert [(row["region"], row["zone"], row["price_per_hour"]) for row in on_spot] == [
        ("us-east-1", "us-east-1a", 40.0)
    ]


def test_what_is_not_asked_again_stays_and_what_is_gone_goes(home: Path) -> None:
    first = [servers.azure_item(SIZE, region, 98.0) for region in ("eastus", "westus")]
    second = [servers.azure_item("Standard_NC4as_T4_v3", "westus", 0.5)]

    for rows, words in ((first, ()), (second, ("-r", "westus"))):
        with servers.serving(servers.azure(rows)) as azure:
            fleetctl(home, "catalog", "refresh", "-p", "azure", "--endpoint", f"azure={azure.url}", *words)
    with servers.serving(servers.gcp(L4)) as gcp:
        fleetctl(home, "catalog", "refresh", "-p", "gcp", "--endpoint", f"gcp={gcp.url}")
    kept = {tuple(line.split(",")[:3]) for line in (home / "catalog" / "prices.csv").read_text().splitlines()[1:]}

    assert {row for row in kept if row[0] == "azure"} == {
        ("azure", SIZE, "eastus"),
        ("azure", "Standard_NC4as_T4_v3", "westus"),
    }
    assert ("gcp", "g2-standard-4", "us-central1") in kept


def test_a_source_that_fails_is_told_and_takes_nothing_away(home: Path) -> None:
    rows = [servers.azure_item(SIZE, "eastus", 98.0)]

    with servers.serving(servers.azure(rows)) as azure, servers.serving(lambda _: servers.as_json({}, 403)) as gcp:
        words = ["--endpoint", f"azure={azure.url}", "--endpoint", f"gcp={gcp.url}"]
        both = fleetctl(home, "catalog", "refresh", "-p", "azure", "-p", "gcp", *words, code=1)
        before = (home / "catalog" / "prices.csv").read_text()
        alone = fleetctl(home, "catalog", "refresh", "-p", "gcp", *words, code=5)
    with servers.serving(servers.azure([])) as azure:
        empty = fleetctl(home, "catalog", "refresh", "-p", "azure", "--endpoint", f"azure={azure.url}", code=1)

    assert "answered 403" in both.out
    assert "1 price in" in both.err
    assert "answered 403" in alone.err
    assert "no price of any machine that fleetctl knows" in empty.err
    assert (home / "catalog" / "prices.csv").read_text() == before


def test_prices_of_more_than_a_week_ago_are_flagged(home: Path) -> None:
    folder = home / "catalog"
    folder.mkdir(parents=True)
    (folder / "prices.csv").write_text(
        "provider,type,region,zone,market,usd_per_hour,source,as_of\n"
        "aws,p5.48xlarge,us-east-1,,on_demand,55.04,AWS Price List API,2025-01-01T00:00:00+00:00\n"
    )

    offers = fleetctl(home, "offers", "--catalog", "--gpu", "H100:8", "-p", "aws")
    types = fleetctl(home, "catalog", "ls", "--gpu", "H100:8", "-p", "aws")

    assert "AWS Price List API, " in offers.out
    assert "(old)" in offers.out
    assert "(old)" in types.out
    assert "more than 7 days ago; ask anew: fleetctl catalog refresh" in offers.err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        pytest.param([], "no cloud is set up", id="nothing named"),
        pytest.param(["-p", "nowhere"], "no source of prices is called 'nowhere'", id="an unknown source"),
        pytest.param(["-p", "azure", "--endpoint", "azure"], "is not NAME=URL", id="no address"),
    ],
)
def test_wrong_words_are_told(home: Path, words: list[str], why: str) -> None:
    ran = fleetctl(home, "catalog", "refresh", *words, code=2)

    assert why in ran.err
    assert not home.exists()
