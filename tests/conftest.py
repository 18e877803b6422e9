"""What all tests share: worlds and stand-ins importable in every import mode, and how much is tried."""

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import settings

for folder in ("unit", "tui", "contract/clouds", "contract/aws", "contract/gcp", "contract/azure", "contract/ssh"):
    sys.path.insert(0, str(Path(__file__).parent / folder))

LIVE = Path(__file__).parent / "contract/clouds/test_live.py"

pytest.register_assert_rewrite("cloud_contract")

# A check that gates a change gives the same answer every time; by hand, each run looks somewhere else.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("by-hand", deadline=None)  # a shared machine pauses whenever it likes
settings.load_profile("ci" if os.environ.get("CI") else "by-hand")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--seeds", type=int, default=0, help="sequences of bad luck for each provider; 0: as many as each test says"
    )
    parser.addoption("--live", metavar="NAME", help="run the cloud contract on a real account: aws, gcp or azure")
    parser.addoption("--live-cap", metavar="USD", type=float, help="what a live run may cost at most; needed for one")
    parser.addoption("--live-options", metavar="JSON", default="", help="settings of the provider, regions at least")


LONGEST = (
    "e2e/test_crash_boundaries.py",
    "e2e/test_journey.py",
    "e2e/test_changes.py",
    "e2e/test_demo.py",
    "e2e/test_kills.py",
    "e2e/test_ssh_machines.py",
    "e2e/test_gateways.py",
    "e2e/test_zero_to_many.py",
    "e2e/test_shared_sleep.py",
    "e2e/test_reclaims.py",
    "e2e/test_rollouts.py",
    "e2e/test_ssh_reaching.py",
)
"""Files begun before all others where several run at once, so that none is left over at the end. What takes every core
has one beside it that takes little."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {name: number for number, name in enumerate(LONGEST)}
    here = Path(__file__).parent

    def ranked(item: pytest.Item) -> int:
        name = item.path.relative_to(here).as_posix() if item.path.is_relative_to(here) else ""
        return rank.get(name, len(LONGEST))

    items.sort(key=ranked)


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False  # by itself it begins with the files of the most tests
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As a shell leaves it to what it starts with `&`; what our tests start would be deaf for Ctrl-C, too.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    name = config.getoption("--live")
    if name is None:
        return
    from live_world import refusal

    cap, options = config.getoption("--live-cap"), config.getoption("--live-options")
    if refused := refusal(name, cap, options, ci=bool(os.environ.get("CI"))):
        raise pytest.UsageError(refused)
    config.args[:] = [str(LIVE)]  # nothing but the live suite: other tests hide credentials


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The live suite is collected when it is asked for, and not skipped a thousand times when not."""
    return True if collection_path == LIVE and config.getoption("--live") is None else None
