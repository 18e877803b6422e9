"""What each screen looks like, line by line, at three sizes. Made anew by: python tests/tui/test_screens.py"""

import asyncio
import difflib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "unit")]

from fleet_of_eight import eight
from pictures import Fixed, screen_text

from fleetctl.tui.acting import Setting
from fleetctl.tui.app import Top

SCREENS = Path(__file__).with_name("screens")
SIZES = {"120x40": (120, 40), "80x24": (80, 24), "200x60": (200, 60)}
PAGES: dict[str, Sequence[str]] = {
    "services": (), "second": ("down",), "replicas": ("down", "enter"), "nodes": ("n",), "cost": ("c",), "xray": ("x",),
    "events": ("v",), "schedules": ("t",), "rollouts": ("r",), "starts": ("w",), "demand": ("2",), "pools": ("3",),
    "stages": ("down", "4"), "scale": ("down", "plus"), "help": ("question_mark",),
    "nothing": ("slash", *"xyzzy", "enter"), "event": ("tab", "enter"), "sorted": ("Q",),
}  # fmt: skip
"""By name: the keys that lead to it."""
ASCII = "services-ascii"


def wanted() -> list[tuple[str, str]]:
    small = [("80x24", page) for page in ("services", "second", "replicas", "demand", "pools", "stages", "cost")]
    large = [("200x60", page) for page in ("services", "replicas", "xray")]
    small += [("80x24", page) for page in ("help", "nodes", "schedules", "rollouts", "nothing", "event", "sorted")]
    # Panels that are there all the time where there is room, and what is the same in any size.
    own = ("demand", "pools", "stages", "nothing", "event", "sorted")
    return [*(("120x40", page) for page in (*PAGES, ASCII) if page not in own), *small, *large]


async def drawn(size: tuple[int, int], page: str) -> str:
    """The screen as text, with a frozen clock."""
    app = Top(Fixed(eight()), Setting(context="prod", ascii_only=page == ASCII))
    async with app.run_test(size=size) as pilot:
        await app.workers.wait_for_complete()
        for _ in range(2):
            await pilot.pause()
        for key in PAGES.get(page, ()):
            await pilot.press(key)
            for _ in range(2):
                await pilot.pause()
        return "\n".join(screen_text(app)) + "\n"


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(("size", "page"), wanted())
async def test_a_screen_looks_as_it_did(size: str, page: str) -> None:
    file = SCREENS / f"{page}-{size}.txt"
    before = file.read_text() if file.exists() else ""
    now = await drawn(SIZES[size], page)
    changes = "\n".join(difflib.unified_diff(before.splitlines(), now.splitlines(), "before", "now", lineterm="", n=0))
    assert now == before, f"{file.name} changed; if that is meant: python tests/tui/test_screens.py\n{changes}"


def test_there_is_no_screen_that_nobody_draws() -> None:
    assert {file.name for file in SCREENS.iterdir()} == {f"{page}-{size}.txt" for size, page in wanted()}


def test_what_is_drawn_in_ascii_is_ascii() -> None:
    assert (SCREENS / f"{ASCII}-120x40.txt").read_text().isascii()


def main() -> None:
    os.environ["TZ"] = "UTC"
    time.tzset()
    SCREENS.mkdir(exist_ok=True)
    for old in SCREENS.iterdir():
        old.unlink()
    for size, page in wanted():
        (SCREENS / f"{page}-{size}.txt").write_text(asyncio.run(drawn(SIZES[size], page)))


if __name__ == "__main__":
    main()
