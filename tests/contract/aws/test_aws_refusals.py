"""AWS's settings, and who must act on each of its errors. Judge: botocore's own exceptions; the table is ours."""

import subprocess
import sys

import pytest
from aws_world import LIMITS
from cloud_contract import FLEET

from fleetctl.errors import (
    AuthFailure,
    FleetError,
    Gone,
    InvalidRequest,
    NoCapacity,
    OutcomeUnknown,
    ProviderError,
    QuotaExceeded,
    Throttled,
    UsageError,
)
from fleetctl.providers.aws import AwsProvider
from fleetctl.providers.aws.refusals import no_answer, refusal
from fleetctl.providers.aws.settings import read_settings


@pytest.mark.parametrize(
    ("code", "status", "wanted"),
    [
        ("InsufficientInstanceCapacity", 500, NoCapacity),
        ("InsufficientFreeAddressesInSubnet", 400, NoCapacity),
        ("SpotMaxPriceTooLow", 400, NoCapacity),
        ("VcpuLimitExceeded", 400, QuotaExceeded),
        ("MaxSpotInstanceCountExceeded", 400, QuotaExceeded),
        ("InvalidClientTokenId", 403, AuthFailure),
        ("ExpiredToken", 400, AuthFailure),
        ("RequestLimitExceeded", 503, Throttled),
        ("InvalidInstanceID.NotFound", 400, Gone),
        ("InvalidAMIID.NotFound", 400, InvalidRequest),
        ("MissingParameter", 400, InvalidRequest),
        ("DependencyViolation", 400, InvalidRequest),
        ("IncorrectInstanceState", 400, ProviderError),
        ("Brandnew", 400, ProviderError),
        ("Brandnew", 500, OutcomeUnknown),
        ("InternalError", 500, OutcomeUnknown),
        ("Unavailable", 503, OutcomeUnknown),
    ],
)
def test_each_code_says_who_must_act(code: str, status: int, wanted: type[ProviderError]) -> None:
    error = refusal("run_instances", code, "why", status, changing=True)

    assert type(error) is wanted
    assert error.provider_code == code
    assert "why" in error.message
    assert type(refusal("describe", code, "why", status, changing=False)) is not OutcomeUnknown


def test_answers_that_never_came_are_told_apart_by_whether_anything_was_sent() -> None:
    from botocore import exceptions as sdk

    cases: list[tuple[Exception, type[FleetError], type[FleetError]]] = [
        (sdk.ReadTimeoutError(endpoint_url="x"), OutcomeUnknown, ProviderError),
        (sdk.ConnectionClosedError(endpoint_url="x"), OutcomeUnknown, ProviderError),
        (sdk.ResponseStreamingError(error="cut"), OutcomeUnknown, ProviderError),
        (sdk.EndpointConnectionError(endpoint_url="x", error="refused"), ProviderError, ProviderError),
        (sdk.ConnectTimeoutError(endpoint_url="x"), ProviderError, ProviderError),
        (sdk.NoCredentialsError(), AuthFailure, AuthFailure),
        (sdk.ParamValidationError(report="wrong"), InvalidRequest, InvalidRequest),
    ]
    for error, changed, read in cases:
        assert type(no_answer("it", error, changing=True)) is changed, error
        assert type(no_answer("it", error, changing=False)) is read, error


async def test_nobody_there_is_an_error_and_nothing_unknown() -> None:
    nowhere = AwsProvider(
        read_settings({"regions": ["us-east-1"], "endpoint": "http://127.0.0.1:9"}), fleet=FLEET, limits=LIMITS
    )

    with pytest.raises(ProviderError) as failed:
        await nowhere.list(FLEET)

    assert failed.value.provider_code == "EndpointConnectionError"
    assert [check.status for check in await nowhere.checks(())] == ["fail"]
    await nowhere.close()


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, "providers.aws.regions"),
        ({"regions": []}, "providers.aws.regions"),
        ({"regions": "us-east-1"}, "providers.aws.regions: a list"),
        ({"regions": ["us-east-1"], "region": "x"}, "providers.aws.region: there is no such setting"),
        ({"regions": ["us-east-1"], "disk_gb": "big"}, "providers.aws.disk_gb"),
        ({"regions": ["us-east-1"], "ssh_sources": ["203.0.113.7/24"]}, "providers.aws.ssh_sources"),
        ({"regions": ["us-east-1"], "endpoint": "127.0.0.1:5000"}, "providers.aws.endpoint"),
        ({"regions": ["us-east-1"], "address": "ssh://{host}"}, "providers.aws.address"),
    ],
)
def test_setting_that_makes_no_sense_is_told_by_its_name(options: dict[str, object], wanted: str) -> None:
    with pytest.raises(UsageError, match=wanted):
        read_settings(options)


def test_sdk_is_imported_by_the_first_call_only() -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from fleetctl.paths import Home\n"
        "from fleetctl.providers import Setup, load\n"
        "load('aws')(Setup(fleet='f', home=Home(Path('h')), options={'regions': ['us-east-1']}))\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('boto3', 'botocore', 'urllib3')])\n"
    )

    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)

    assert printed.stdout.strip() == "[]"
