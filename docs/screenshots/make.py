"""Pictures of the dashboard: `python docs/screenshots/make.py`, or `make screenshots`.

Two fleets are drawn: one of eight services, made of plain records (`tests/tui/fleet_of_eight.py`), and `fleetctl demo`,
which is run for it and then played back at its busiest moment. A terminal's picture is Textual's SVG; what makes a PNG
of it is the first found of rsvg-convert, cairosvg and chromium; pngquant makes it small enough to be committed.

    --recording FILE   play this store back instead of running the demo (three minutes)
    --all FOLDER       every screen there is, to FOLDER, beside those that are committed here
"""

import argparse
import asyncio
import contextlib
import html
import importlib.util
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "tui"), str(ROOT / "tests" / "unit")]

from fleet_of_eight import eight  # noqa: E402
from pictures import Fixed  # noqa: E402
from test_screens import PAGES  # noqa: E402

from fleetctl.controller.journal import read  # noqa: E402
from fleetctl.store import SqlStore, open_store  # noqa: E402
from fleetctl.tui.acting import Setting  # noqa: E402
from fleetctl.tui.app import Top  # noqa: E402
from fleetctl.views.looks import Source  # noqa: E402
from fleetctl.views.past import Past  # noqa: E402

LARGE, SMALL = (120, 40), (80, 24)
BYTES_MAX = 150_000
"""Of a committed picture: a README with five of them is then still there at once."""
WIDTH_PX = {LARGE: 1440, SMALL: 960}
COMMITTED = {
    "services": (LARGE, ("down",)),
    "small": (SMALL, ()),
    "replicas": (LARGE, ("down", "enter")),
    "cost": (LARGE, ("c",)),
}
"""Of the fleet of eight, by name: size and keys. `explain` is of the recording."""
DEMO_S = 400.0
"""Longer than the demo takes on a slow machine."""
FONT = "DejaVu Sans Mono"
FONT_SIZE = "font-size: 20.27px"
"""At which its characters are as wide as the columns."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recording", type=Path)
    parser.add_argument("--all", type=Path)
    asked = parser.parse_args()
    os.environ.update(TZ="UTC", PYTHONPATH=str(ROOT))
    time.tzset()
    convert = converter()
    for name, (size, keys) in COMMITTED.items():
        save(HERE / f"{name}.png", asyncio.run(drawn(Fixed(eight()), size, keys)), size, convert)
    if asked.all is not None:
        asked.all.mkdir(parents=True, exist_ok=True)
        for name, keys in PAGES.items():
            for size in (LARGE, SMALL):
                svg = asyncio.run(drawn(Fixed(eight()), size, keys))
                save(asked.all / f"{name}-{size[0]}x{size[1]}.png", svg, size, convert)
    with tempfile.TemporaryDirectory(prefix="fleetctl-pictures-") as folder:
        home = Path(folder) / "home"
        home.mkdir()
        if asked.recording is not None:
            copy(asked.recording, home / "fleet.db")
        else:
            record(Path(folder), home / "fleet.db")
        os.environ["FLEETCTL_HOME"] = str(home)
        store = open_store(str(home / "fleet.db"))  # brings an older one up to date
        at = busiest(store)
        past = asyncio.run(drawn(Past(store, listen="127.0.0.1:8080", since=at), LARGE, ("e",), waits_for="because"))
        save(HERE / "explain.png", past, LARGE, convert)
        if asked.all is not None:
            for name, keys in (("recording", ()), ("recording-events", ("v",)), ("recording-starts", ("w",))):
                svg = asyncio.run(drawn(Past(store, listen="127.0.0.1:8080", since=at), LARGE, keys))
                save(asked.all / f"{name}.png", svg, LARGE, convert)
        store.close()
    return 0


async def drawn(source: Source, size: tuple[int, int], keys: Sequence[str], *, waits_for: str = "") -> str:
    """The SVG of one screen, once a text is on it where a command has to answer first."""
    app = Top(source, Setting(context="prod", read_only=isinstance(source, Past)))
    async with app.run_test(size=size) as pilot:
        for key in (None, *keys):
            if key is not None:
                await pilot.press(key)
            await app.workers.wait_for_complete()
            for _ in range(2):
                await pilot.pause()
        svg = app.export_screenshot(title="fleetctl top")
        if waits_for not in svg:
            raise SystemExit(f"make.py: {waits_for!r} is not on the screen")
        return svg


def record(folder: Path, to: Path) -> None:
    """Run the demo to its end, and keep the last copy of its store that still had a fleet in it."""
    sys.stderr.write("running fleetctl demo: three minutes\n")
    temporary = Path(tempfile.mkdtemp(prefix="f-"))  # short: Unix sockets live below it
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    began = time.monotonic()
    with (folder / "demo.log").open("w") as log:
        demo = subprocess.Popen([sys.executable, "-m", "fleetctl", "demo"], env=environment, stdout=log, stderr=log)
        try:
            while demo.poll() is None and time.monotonic() - began < DEMO_S:
                for store in temporary.glob("fleetctl-demo-*/home/fleet.db"):
                    with contextlib.suppress(sqlite3.Error):
                        copy(store, to)
                time.sleep(2.0)
        finally:
            demo.terminate()
            demo.wait()
            shutil.rmtree(temporary, ignore_errors=True)
    if not to.exists():
        raise SystemExit(f"make.py: the demo has left nothing:\n{(folder / 'demo.log').read_text()[-2000:]}")


def copy(store: Path, to: Path) -> None:
    draft = to.with_suffix(".draft")
    connected = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
    with contextlib.closing(connected) as one, contextlib.closing(sqlite3.connect(draft)) as other:
        one.backup(other)
    draft.replace(to)


def busiest(store: SqlStore) -> float:
    """The tick at which the most requests were queued."""
    entries = [read(one.entry) for one in store.journal_range(since=0.0, until=time.time(), limit=100_000)]
    queued = {one.at: sum(decision.queued or 0 for decision in one.decisions) for one in entries}
    if not queued:
        raise SystemExit("make.py: that store has no journal")
    return max(queued, key=lambda at: queued[at])


def converter() -> list[str]:
    """The command that makes a PNG, with places for the width and the two files."""
    if shutil.which("rsvg-convert"):
        return ["rsvg-convert", "--width={width}", "--output={png}", "{svg}"]
    if importlib.util.find_spec("cairosvg"):
        return [sys.executable, "-m", "cairosvg", "{svg}", "--output-width", "{width}", "-o", "{png}"]
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if shutil.which(name):
            size = "--window-size={width},{height}"
            return [name, "--headless", "--disable-gpu", "--no-sandbox", size, "--screenshot={png}", "{svg}"]
    raise SystemExit("make.py: nothing here makes a PNG of an SVG: apt install librsvg2-bin, or pip install cairosvg")


def save(to: Path, svg: str, size: tuple[int, int], convert: Sequence[str]) -> None:
    """Write one picture. Fonts from the net are left out: the picture is the same wherever it is made."""
    svg = re.sub(r"@font-face\s*{[^}]*}", "", svg).replace("Fira Code", FONT).replace("font-size: 20px", FONT_SIZE)
    svg = _TEXT.sub(_by_character, svg)
    with tempfile.TemporaryDirectory() as folder:
        drawing = Path(folder) / "screen.svg"
        drawing.write_text(svg)
        width = WIDTH_PX[size]
        places = {"width": str(width), "height": str(width * 7 // 10), "svg": str(drawing), "png": str(to)}
        subprocess.run([word.format(**places) for word in convert], check=True)
    smaller(to)
    length = to.stat().st_size
    sys.stderr.write(f"{to}: {length // 1000} kB\n")
    if to.parent == HERE and length > BYTES_MAX:
        raise SystemExit(f"make.py: {to} has {length} bytes, more than {BYTES_MAX}: apt install pngquant")


_TEXT = re.compile(
    r'<text class="([^"]*)" x="([\d.]+)" y="([\d.]+)" textLength="[\d.]+" clip-path="([^"]*)">([^<]*)</text>'
)
_CELL = 12.2
"""Columns of Rich's SVG export, in its own units."""


def _by_character(found: re.Match[str]) -> str:
    """Each character in its own place: converters know no textLength, and a font that stands in is wider."""
    style, x, y, clip, text = found.groups()
    characters = html.unescape(text).replace("\xa0", " ")
    return "".join(
        f'<text class="{style}" x="{float(x) + _CELL * at:.1f}" y="{y}" clip-path="{clip}">{html.escape(one)}</text>'
        for at, one in enumerate(characters)
        if one != " "
    )


def smaller(png: Path) -> None:
    """A terminal has few colours: a palette of 64 of them is a quarter of the size."""
    if shutil.which("pngquant"):
        subprocess.run(["pngquant", "--force", "--output", str(png), "--nofs", "64", str(png)], check=True)


if __name__ == "__main__":
    sys.exit(main())
