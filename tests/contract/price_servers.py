"""Stand-ins of the clouds' price APIs, over real HTTP on a loopback port.

The shapes are those of the vendors' public documentation, written down by us: they are no judge of our reading of it.
Prices are invented.
"""

import json
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, str, bytes]
"""Status, kind of content, body."""


@dataclass(slots=True)
class Asked:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, list[str]]:
        return urllib.parse.parse_qs(self.body.decode())


@dataclass(slots=True)
class PriceServer:
    """Answers with `answer`; `fail` answers come first, one a request."""

    url: str
    answer: Callable[[Asked], Answer]
    asked: list[Asked] = field(default_factory=list)
    fail: list[Answer] = field(default_factory=list)


def as_json(body: object, status: int = 200) -> Answer:
    return status, "application/json", json.dumps(body).encode()


@contextmanager
def serving(answer: Callable[[Asked], Answer]) -> Iterator[PriceServer]:
    """A server on a free port of 127.0.0.1, ended with the block."""

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            parts = urllib.parse.urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = Asked(self.command, parts.path, urllib.parse.parse_qs(parts.query), dict(self.headers), body)
            made.asked.append(asked)
            status, kind, text = made.fail.pop(0) if made.fail else made.answer(asked)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = _do
        do_POST = _do

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made = PriceServer(url=f"http://127.0.0.1:{server.server_address[1]}", answer=answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join(10.0)
        server.server_close()


# Azure: https://learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices


def azure_item(size: str, region: str, usd: float, **changes: Any) -> dict[str, Any]:
    return {
        "currencyCode": "USD",
        "tierMinimumUnits": 0.0,
        "retailPrice": usd,
        "unitPrice": usd,
        "armRegionName": region,
        "location": region.upper(),
        "effectiveStartDate": "2026-01-01T00:00:00Z",
        "meterId": "0",
        "meterName": size.removeprefix("Standard_").replace("_", " "),
        "productId": "0",
        "skuId": "0",
        "productName": "Virtual Machines Series",
        "skuName": size.removeprefix("Standard_").replace("_", " "),
        "serviceName": "Virtual Machines",
        "serviceId": "0",
        "serviceFamily": "Compute",
        "unitOfMeasure": "1 Hour",
        "type": "Consumption",
        "isPrimaryMeterRegion": True,
        "armSkuName": size,
        **changes,
    }


def azure(items: list[dict[str, Any]], *, page: int = 100) -> Callable[[Asked], Answer]:
    """The retail prices API: filters by size alone, answers in pages whose links name the real host."""

    def answer(asked: Asked) -> Answer:
        assert asked.path == "/api/retail/prices", asked.path
        wanted = asked.query["$filter"][0]
        found = [item for item in items if f"armSkuName eq '{item['armSkuName']}'" in wanted]
        skip = int(asked.query.get("$skip", ["0"])[0])
        link = None
        if skip + page < len(found):
            words = urllib.parse.urlencode({"$filter": wanted, "$skip": skip + page})
            link = f"https://prices.azure.com:443/api/retail/prices?{words}"
        rows = found[skip : skip + page]
        return as_json(
            {
                "BillingCurrency": "USD",
                "CustomerEntityId": "Default",
                "CustomerEntityType": "Retail",
                "Items": rows,
                "NextPageLink": link,
                "Count": len(rows),
            }
        )

    return answer


# GCP: https://cloud.google.com/billing/docs/reference/rest/v1/services.skus/list


def gcp_sku(
    told: str, usd: float, *regions: str, usage: str = "OnDemand", group: str = "GPU", unit: str = "h"
) -> dict[str, Any]:
    family = "Storage" if group == "LocalSSD" else "Compute"
    nanos = round(usd * 1e9)
    return {
        "name": "services/6F81-5844-456A/skus/0000-0000-0000",
        "skuId": "0000-0000-0000",
        "description": told,
        "category": {
            "serviceDisplayName": "Compute Engine",
            "resourceFamily": family,
            "resourceGroup": group,
            "usageType": usage,
        },
        "serviceRegions": list(regions),
        "pricingInfo": [
            {
                "summary": "",
                "pricingExpression": {
                    "usageUnit": unit,
                    "displayQuantity": 1,
                    "tieredRates": [
                        {
                            "startUsageAmount": 0,
                            "unitPrice": {
                                "currencyCode": "USD",
                                "units": str(nanos // 10**9),
                                "nanos": nanos % 10**9,
                            },
                        }
                    ],
                },
                "currencyConversionRate": 1,
                "effectiveTime": "2026-11-01T00:00:00Z",
            }
        ],
        "serviceProviderName": "Google",
    }


def gcp(skus: list[dict[str, Any]], *, page: int = 3) -> Callable[[Asked], Answer]:
    """The billing catalog: pages by token."""

    def answer(asked: Asked) -> Answer:
        assert asked.path == "/v1/services/6F81-5844-456A/skus", asked.path
        assert asked.query["currencyCode"] == ["USD"]
        at = int(asked.query.get("pageToken", ["0"])[0])
        token = str(at + page) if at + page < len(skus) else ""
        return as_json({"skus": skus[at : at + page], "nextPageToken": token})

    return answer


# AWS: https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_pricing_GetProducts.html and
# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSpotPriceHistory.html


def aws_product(type_: str, region: str, usd: str, unit: str = "Hrs") -> str:
    """One entry of the Price List: JSON in a string."""
    return json.dumps(
        {
            "product": {
                "productFamily": "Compute Instance",
                "attributes": {"instanceType": type_, "regionCode": region, "operatingSystem": "Linux"},
                "sku": "X",
            },
            "serviceCode": "AmazonEC2",
            "terms": {
                "OnDemand": {
                    "X.JRTCKXETXF": {
                        "priceDimensions": {
                            "X.JRTCKXETXF.6YS6EN2CT7": {
                                "unit": unit,
                                "description": "",
                                "pricePerUnit": {"USD": usd},
                            }
                        },
                        "sku": "X",
                        "effectiveDate": "2026-11-01T00:00:00Z",
                    }
                }
            },
        }
    )


def aws(products: list[str], spot: list[tuple[str, str, str, str]]) -> Callable[[Asked], Answer]:
    """The Price List (JSON 1.1), and EC2's DescribeSpotPriceHistory (query and XML) with (type, zone, price, time)."""

    def answer(asked: Asked) -> Answer:
        if asked.headers.get("X-Amz-Target", "").endswith(".GetProducts"):
            body = json.loads(asked.body)
            named = {one["Value"] for one in body["Filters"] if one["Field"] == "instanceType"}
            found = [text for text in products if json.loads(text)["product"]["attributes"]["instanceType"] in named]
            at = int(body.get("NextToken") or 0)
            page = {"FormatVersion": "aws_v1", "PriceList": found[at : at + 1]}
            if at + 1 < len(found):
                page["NextToken"] = str(at + 1)
            return 200, "application/x-amz-json-1.1", json.dumps(page).encode()
        assert asked.form["Action"] == ["DescribeSpotPriceHistory"], asked.form
        items = "".join(
            f"<item><instanceType>{type_}</instanceType><productDescription>Linux/UNIX</productDescription>"
            f"<spotPrice>{usd}</spotPrice><timestamp>{at}</timestamp><availabilityZone>{zone}</availabilityZone></item>"
            for type_, zone, usd, at in spot
            # The region that is asked stands in the signature's scope: KEY/date/region/ec2/aws4_request.
            if zone.startswith(asked.headers["Authorization"].split("/")[2])
        )
        text = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<DescribeSpotPriceHistoryResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
            f"<requestId>0</requestId><spotPriceHistorySet>{items}</spotPriceHistorySet><nextToken></nextToken>"
            "</DescribeSpotPriceHistoryResponse>"
        )
        return 200, "text/xml;charset=UTF-8", text.encode()

    return answer
