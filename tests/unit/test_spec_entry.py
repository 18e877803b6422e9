"""Who may enter, as the fleet's files say it: tenants, the gateway's own block, and how requests wait."""

from pathlib import Path

import pytest

from fleetctl.model.names import ServiceName
from fleetctl.model.routes import TenantEntry, TenantLimits
from fleetctl.model.services import QueueRules
from fleetctl.spec.fleet import Fleet, FleetConfig
from fleetctl.spec.load import load
from fleetctl.spec.problems import FilesError, Problem
from fleetctl.wiring import gateway_options

CHAT = "kind: service\nname: chat\nengine: rehearsal\nmodel: m\ngpu: L40S:1\n"
CODE = CHAT.replace("chat", "code")


def loaded(folder: Path, text: str) -> Fleet:
    (folder / "fleet.yaml").write_text(text)
    return load([folder], warnings=True)


def wrong(folder: Path, text: str) -> Problem:
    with pytest.raises(FilesError) as caught:
        loaded(folder, text)
    (problem,) = caught.value.problems
    return problem


def test_a_tenant_is_a_share_a_priority_and_limits(tmp_path: Path) -> None:
    fleet = loaded(
        tmp_path,
        f"""\
kind: tenant
name: acme
weight: 2.5
priority: low
limits: {{in_flight: 3, requests_per_minute: 0.5, tokens_per_minute: 100, tokens_per_month: 1000}}
services: [chat]
---
kind: tenant
name: plain
---
{CHAT}""",
    )

    assert fleet.tenants == (
        TenantEntry(
            name="acme",
            weight=2.5,
            priority="low",
            limits=TenantLimits(in_flight=3, requests_per_minute=0.5, tokens_per_minute=100, tokens_per_month=1000),
            services=(ServiceName("chat"),),
        ),
        TenantEntry(name="plain"),
    )
    assert str(fleet.places["tenant/acme"]).endswith("fleet.yaml:1")


def test_a_gateway_asks_for_keys_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    assert FleetConfig().gateway_auth == "keys"
    assert loaded(tmp_path, "kind: fleet\ngateway: {}\n").config == FleetConfig()


def test_the_gateways_block_in_full(tmp_path: Path) -> None:
    fleet = loaded(
        tmp_path,
        """\
kind: fleet
gateway:
  listen: 127.0.0.1:9000
  auth: none
  workers: 4
  tls: {certificate: tls/cert.pem, key: /etc/key.pem}
  access_log: {file: requests.log, sample: 10%}
  metrics_listen: 127.0.0.1:9001
""",
    )

    where = tmp_path.resolve()
    assert fleet.config == FleetConfig(
        gateway_listen="127.0.0.1:9000",
        gateway_auth="none",
        gateway_workers=4,
        gateway_certificate=f"{where}/tls/cert.pem",
        gateway_key="/etc/key.pem",
        gateway_access_log=f"{where}/requests.log",
        gateway_access_log_sample=0.1,
        gateway_metrics_listen="127.0.0.1:9001",
    )
    assert fleet.warnings == ()


def test_how_requests_wait_and_by_which_names_a_service_is_asked(tmp_path: Path) -> None:
    (service,) = loaded(
        tmp_path,
        CHAT
        + "queue: {timeout: 1m, cold_timeout: 2h, limit: 5, memory: 1MB, shed: false}\n"
        + "hosts: [Chat.Example.org, '*.chat.example.org']\nadapters: [lora-a]\n",
    ).services

    assert service.queue_timeout_s == 60.0
    assert service.queue == QueueRules(cold_timeout_s=7200.0, limit=5, limit_bytes=1_000_000, shed=False)
    assert service.hosts == ("chat.example.org", "*.chat.example.org")
    assert service.adapters == ("lora-a",)


