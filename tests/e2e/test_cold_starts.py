"""Where the seconds of real starts went: recorded while they happen, drawn, summed up, and remembered afterwards."""

from collections.abc import Iterator
from typing import Any

import pytest
from fleet_home import FleetHome, fleet_home, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ATTRIBUTED_LEAST = 0.98
"""Of a start's wall time, in named stages."""
BOOT_S, IMAGE_S, WEIGHTS_S, LOAD_S = 1.5, 2.0, 1.0, 1.0
EARLY_S, LATE_S = 0.1, 3.0
"""What a stage may be off: clocks before, and a busy machine after."""
FLEET = f"""\
kind: fleet
name: starts
gateway: {{listen: 127.0.0.1:PORT, auth: none}}
period: 300ms
---
kind: pool
name: box
gpu: L40S:1
provider: local
max: 4
standby: {{steps: 1, tier: warm}}
price_per_hour: 2
local: {{boot: {BOOT_S}s, image: {IMAGE_S}s, weights: {WEIGHTS_S}s}}
---
kind: service
name: chat
engine: rehearsal
model: rehearsal-8b
image: rehearsal/engine:1
command: ["{{python}}", -m, fleetctl.rehearsal, --port, "{{port}}", --model, "{{model}}", --load-s, "{LOAD_S}"]
gpu: L40S:1
concurrency: 2
pool: box
scaling: {{policy: fixed, replicas: 1, min: 1, max: 3}}
"""


@pytest.fixture
def bare() -> Iterator[FleetHome]:
    with fleet_home() as made:
        yield made


def test_every_second_of_a_start_has_a_name(bare: FleetHome) -> None:
    none_yet = bare.run("coldstart", "chat", code=4)
    bare.run("up", "-f", bare.write("fleet.yaml", FLEET.replace("PORT", str(bare.port))))

    cold = bare.run("coldstart", "chat", "-o", "json").json()

    assert "there is no fleet" in none_yet.err
    (origin,) = cold["origins"]
    assert (origin["origin"], origin["n"], origin["failed"]) == ("cold", 1, 0)
    assert origin["attributed"] >= ATTRIBUTED_LEAST
    took = {stage["stage"]: stage["p50_s"] for stage in origin["stages"]}
    assert set(took) == {"launch", "boot", "apply", "image", "weights", "engine", "settle"}
    assert took["launch"] + took["boot"] >= BOOT_S
    assert IMAGE_S - EARLY_S <= took["image"] <= IMAGE_S + LATE_S
    assert WEIGHTS_S - EARLY_S <= took["weights"] <= WEIGHTS_S + LATE_S
    assert LOAD_S <= took["engine"] < origin["p50_s"]
    assert origin["p50_s"] >= BOOT_S + max(IMAGE_S, WEIGHTS_S) + LOAD_S
    assert cold["cold"]["seconds"] == origin["p50_s"]

    # From the standby: no machine, no image, no weights.
    bare.run("daemon", "start")
    bare.run("scale", "chat=2")
    until("both are ready", lambda: _ready(bare) == 2, within_s=60.0)
    both = bare.run("coldstart", "chat", "-o", "json").json()
    warm = next(one for one in both["origins"] if one["origin"] == "warm")
    assert warm["attributed"] >= ATTRIBUTED_LEAST
    assert {stage["stage"] for stage in warm["stages"]} == {"apply", "engine", "settle"}
    assert warm["p50_s"] < origin["p50_s"] - BOOT_S

    text = bare.run("coldstart", "chat").out
    assert [line.split()[:2] for line in text.splitlines()[1:5]] == [
        ["warm", "apply"],
        ["warm", "engine"],
        ["warm", "settle"],
        ["warm", "in"],
    ]
    assert "\nremove    " in text
    warm_again = until("a slot stands by again", lambda: _next(bare, "warm"), within_s=60.0)
    assert warm_again["biggest"]["stage"] == "engine"
    assert warm_again["next"]["seconds"] == warm["p50_s"]

    # The same, drawn; and still there once the replica is not.
    name = bare.run("ps", "-r", "-o", "name").out.split()[0].removeprefix("replica/")
    seen = bare.run("describe", f"replica/{name}")
    document = bare.run("describe", f"replica/{name}", "-o", "json").json()
    assert "\x1b" not in seen.out
    assert [line for line in seen.out.splitlines() if line.startswith("image ") and "▒▒▒" in line]
    assert document["start"]["attributed"] >= ATTRIBUTED_LEAST
    assert [stage["name"] for stage in document["start"]["stages"]] == [stage["name"] for stage in document["stages"]]
    bare.run("down", "--all")
    gone = bare.run("describe", name)
    assert f"replica/{name}  is no more; ready after" in gone.out
    assert [line for line in gone.out.splitlines() if line.startswith("image ") and "▒▒▒" in line]


def _next(home: FleetHome, origin: str) -> dict[str, Any] | None:
    """What is said of the service's starts, once the next one is expected from there."""
    found: dict[str, Any] = home.run("coldstart", "chat", "-o", "json").json()
    return found if found["next"]["origin"] == origin else None


def _ready(home: FleetHome) -> int:
    rows: list[dict[str, Any]] = home.run("ps", "-r", "-o", "json").json()["items"]
    return sum(row["phase"] == "ready" for row in rows)
