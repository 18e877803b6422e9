"""The pure parts: names and labels, what errors mean, the script for a new machine, and the environment's plan."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some
from sky_world import OFFERS

from fleetctl.errors import (
    AuthFailure,
    Gone,
    InvalidRequest,
    NoCapacity,
    OutcomeUnknown,
    ProviderError,
    QuotaExceeded,
    Throttled,
    UsageError,
)
from fleetctl.model.instances import LaunchSpec
from fleetctl.model.names import InstanceId, PoolName
from fleetctl.paths import Home
from fleetctl.providers.sky.clusters import resources, setup_script
from fleetctl.providers.sky.environment import environment
from fleetctl.providers.sky.labels import cluster_name, labels, meta_of
from fleetctl.providers.sky.offers import split_type
from fleetctl.providers.sky.refusals import Failure, refused
from fleetctl.providers.sky.settings import Settings

CLUSTER = re.compile(r"[a-zA-Z]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?")
"""SkyPilot 0.14.1's CLUSTER_NAME_VALID_REGEX."""
GCP_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
KUBERNETES_VALUE = re.compile(r"[a-zA-Z0-9]([-a-zA-Z0-9_.]{0,61}[a-zA-Z0-9])?")
"""What SkyPilot checks labels with; the two strictest."""

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f it's mine"


def spec(**changed: object) -> LaunchSpec:
    said = {"id": InstanceId("gpu-e1-1"), "fleet": "prod", "pool": PoolName("gpu"), "offer": OFFERS[0]}
    return LaunchSpec(**(said | changed))  # type: ignore[arg-type]


@given(some.text(min_size=1, max_size=80), some.text(min_size=1, max_size=130))
def test_any_fleet_and_id_have_a_name_and_labels_that_every_cloud_takes(fleet: str, instance: str) -> None:
    one = spec(fleet=fleet, id=InstanceId(instance))

    name, found = cluster_name(fleet, one.id), labels(one, at=1.5)

    assert CLUSTER.fullmatch(name)
    assert len(name) <= 40
    assert name != cluster_name(fleet + "x", one.id)
    for value in found.values():
        assert GCP_VALUE.fullmatch(value)
        assert KUBERNETES_VALUE.fullmatch(value)
    meta = meta_of(found)
    assert meta is not None
    assert (meta.fleet, meta.id, meta.pool, meta.offer, meta.created_at) == (fleet, instance, "gpu", OFFERS[0], 1.5)


@pytest.mark.parametrize("given_labels", [{}, {"team": "web"}, {"fleetctl-0": "not-ours"}, {"fleetctl-0": "mfrgg"}])
def test_labels_of_others_mean_nothing(given_labels: dict[str, str]) -> None:
    assert meta_of(given_labels) is None


def test_labels_with_one_missing_mean_nothing() -> None:
    found = labels(spec(), at=1.0)
    del found["fleetctl-1"]

    assert meta_of(found) is None


UNAVAILABLE = ("ResourcesUnavailableError", "Exception", "BaseException", "object")


