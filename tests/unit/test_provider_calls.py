"""Blocking calls in threads: what is answered, what is left to itself, and that nothing waits for a hung one."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from fleetctl.errors import Gone, OutcomeUnknown, ProviderError, Throttled, UsageError
from fleetctl.providers import load, names
from fleetctl.providers._shared.options import Options, on_loopback
from fleetctl.providers._shared.threads import Calls

SHORT_S = 0.05


@pytest.fixture
def held() -> Iterator[threading.Event]:
    """What hung calls wait for; set at the end, so that no thread is left."""
    event = threading.Event()
    yield event
    event.set()


async def test_answer_and_error_of_a_call_are_its_callers() -> None:
    calls = Calls("cloud")

    def refuse() -> None:
        raise Gone("it is gone")

    assert await calls.read("it", lambda: 7) == 7
    assert await calls.change("it", lambda: threading.current_thread().daemon) is True
    with pytest.raises(Gone):
        await calls.change("it", refuse)


async def test_call_that_outlives_its_limit_is_unknown_only_when_it_changes_something(held: threading.Event) -> None:
    calls = Calls("cloud")

    with pytest.raises(ProviderError) as read:
        await calls.read("list", held.wait, limit_s=SHORT_S)
    with pytest.raises(OutcomeUnknown, match="launch"):
        await calls.change("launch", held.wait, limit_s=SHORT_S)

    assert type(read.value) is ProviderError
    assert calls.hung == 2


async def test_hung_calls_hold_up_nobody(held: threading.Event) -> None:
    calls = Calls("cloud", threads=2)
    hung = [asyncio.create_task(calls.change("launch", held.wait, limit_s=SHORT_S)) for _ in range(2)]

    listed = await calls.read("list", lambda: "all", limit_s=20.0)
    waited = await calls.change("launch", lambda: "made", limit_s=20.0)  # its turn comes when the hung ones are left
    ends = await asyncio.gather(*hung, return_exceptions=True)

    assert (listed, waited) == ("all", "made")
    assert {type(end) for end in ends} == {OutcomeUnknown}


async def test_call_that_never_got_its_turn_was_not_sent(held: threading.Event) -> None:
    calls = Calls("cloud", threads=1)
    first = asyncio.create_task(calls.change("one", held.wait, limit_s=20.0))
    await asyncio.sleep(0)
    sent = threading.Event()

    with pytest.raises(Throttled, match="not asked: two"):
        await calls.change("two", sent.set, limit_s=SHORT_S)

    held.set()
    assert await first is True
    assert not sent.is_set()


async def test_cloud_that_swallows_everything_is_asked_no_more(held: threading.Event) -> None:
    calls = Calls("cloud", threads=64)
    swallowed = await asyncio.gather(
        *(calls.read("list", held.wait, limit_s=SHORT_S) for _ in range(64)), return_exceptions=True
    )

    with pytest.raises(ProviderError, match="64 earlier calls hang, not asked: list"):
        await calls.read("list", lambda: None)
    held.set()
    while calls.hung:  # noqa: ASYNC110  # a count has no event; the test has its time limit
        await asyncio.sleep(0)

    assert len(swallowed) == 64
    assert await calls.read("list", lambda: "all") == "all"


async def test_cancelled_call_is_left_and_its_place_is_free(held: threading.Event) -> None:
    calls = Calls("cloud", threads=1)
    task = asyncio.create_task(calls.change("one", held.wait, limit_s=20.0))
    await asyncio.sleep(0)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await calls.change("two", lambda: 2) == 2
    assert calls.hung == 1


async def test_closed_provider_asks_nothing_and_waits_for_nothing(held: threading.Event) -> None:
    calls = Calls("cloud")
    running = asyncio.create_task(calls.read("one", held.wait, limit_s=20.0))
    await asyncio.sleep(0)

    calls.close()

    with pytest.raises(ProviderError, match="closed, not asked: two"):
        await calls.read("two", lambda: None)
    held.set()
    assert await running is True


def test_what_providers_share_is_no_provider() -> None:
    assert "aws" in names()
    assert [name for name in names() if name.startswith("_")] == []
    with pytest.raises(UsageError, match="no provider is called '_shared'"):
        load("_shared")


def test_settings_are_read_with_their_types() -> None:
    given = {"regions": ["a", "b", "a"], "disk_gb": 5, "ssh_sources": ["203.0.113.0/24"], "endpoint": "https://h"}

    options = Options("cloud", given, tuple(given))

    assert options.texts("regions") == ("a", "b")
    assert options.whole("disk_gb", 1) == 5
    assert options.sources("ssh_sources") == ("203.0.113.0/24",)
    assert options.endpoint() == "https://h"
    assert options.address() == "ssh://{user}@{ip}:22/{id}"


@pytest.mark.parametrize(
    ("endpoint", "wanted"),
    [
        ("http://127.0.0.1:5000", True),
        ("http://localhost:5000", True),
        ("http://[::1]:5000", True),
        ("https://ec2.us-east-1.amazonaws.com", False),
        ("https://10.0.0.1", False),
        ("", False),
    ],
)
def test_endpoint_on_this_machine_gets_no_real_credentials(endpoint: str, wanted: bool) -> None:
    assert on_loopback(endpoint) is wanted