@pytest.mark.parametrize(
    ("text", "line", "path", "said", "fix"),
    [
        pytest.param(
            "kind: tenant\nname: acme\nservices: [chta]\n---\n" + CHAT,
            3,
            "services[0]",
            "there is no service 'chta'; did you mean 'chat'?",
            "write chat",
            id="a tenant's service that there is not",
        ),
        pytest.param(
            "kind: tenant\nname: acme\npriority: hihg\n",
            3,
            "priority",
            "hihg",
            "write high",
            id="a priority that there is not",
        ),
        pytest.param(
            "kind: tenant\nname: acme\nlimits: {in_flight: 0}\n", 3, "limits.in_flight", "0", "1", id="a limit of none"
        ),
        pytest.param(
            "kind: tenant\nname: acme\nlimits: {tokens_per_mintue: 5}\n",
            3,
            "limits.tokens_per_mintue",
            "did you mean 'tokens_per_minute'?",
            "tokens_per_minute",
            id="a limit that there is not",
        ),
        pytest.param(
            "kind: tenant\nname: acme\n---\nkind: tenant\nname: acme\n",
            5,
            "name",
            "tenant/acme is declared twice",
            "rename or remove one of the two",
            id="a tenant twice",
        ),
        pytest.param(
            "kind: fleet\ngateway: {auth: key}\n",
            2,
            "gateway.auth",
            "key",
            "write keys",
            id="an auth that there is not",
        ),
        pytest.param(
            CHAT + "queue_timeout: 1m\nqueue: {timeout: 1m}\n",
            1,
            "",
            "queue_timeout and queue.timeout are the same",
            "keep queue: {timeout: …} alone",
            id="one timeout twice",
        ),
        pytest.param(
            CHAT + "hosts: [a.example]\n---\n" + CODE + "hosts: [b.example, a.example]\n",
            13,
            "hosts[1]",
            "a.example means service/chat already",
            "keep it at one of the two services",
            id="one host for two services",
        ),
        pytest.param(
            CHAT + "adapters: [code]\n---\n" + CODE,
            6,
            "adapters[0]",
            "code means service/code already",
            "keep it at one of the two services",
            id="an adapter called as another service is",
        ),
        pytest.param(
            CHAT + "adapters: [chat]\n", 6, "adapters[0]", "the service's own name", "rename", id="as its own service"
        ),
    ],
)
def test_slips_are_told_where_they_are(tmp_path: Path, text: str, line: int, path: str, said: str, fix: str) -> None:
    problem = wrong(tmp_path, text)

    assert (problem.line, problem.path) == (line, path)
    assert said in problem.message
    assert fix in problem.fix


def test_a_file_of_tenants_alone_may_name_services_that_are_declared_elsewhere(tmp_path: Path) -> None:
    assert loaded(tmp_path, "kind: tenant\nname: acme\nservices: [chat]\n").tenants[0].services == ("chat",)


@pytest.mark.parametrize(
    ("block", "warned"),
    [
        ('{listen: "0.0.0.0:80", auth: none}', True),
        ('{listen: "[::]:80", auth: none}', True),
        ('{listen: "0.0.0.0:80"}', False),
        ('{listen: "127.0.0.2:80", auth: none}', False),
        ('{listen: "localhost:80", auth: none}', False),
        ('{listen: "[::1]:80", auth: none}', False),
    ],
)
def test_an_open_gateway_that_others_reach_is_warned_of(tmp_path: Path, block: str, warned: bool) -> None:
    warnings = loaded(tmp_path, f"kind: fleet\ngateway: {block}\n").warnings

    assert [warning.path for warning in warnings] == (["gateway.auth"] if warned else [])


def test_the_block_becomes_the_words_that_a_gateway_is_started_with() -> None:
    full = FleetConfig(
        gateway_workers=4,
        gateway_certificate="/tls/cert.pem",
        gateway_key="/tls/key.pem",
        gateway_access_log="/log",
        gateway_access_log_sample=0.1,
        gateway_metrics_listen="127.0.0.1:9001",
    )

    assert gateway_options(FleetConfig()) == ()
    assert gateway_options(full) == (
        "--workers", "4", "--tls-certificate", "/tls/cert.pem", "--tls-key", "/tls/key.pem",
        "--access-log", "/log", "--access-log-sample", "0.1", "--metrics-listen", "127.0.0.1:9001",
    )  # fmt: skip