@pytest.mark.parametrize(
    ("failure", "wanted"),
    [
        pytest.param(Failure(type=UNAVAILABLE[0], bases=UNAVAILABLE, message="none left"), NoCapacity, id="capacity"),
        pytest.param(
            Failure(type="KubeAPIUnreachableError", bases=("KubeAPIUnreachableError", *UNAVAILABLE)),
            NoCapacity,
            id="a kind of it",
        ),
        pytest.param(
            Failure(type=UNAVAILABLE[0], bases=UNAVAILABLE, attempts=("botocore: (VcpuLimitExceeded) when calling",)),
            QuotaExceeded,
            id="quota among the attempts",
        ),
        pytest.param(
            Failure(type=UNAVAILABLE[0], bases=UNAVAILABLE, attempts=("(RequestLimitExceeded) when calling",)),
            Throttled,
            id="a limit that is no quota",
        ),
        pytest.param(
            Failure(
                type=UNAVAILABLE[0], bases=UNAVAILABLE, message="Catalog does not contain any instances satisfying"
            ),
            InvalidRequest,
            id="what no cloud has at all",
        ),
        pytest.param(Failure(type="NoCloudAccessError"), AuthFailure, id="no credentials"),
        pytest.param(Failure(type="ClusterDoesNotExist", bases=("ClusterDoesNotExist", "ValueError")), Gone, id="gone"),
        pytest.param(Failure(type="NotSupportedError", message="Lambda cannot stop"), InvalidRequest, id="cannot stop"),
        pytest.param(Failure(type="ValueError", message="Invalid region 'x'"), InvalidRequest, id="wrong region"),
        pytest.param(
            Failure(type="ReadTimeout", bases=("ReadTimeout", "Timeout", "RequestException", "OSError")),
            OutcomeUnknown,
            id="the API server did not answer",
        ),
        pytest.param(
            Failure(type="RuntimeError", message="Failed to get request abc: 502 Bad Gateway"), OutcomeUnknown, id="502"
        ),
        pytest.param(Failure(type="CloudError", code="Strange", message="?"), ProviderError, id="an unknown code"),
        pytest.param(Failure(type="KeyError", message="'head'"), ProviderError, id="a mistake of SkyPilot's"),
    ],
)
def test_failures_say_who_must_act(failure: Failure, wanted: type[ProviderError]) -> None:
    change, read = refused("launch x", failure, changing=True), refused("list", failure, changing=False)

    assert type(change) is wanted
    assert change.provider_code == (failure.code or failure.type)
    assert type(read) is (ProviderError if wanted is OutcomeUnknown else wanted), "reads leave nothing unknown"


def test_setup_script_adds_the_key_once_and_runs_user_data(tmp_path: Path) -> None:
    """Run by a real shell, twice, as SkyPilot does when a launch is repeated."""
    script = setup_script(spec(user_data="#!/bin/sh\necho ran >> $HOME/seen\n"), KEY)
    root = tmp_path / "bin"
    root.mkdir()
    (root / "sudo").write_text('#!/bin/sh\nshift\nexec "$@"\n')
    (root / "sudo").chmod(0o700)

    for _ in range(2):
        subprocess.run(
            ["/bin/sh", "-c", script],
            env={"HOME": str(tmp_path), "PATH": f"{root}:/usr/bin:/bin"},
            check=True,
            timeout=10,
        )

    keys = tmp_path / ".ssh" / "authorized_keys"
    assert keys.read_text() == KEY + "\n"
    assert keys.stat().st_mode & 0o077 == 0
    assert (tmp_path / "seen").read_text() == "ran\nran\n"
    assert setup_script(spec(), "") == ""


@pytest.mark.parametrize(
    ("instance_type", "machine", "accelerators"),
    [
        ("gpu_1x_h100", "gpu_1x_h100", {}),
        ("a2-highgpu-1g+A100:1", "a2-highgpu-1g", {"A100": 1}),
        ("+T4:4", "", {"T4": 4}),
        ("4CPU--16GB--H100:1", "4CPU--16GB--H100:1", {}),
    ],
)
def test_types_name_their_gpus_where_the_machine_does_not(
    instance_type: str, machine: str, accelerators: dict[str, int]
) -> None:
    assert split_type(instance_type) == (machine, accelerators)


def test_offers_of_others_are_refused_before_anything_is_asked() -> None:
    foreign = spec(offer=replace(OFFERS[0], zone="us-east-1a"))

    with pytest.raises(InvalidRequest, match="no offer of SkyPilot's"):
        resources(foreign, Settings(), at=0.0)


def test_environment_is_told_before_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # without uv

    plain, more = environment(Home(tmp_path)), environment(Home(tmp_path), ("lambda", "aws"))

    assert plain.folder == tmp_path / "sky" / "venv"
    assert not plain.ready
    assert plain.requirement == "skypilot==0.14.1"
    assert more.requirement == "skypilot[lambda,aws]==0.14.1"
    assert more.size_mb > plain.size_mb
    assert [words[1:3] for words in plain.commands[:2]] == [("-m", "venv"), ("-m", "pip")]
    assert plain.commands[2][:2] == (str(plain.folder / "bin" / "python"), "-c")
    with pytest.raises(UsageError, match="no extra called 'lamda'"):
        environment(Home(tmp_path), ("lamda",))
