"""The contract of all clouds, kept by the GCP provider with Google's SDK over HTTP.

Requests and replies are judged by Google's discovery document; what the server remembers, and how it fails, is ours.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cloud_contract import CloudContract, CloudUnderTest
from gcp_world import served, under_test


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[CloudUnderTest]:
    with served() as (server, endpoint):
        yield under_test(server, endpoint, tmp_path)


class TestGcp(CloudContract):
    pass
