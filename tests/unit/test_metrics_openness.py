"""Figures that others than this machine may read: said by everything that looks at the address, or opens it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fleetctl.spec.openness import open_metrics

SERVICE = "kind: service\nname: chat\nengine: rehearsal\nmodel: m\ngpu: L40S:1\n---\n"
Type = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("listen", "is_open"),
    [
        ("0.0.0.0:9090", True),
        ("[::]:9090", True),
        ("10.0.0.4:9090", True),
        ("127.0.0.1:9090", False),
        ("127.0.0.2:9090", False),
        ("localhost:9090", False),
        ("[::1]:9090", False),
        ("", False),
        (None, False),
    ],
)
def test_loopback_alone_is_closed(listen: str | None, is_open: bool) -> None:
    assert ("no authentication" in open_metrics(listen)) is is_open


@pytest.mark.parametrize("block", ["daemon", "gateway"])
def test_validate_warns_at_the_line(typed: Type, tmp_path: Path, block: str) -> None:
    (tmp_path / "fleet.yaml").write_text(f'{SERVICE}kind: fleet\n{block}:\n  metrics_listen: "0.0.0.0:9090"\n')

    code, _, err = typed("validate", "fleet.yaml", "-o", "name")

    assert code == 0
    assert err == (
        f"warning: fleet.yaml:9: fleet: {block}.metrics_listen: whoever reaches 0.0.0.0:9090 reads the figures of"
        " services, tenants and models: /metrics and /healthz have no authentication - write metrics_listen:"
        " 127.0.0.1:PORT, or let a firewall keep others out\n"
    )


def test_doctor_and_the_daemon_warn_of_what_is_saved(typed: Type, tmp_path: Path) -> None:
    text = f'{SERVICE}kind: fleet\ndaemon: {{metrics_listen: "ADDRESS"}}\n'
    (tmp_path / "fleet.yaml").write_text(text.replace("ADDRESS", "0.0.0.0:9090"))
    assert typed("up", "--no-wait", "-f", "fleet.yaml")[0] == 0

    checks = typed("doctor", "-o", "csv")[1]
    started = typed("daemon", "start", "--dry-run")[2]

    assert "daemon metrics,warn,whoever reaches 0.0.0.0:9090" in checks.replace('"', "")
    assert started.startswith("warning: whoever reaches 0.0.0.0:9090")
    (tmp_path / "fleet.yaml").write_text(text.replace("ADDRESS", "127.0.0.1:9090"))
    assert typed("up", "--no-wait", "-f", "fleet.yaml")[0] == 0
    assert "daemon metrics" not in typed("doctor", "-o", "csv")[1]
    assert "warning" not in typed("daemon", "start", "--dry-run")[2]


def test_a_gateway_alone_warns_of_its_own(typed: Type) -> None:
    words = ("gateway", "--replica", "http://127.0.0.1:1=4", "--auth", "none", "--check")

    assert "have no authentication" in typed(*words, "--metrics", "0.0.0.0:9091")[2]
    assert "have no authentication" not in typed(*words, "--metrics", "127.0.0.1:9091")[2]
