"""What all tests share: worlds and stand-ins importable in every import mode, and how much is tried."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

for folder in ("unit", "contract/clouds", "contract/aws", "contract/gcp", "contract/azure", "contract/ssh"):
    sys.path.insert(0, str(Path(__file__).parent / folder))

pytest.register_assert_rewrite("cloud_contract")

# A check that gates a change gives the same answer every time; by hand, each run looks somewhere else.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("by-hand", deadline=None)  # a shared machine pauses whenever it likes
settings.load_profile("ci" if os.environ.get("CI") else "by-hand")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--seeds", type=int, default=0, help="sequences of bad luck for each provider; 0: as many as each test says"
    )
