"""AWS: spot prices of each zone from EC2, on-demand prices from the Price List API; both need credentials.

DescribeSpotPriceHistory with a start of now answers with the price in force in every zone. The Price List is asked
for Linux on shared machines; its one endpoint for all regions is in us-east-1.
"""

import importlib
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from fleetctl.catalog import MachineType, Price, PriceRow
from fleetctl.errors import AuthFailure, MissingDependency, ProviderError, Throttled, UsageError
from fleetctl.model.names import ProviderName
from fleetctl.model.services import Market
from fleetctl.prices import Ask

AWS = ProviderName("aws")
SPOT_SOURCE = "AWS DescribeSpotPriceHistory"
LIST_SOURCE = "AWS Price List API"
_LIST_REGION = "us-east-1"
_LINUX = "Linux/UNIX"
_FILTERS = {"operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA", "capacitystatus": "Used"}
_AUTH = frozenset(
    (
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "OptInRequired",
        "SignatureDoesNotMatch",
        "UnauthorizedOperation",
        "UnrecognizedClientException",
    )
)
_THROTTLED = frozenset(("RequestLimitExceeded", "Throttling", "ThrottlingException", "TooManyRequestsException"))


def prices(ask: Ask) -> Sequence[PriceRow]:
    """On-demand prices by region and spot prices by zone, of `ask.regions`. Raises `UsageError` without regions."""
    types = [machine for machine in ask.types if machine.provider == AWS]
    if not ask.regions:
        raise UsageError(
            "aws: prices are asked for region by region, and none is named",
            hint="fleetctl catalog refresh --provider aws --region us-east-1, or name them in kind: fleet",
        )
    return [*_listed(ask, types), *(row for region in ask.regions for row in _spot(ask, types, region))]


def _listed(ask: Ask, types: Sequence[MachineType]) -> Iterator[PriceRow]:
    client = _client("pricing", _LIST_REGION, ask)
    for machine in types:
        wanted = {**_FILTERS, "instanceType": machine.name}
        filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
        for page in _pages(client, "get_products", ServiceCode="AmazonEC2", Filters=filters):
            for text in page["PriceList"]:
                product = json.loads(text)
                region = product["product"]["attributes"].get("regionCode", "")
                usd = _usd(product)
                if usd and ask.wants(region):
                    yield PriceRow(
                        provider=AWS,
                        type=machine.name,
                        region=region,
                        market=Market.ON_DEMAND,
                        price=Price(usd_per_hour=usd, source=LIST_SOURCE, as_of=ask.now),
                    )


def _usd(product: dict[str, Any]) -> float | None:
    """The hourly price of a product's one on-demand term; None: it has none, as capacity blocks have not."""
    for term in product.get("terms", {}).get("OnDemand", {}).values():
        for dimension in term["priceDimensions"].values():
            usd = float(dimension["pricePerUnit"].get("USD", 0))
            if dimension["unit"] == "Hrs" and usd > 0:
                return usd
    return None


def _spot(ask: Ask, types: Sequence[MachineType], region: str) -> Iterator[PriceRow]:
    client = _client("ec2", region, ask)
    now = datetime.fromtimestamp(ask.now, UTC)
    names = [machine.name for machine in types if machine.spot]
    newest: dict[tuple[str, str], tuple[datetime, float]] = {}
    pages = _pages(
        client,
        "describe_spot_price_history",
        InstanceTypes=names,
        ProductDescriptions=[_LINUX],
        StartTime=now,
        EndTime=now,
    )
    for page in pages:
        for line in page["SpotPriceHistory"]:
            key = (line["InstanceType"], line["AvailabilityZone"])
            if line["ProductDescription"] == _LINUX and (key not in newest or newest[key][0] < line["Timestamp"]):
                newest[key] = (line["Timestamp"], float(line["SpotPrice"]))
    for (name, zone), (_, usd) in newest.items():
        if usd > 0:
            yield PriceRow(
                provider=AWS,
                type=name,
                region=region,
                zone=zone,
                market=Market.SPOT,
                price=Price(usd_per_hour=usd, source=SPOT_SOURCE, as_of=ask.now),
            )


def _client(service: str, region: str, ask: Ask) -> Any:
    try:
        boto3 = importlib.import_module("boto3")
        botocore = importlib.import_module("botocore.config")
    except ImportError as error:
        raise MissingDependency("aws: boto3 is not installed", hint="pip install 'fleetctl[aws]'") from error
    own = {} if not ask.loopback else {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
    limits = botocore.Config(connect_timeout=10, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 4})
    return boto3.client(service, region_name=region, endpoint_url=ask.endpoint, config=limits, **own)


def _pages(client: Any, call: str, **words: object) -> Iterator[dict[str, Any]]:
    """Every page of a call, its errors as ours."""
    raised = importlib.import_module("botocore.exceptions")
    try:
        yield from client.get_paginator(call).paginate(**words)
    except raised.ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        kind = AuthFailure if code in _AUTH else Throttled if code in _THROTTLED else ProviderError
        hint = "aws sts get-caller-identity shows who asks" if kind is AuthFailure else "try again"
        raise kind(f"aws: {call}: {error}", hint=hint, provider_code=code) from error
    except (raised.NoCredentialsError, raised.PartialCredentialsError) as error:
        raise AuthFailure(f"aws: {error}", hint="log in with: aws configure sso, or set AWS_PROFILE") from error
    except raised.BotoCoreError as error:
        raise ProviderError(f"aws: {call}: {error}", hint="look at this machine's way out, then try again") from error
