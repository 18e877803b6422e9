"""The cloud contract on AWS. Judge: boto3 over real HTTP against moto; what moto lacks is ours (see `aws_server`)."""

import pytest
from aws_server import AwsServer
from aws_world import cloud_of, running_server, server  # noqa: F401  # fixtures
from cloud_contract import CloudContract, CloudUnderTest


@pytest.fixture
def cloud(server: AwsServer) -> CloudUnderTest:  # noqa: F811
    return cloud_of(server)


class TestAws(CloudContract):
    """Every promise, on moto."""
