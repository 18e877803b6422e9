"""Whether the gateway's hot path runs as Python or as a native build of the same sources.

A native build is made by `python -m fleetctl.gateway.native_build`, lies beside this file, and is never needed. It is
used only if it was made for this Python from exactly the sources that are here; anything else is ignored, and said.
`FLEETCTL_NATIVE=0` turns it off, `FLEETCTL_NATIVE=1` makes its absence an error.
"""

import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Final

FOLDER: Final = Path(__file__).with_name("_native")
PACKAGE: Final = Path(__file__).parents[1]
MAKE: Final = "python -m fleetctl.gateway.native_build"
MODULES: Final = (
    "downstream", "entry", "exchange", "http1_answers", "http1_chunks", "http1_heads", "lines", "outgoing", "plane",
    "pools", "prefixes", "records", "routing", "steered", "tracing", "upstream", "usage", "waits", "wishes",
    "scheduler.affinity", "scheduler.arbiter", "scheduler.estimates", "scheduler.fairness", "scheduler.line",
    "scheduler.quotas", "scheduler.replicas", "scheduler.retries", "scheduler.seating", "scheduler.shedding",
    "scheduler.ticket", "scheduler.token_buckets", "scheduler.waiting", "workers.worker_sides",
)  # fmt: skip
"""What every request goes through, and what derives from it. Below `fleetctl.gateway`."""

_SOURCES: Final = ("errors.py", "gateway/**/*.py", "model/**/*.py")
"""What a build depends on: constants and types of modules that are not compiled are compiled in, too."""
_RECORD: Final = "built.json"


@dataclass(frozen=True, slots=True)
class Build:
    """A native build that may be used: where each of its modules lies."""

    files: Mapping[str, str]


def digest(package: Path = PACKAGE) -> str:
    """SHA-256 of all sources that a build depends on, with their names."""
    seen = hashlib.sha256()
    for pattern in _SOURCES:
        for path in sorted(package.glob(pattern)):
            seen.update(f"{path.relative_to(package)}\0".encode())
            seen.update(hashlib.sha256(path.read_bytes()).digest())
    return seen.hexdigest()


def record(folder: Path, files: Mapping[str, str], sources: str) -> None:
    """Note of a build what it was made from. `files`: by module, relative to the folder."""
    note = {"python": EXTENSION_SUFFIXES[0], "sources": sources, "files": dict(files)}
    (folder / _RECORD).write_text(json.dumps(note, indent=1))


def found(folder: Path = FOLDER, package: Path = PACKAGE, wish: str = "") -> Build | str:
    """The build in the folder; or in a few words why there is none to use. `wish`: as in FLEETCTL_NATIVE."""
    if wish == "0":
        return "turned off by FLEETCTL_NATIVE=0"
    try:
        note = json.loads((folder / _RECORD).read_bytes())
        python, sources, files = note["python"], note["sources"], note["files"]
        paths = {str(module): str(folder / name) for module, name in files.items()}
    except FileNotFoundError:
        return "there is no native build"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"the native build is damaged; make it anew with `{MAKE}`"
    if python != EXTENSION_SUFFIXES[0]:
        return f"the native build is for another Python ({python}); make one with `{MAKE}`"
    if sources != digest(package):
        return f"the native build is of other sources; make it anew with `{MAKE}`"
    return Build(paths)


class _Finder:
    """Finds the modules of the build before those of the sources. Decides when the first of them is asked for."""

    def __init__(self) -> None:
        self._names = frozenset(f"fleetctl.gateway.{name}" for name in MODULES)
        self.build: Build | str | None = None

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if self.build is None:
            if name not in self._names:
                return None
            self.decide()
        if not isinstance(self.build, Build):
            return None
        file = self.build.files.get(name)
        return importlib.util.spec_from_file_location(name, file) if file is not None else None

    def decide(self) -> Build | str:
        if self.build is None:
            wish = os.environ.get("FLEETCTL_NATIVE", "")
            self.build = found(wish=wish)
            if wish == "1" and isinstance(self.build, str):
                raise ImportError(f"FLEETCTL_NATIVE=1 asks for a native gateway, but {self.build}")
        return self.build


_FINDER: Final = _Finder()


def use() -> None:
    """Import what is compiled from the build, from now on."""
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


def said() -> str:
    """What the hot path runs as, for people: `native`, or `Python` and why."""
    build = _FINDER.decide()
    return f"Python ({build})" if isinstance(build, str) else "native"
