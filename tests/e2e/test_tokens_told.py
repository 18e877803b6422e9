"""Dollars for a million tokens: what was asked of real engines through the gateway is what the report counts."""

import json
import urllib.request
from typing import Any

import pytest
from fleet_home import FleetHome, fleet_home, fleet_text, service_text, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TOLD_S = 90.0
"""Ten seconds make an interval of the history; the rest is for a busy computer."""


def asked(fleet: FleetHome, tokens: int) -> int:
    """Tokens read and written of one request, as its answer has them."""
    body = {"model": "chat", "max_tokens": tokens, "messages": [{"role": "user", "content": "tell me " * tokens}]}
    request = urllib.request.Request(
        f"{fleet.url}/chat/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60.0) as answer:
        usage = json.load(answer)["usage"]
    return int(usage["prompt_tokens"]) + int(usage["completion_tokens"])


def report(fleet: FleetHome) -> dict[str, Any]:
    rows = fleet.run("cost", "report", "-o", "json").json()["items"]
    found: dict[str, Any] = next((row for row in rows if row["name"] == "chat"), {})
    return found


def test_a_million_tokens_have_a_price_from_the_first_request_on() -> None:
    with fleet_home() as fleet:
        fleet.write("fleet.yaml", fleet_text(fleet.port) + "---\n" + service_text("chat", least=1, most=2))
        fleet.run("up", "-f", "fleet.yaml")
        fleet.run("daemon", "start")
        quiet = until("the hours are counted", lambda: report(fleet) or None, within_s=TOLD_S)

        tokens = sum(asked(fleet, count) for count in (5, 20, 40))

        told = until(
            f"{tokens} tokens are", lambda: one if (one := report(fleet))["tokens"] == tokens else None, within_s=TOLD_S
        )
        table = fleet.run("cost", "report")

    assert (quiet["tokens"], quiet["note"]) == (None, "no request came to chat")
    assert told["at_most"] is False
    assert told["note"] == ""
    assert told["dollars_per_million_tokens"] == pytest.approx(told["dollars"] / tokens * 1e6)
    assert "≤" not in table.out
