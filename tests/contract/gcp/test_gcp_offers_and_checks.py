"""What the GCP provider says can be rented, whether all is in order, and what it must be allowed to do.

Judge of every request: Google's discovery documents. The machines, quotas and images behind them are ours.
"""

import ast
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from cloud_contract import FLEET, ONE, give_back, launch_spec, sighted
from gcp_discovery import Judge
from gcp_server import DOCUMENTS, GcpServer, Strike
from gcp_world import SHORT, setup, under_test

import fleetctl.providers.gcp
from fleetctl.catalog import PRICES_FILE
from fleetctl.errors import MissingDependency, UsageError
from fleetctl.model.instances import Sighting
from fleetctl.model.names import PoolName
from fleetctl.model.services import Gpu, Market, Placement, Pool
from fleetctl.providers import load, names
from fleetctl.providers.gcp.compute import GcpProvider
from fleetctl.providers.gcp.role import CALLS, needed, permissions
from fleetctl.providers.gcp.settings import read_settings

L4 = Pool(name=PoolName("gpu"), gpu=(Gpu(name="L4", count=1),))


@pytest.fixture
async def provider(served_here: tuple[GcpServer, str], tmp_path: Path) -> AsyncIterator[GcpProvider]:
    made = GcpProvider(read_settings(setup(served_here[1], tmp_path)), limits=SHORT)
    yield made
    await made.close()


def pool(gpu: Gpu, **placement: object) -> Pool:
    return Pool(name=PoolName("gpu"), gpu=(gpu,), placement=Placement(**placement))  # type: ignore[arg-type]


async def test_offers_are_where_google_has_the_machine(provider: GcpProvider) -> None:
    found = await provider.offers(pool(Gpu(name="L4", count=4)))

    assert {(offer.instance_type, offer.zone, offer.region) for offer in found} == {
        ("g2-standard-48", f"us-central1-{letter}", "us-central1") for letter in "abc"
    }


async def test_attached_gpus_are_offered_where_google_has_both(provider: GcpProvider) -> None:
    found = await provider.offers(pool(Gpu(name="T4", count=1)))

    assert {(offer.instance_type, offer.zone) for offer in found} == {
        ("n1-standard-8+nvidia-tesla-t4:1", "us-central1-a"),
        ("n1-standard-8+nvidia-tesla-t4:1", "us-central1-b"),
    }


async def test_regions_and_markets_narrow_what_is_offered(provider: GcpProvider) -> None:
    here = await provider.offers(pool(Gpu(name="L4"), regions=("europe-west4",)))
    spot = await provider.offers(pool(Gpu(name="L4"), market=Market.SPOT))
    reserved = await provider.offers(pool(Gpu(name="L4"), market=Market.RESERVED))

    assert {offer.region for offer in here} == {"europe-west4"}
    assert {offer.market for offer in spot} == {Market.SPOT}
    assert list(reserved) == [], "no reservation is configured"


async def test_quota_left_counts_machines(provider: GcpProvider) -> None:
    one = await provider.offers(pool(Gpu(name="L4", count=1)))
    four = await provider.offers(pool(Gpu(name="L4", count=4)))
    spot = await provider.offers(pool(Gpu(name="L4", count=4), market=Market.SPOT))
    other = await provider.offers(pool(Gpu(name="H100", count=8)))

    assert {offer.quota_left for offer in one} == {14}, "16 GPUs, 2 of them in use"
    assert {offer.quota_left for offer in four} == {3}
    assert {offer.quota_left for offer in spot} == {2}, "spot machines have a quota of 8"
    assert {offer.quota_left for offer in other} == {7}, "only the whole project's quota is told: 62 for 8 each"


