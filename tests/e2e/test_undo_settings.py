"""`undo` of the fleet's settings and its tenants; and `plan` with schedules that stand in no file."""

import json

import pytest
from fleet_home import FleetHome
from test_changes import bare, files, intent, paper  # noqa: F401 - fixtures

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TENANT = "---\nkind: tenant\nname: research\npriority: {priority}\n"


def declared(fleet: FleetHome, *, limit: str = "", tenant: str = "") -> None:
    """The same service each time; only the rest changes."""
    file = files(fleet, limit=limit, more=tenant and TENANT.format(priority=tenant))
    fleet.run("apply", "-f", file, "--yes")


def settings(fleet: FleetHome) -> dict[str, object]:
    body = json.loads((fleet.root / "fleet.json").read_text())
    assert isinstance(body, dict)
    return body


def tenants(fleet: FleetHome) -> dict[str, str]:
    return {row["name"]: row["priority"] for row in fleet.run("get", "tenants", "-o", "json").json()["items"]}


def test_settings_and_tenants_are_taken_back_with_what_was_declared_beside_them(bare: FleetHome) -> None:  # noqa: F811
    declared(bare, limit="max_cost_per_hour: 9")
    declared(bare, limit="max_cost_per_hour: 20", tenant="high")
    declared(bare, limit="max_cost_per_hour: 20", tenant="low")
    listed = bare.run("undo", "--list", "-o", "json").json()["items"]

    dry = bare.run("undo", "--dry-run").out
    kept = tenants(bare)
    bare.run("undo")
    again = tenants(bare)
    last = bare.run("undo", "-o", "json").json()["items"]

    assert [row["also"] for row in listed] == [["tenant/research"], ["fleet", "tenant/research"], []]
    assert dry == "~ tenant/research\n    priority  low → high\n"
    assert (kept, again) == ({"research": "low"}, {"research": "high"})
    assert {(one["subject"], one["field"], one["before"], one["after"]) for one in last} == {
        ("fleet", "max_cost_per_hour", "20.0", "9.0"),
        ("tenant/research", "", "declared", "-"),
    }
    assert settings(bare)["max_cost_per_hour"] == 9.0
    assert tenants(bare) == {}
    assert intent(bare)["max"] == 3, "what did not change stays"


def test_where_the_store_is_is_never_taken_back_nor_kept_with_a_password(bare: FleetHome) -> None:  # noqa: F811
    declared(bare, limit="max_cost_per_hour: 9")
    saved = settings(bare)
    store = f"{bare.root}/fleet.db"
    (bare.root / "fleet.json").write_text(json.dumps({**saved, "store_url": store}))
    declared(bare, limit=f"max_cost_per_hour: 20\nstore: {store}")

    bare.run("undo")

    assert (settings(bare)["store_url"], settings(bare)["max_cost_per_hour"]) == (store, 9.0)


def test_the_plan_counts_schedules_that_were_added_by_command(bare: FleetHome) -> None:  # noqa: F811
    file = files(bare, least=1, most=3)
    bare.run("apply", "-f", file, "--yes")
    before = bare.run("plan", "-f", file, "-o", "json").json()
    bare.run("schedule", "add", "chat", "--cron", "0 0 * * *", "--for", "24h", "--min", "3", "--yes")

    (change,) = bare.run("plan", "-f", file, "-o", "json").json()["changes"]
    after = bare.run("plan", "-f", file, "-o", "json").json()

    assert (before["then"], after["then"], after["most"]) == (2.0, 6.0, 6.0)
    assert change["replicas_then"] == 3
    assert after["differences"] == [], "the file has not changed"