async def test_prices_are_dated_and_order_the_offers(
    served_here: tuple[GcpServer, str], provider: GcpProvider, tmp_path: Path
) -> None:
    folder = tmp_path / "catalog"
    folder.mkdir()
    (folder / PRICES_FILE).write_text(
        "provider,type,region,zone,market,usd_per_hour,source,as_of\n"
        "gcp,g2-standard-8,us-central1,,on_demand,0.85,test prices,2026-11-01T00:00:00Z\n"
        "gcp,g2-standard-8,europe-west4,,on_demand,0.70,test prices,2026-11-01T00:00:00Z\n",
        encoding="utf-8",
    )

    found = await provider.offers(L4)
    cheap = await provider.offers(replace(L4, placement=Placement(max_price_per_hour=0.75)))
    declared = await provider.offers(replace(pool(Gpu(name="L4", count=4)), price_per_hour=4.0))

    assert {(offer.region, offer.price_per_hour) for offer in found} == {("europe-west4", 0.7), ("us-central1", 0.85)}
    assert [offer.region for offer in found] == ["europe-west4"] * 3 + ["us-central1"] * 3
    assert {offer.price_source for offer in found} == {"test prices"}
    assert {offer.region for offer in cheap} == {"europe-west4"}
    assert {(offer.price_per_hour, offer.price_source) for offer in declared} == {(4.0, "declared")}


async def test_checks_say_what_is_lacking(server: GcpServer, provider: GcpProvider) -> None:
    server.compute.held_permissions = lambda permission: not permission.startswith("compute.firewalls.")
    scarce = replace(pool(Gpu(name="L4", count=4), regions=("us-central1",)), min=50)
    nowhere = replace(pool(Gpu(name="B200", count=8)), name=PoolName("big"))

    found = {check.check: check for check in await provider.checks((scarce, nowhere))}

    assert {name: check.status for name, check in found.items()} == {
        "gcp credentials": "ok",
        "gcp permissions": "fail",
        "gcp instances": "ok",
        "gcp network": "ok",
        "gcp ssh sources": "ok",
        "gcp image": "ok",
        "gcp pool/gpu": "fail",
        "gcp pool/big": "fail",
    }
    assert "compute.firewalls.create" in found["gcp permissions"].detail
    assert "us-central1: 3" in found["gcp pool/gpu"].detail
    assert all(check.fix for check in found.values() if check.status == "fail")


@pytest.mark.parametrize(("sources", "status"), [([], "warn"), (["0.0.0.0/0"], "warn"), (["203.0.113.7/32"], "ok")])
async def test_checks_say_who_can_log_in(
    served_here: tuple[GcpServer, str], tmp_path: Path, sources: list[str], status: str
) -> None:
    made = GcpProvider(read_settings(setup(served_here[1], tmp_path, ssh_sources=sources)), limits=SHORT)

    found = {check.check: check.status for check in await made.checks(())}

    assert found["gcp ssh sources"] == status
    await made.close()


async def test_checks_end_with_the_credentials_where_they_are_wrong(server: GcpServer, provider: GcpProvider) -> None:
    server.strikes.append(Strike(methods=("compute.projects.get",), status=401, reason="authError"))

    (only,) = await provider.checks((L4,))

    assert (only.check, only.status) == ("gcp credentials", "fail")
    assert "gcloud auth application-default login" in only.fix


async def test_role_holds_what_the_calls_made_need_and_no_more(
    server: GcpServer, served_here: tuple[GcpServer, str], tmp_path: Path
) -> None:
    """Judge of what was called: the server's own count, by the ids of Google's documents."""
    cloud = under_test(server, served_here[1], tmp_path)
    provider = cloud.make(FLEET, lambda _: None)
    await provider.offers(L4)
    await provider.offers(pool(Gpu(name="T4")))
    await provider.checks((L4,))
    await provider.launch(launch_spec(cloud))
    await provider.console(ONE)
    rule = next(rule for rule in server.compute.things["firewalls"].values() if "-ssh-" in rule["name"])
    rule["priority"] = 7
    server.compute.things["disks"]["zones/us-central1-a", "left"] = {
        "name": "left",
        "labels": {"fleetctl-fleet": FLEET},
        "id": "7",
    }
    other = cloud.make(FLEET, lambda _: None)
    await other.launch(launch_spec(cloud, cloud_id := ONE.__class__("gpu-e1-9")))
    await other.terminate(cloud_id)
    server.compute.operation_s = 0.3
    stopping = GcpProvider(read_settings(setup(served_here[1], tmp_path)), limits=replace(SHORT, glance_s=0.01))
    await stopping.stop(ONE)
    await stopping.list(FLEET)
    await sighted(stopping, Sighting.STOPPED)
    server.compute.operation_s = 0.0
    await stopping.start(ONE)
    await give_back(provider)
    for one in (provider, other, stopping):
        await one.close()

    assert set(server.calls) == set(CALLS), "the table has each call that is made, and no other"
    assert set(permissions({})["includedPermissions"]) == set(needed({}))  # type: ignore[call-overload]
    assert "compute.reservations.get" in needed({"reservation": "mine"})


def test_table_names_methods_of_the_documents() -> None:
    judge = Judge(*DOCUMENTS)

    known = {route.id for routes in judge._routes.values() for route in routes}

    assert set(CALLS) <= known


def test_no_operation_is_ever_waited_for_by_the_sdk() -> None:
    """Its waiting asks the real cloud, whatever endpoint was given."""
    folder = Path(fleetctl.providers.gcp.__file__).parent

    reached = {
        (file.name, node.attr)
        for file in folder.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("result", "add_done_callback", "exception")
    }

    assert reached == set()
    source = (folder / "api.py").read_text(encoding="utf-8")
    assert "_unary" in source
    assert "retry=None" in source


def test_provider_is_made_without_the_sdk(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from fleetctl.paths import Home\n"
        "from fleetctl.providers import Setup, load\n"
        "options = {'project': 'test-project', 'regions': ['us-central1']}\n"
        "load('gcp')(Setup(fleet='f', home=Home(Path(sys.argv[1])), options=options))\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('google', 'requests', 'grpc', 'proto')])\n"
    )

    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_missing_extra_says_how_to_install_it(tmp_path: Path) -> None:
    """In a process that has no SDK: an import hook of its own stands for an environment without the extra."""
    code = (
        "import asyncio, sys; from pathlib import Path; from fleetctl.paths import Home\n"
        "from fleetctl.errors import MissingDependency; from fleetctl.providers import Setup, load\n"
        "sys.modules['google.cloud.compute_v1'] = None\n"
        "options = {'project': 'test-project', 'regions': ['us-central1']}\n"
        "provider = load('gcp')(Setup(fleet='f', home=Home(Path(sys.argv[1])), options=options))\n"
        "try: asyncio.run(provider.list('f'))\n"
        "except MissingDependency as error: print(error.hint)\n"
    )

    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)

    assert issubclass(MissingDependency, Exception)
    assert done.stdout.strip() == "pip install 'fleetctl[gcp]'"


def test_gcp_is_one_of_the_providers(tmp_path: Path) -> None:
    assert "gcp" in names()
    assert load("gcp")(setup("http://127.0.0.1:1", tmp_path)).name == "gcp"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"project": None}, r"providers\.gcp\.project"),
        ({"project": "A"}, r"providers\.gcp\.project"),
        ({"regions": []}, r"providers\.gcp\.regions"),
        ({"regions": "us-central1"}, r"providers\.gcp\.regions"),
        ({"regions": ["US"]}, r"providers\.gcp\.regions"),
        ({"zone": "a"}, r"providers\.gcp\.zone: there is no such setting"),
        ({"ssh_sources": ["everyone"]}, r"providers\.gcp\.ssh_sources"),
        ({"disk_gb": "200"}, r"providers\.gcp\.disk_gb"),
        ({"address": "{host}"}, r"providers\.gcp\.address"),
        ({"endpoint": "http://example.com"}, r"providers\.gcp\.endpoint: https"),
        ({"network": "My Net"}, r"providers\.gcp\.network"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, change: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        load("gcp")(setup("http://127.0.0.1:1", tmp_path, **change))


@pytest.mark.parametrize("fleet", ["Fleet", "1st", "a" * 41, "a_b", ""])
def test_fleet_that_no_label_can_hold_is_refused(tmp_path: Path, fleet: str) -> None:
    with pytest.raises(UsageError, match="cannot be a label"):
        load("gcp")(setup("http://127.0.0.1:1", tmp_path, fleet))
