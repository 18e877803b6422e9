"""SkyPilot's own Python environment, apart from ours: it pins much, imports slowly, and weighs half a gigabyte."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from fleetctl.errors import UsageError
from fleetctl.paths import Home
from fleetctl.providers import Environment

VERSION = "0.14.1"
"""The SkyPilot that the bridge is tested with."""

_SIZE_MB = 460
_PACKAGES = 96
"""Of plain `skypilot`, measured with 0.14.1; most clouds' extras add a few packages and MB."""

EXTRAS = (
    "aws",
    "azure",
    "cudo",
    "do",
    "fluidstack",
    "gcp",
    "hyperbolic",
    "ibm",
    "kubernetes",
    "lambda",
    "mithril",
    "nebius",
    "oci",
    "paperspace",
    "primeintellect",
    "runpod",
    "scp",
    "seeweb",
    "shadeform",
    "slurm",
    "vast",
    "verda",
    "vsphere",
    "yotta",
)
"""What `--with` takes: SkyPilot's own names of what each cloud needs."""

_LARGE_MB = {"aws": 170, "azure": 800, "gcp": 130}
"""Extras that bring a whole SDK; fleetctl needs none of these, as it has its own Providers for them."""

_PYTHON = (3, 13)
"""The newest that this SkyPilot is made for."""


def environment_python(home: Home) -> Path:
    """The Python of the environment, whether it is there or not."""
    return home.root / "sky" / "venv" / "bin" / "python"


def environment(home: Home, extras: Sequence[str] = ()) -> Environment:
    """SkyPilot's environment under a fleet's home, with what these clouds need. Raises `UsageError`."""
    for extra in extras:
        if extra not in EXTRAS:
            raise UsageError(f"SkyPilot {VERSION} has no extra called {extra!r}", hint=f"one of: {', '.join(EXTRAS)}")
    folder = home.root / "sky" / "venv"
    python = environment_python(home)
    requirement = f"skypilot[{','.join(extras)}]=={VERSION}" if extras else f"skypilot=={VERSION}"
    return Environment(
        folder=folder,
        requirement=requirement,
        packages=_PACKAGES,
        ready=any(folder.glob("lib/python*/site-packages/sky/__init__.py")),
        size_mb=_SIZE_MB + sum(_LARGE_MB.get(extra, 0) for extra in extras),
        commands=_commands(folder, python, requirement),
    )


def _commands(folder: Path, python: Path, requirement: str) -> tuple[tuple[str, ...], ...]:
    """With uv where there is one: it is ten times as fast, and fetches a Python when ours is too new for SkyPilot."""
    newest = ".".join(map(str, _PYTHON))
    old_enough = sys.version_info[:2] <= _PYTHON
    uv = shutil.which("uv")
    make: tuple[str, ...]
    install: tuple[str, ...]
    if uv is not None:
        make = (uv, "venv", "--python", sys.executable if old_enough else newest, str(folder))
        install = (uv, "pip", "install", "--python", str(python), requirement)
    else:
        make = (sys.executable if old_enough else f"python{newest}", "-m", "venv", str(folder))
        install = (str(python), "-m", "pip", "install", "--disable-pip-version-check", requirement)
    look = (str(python), "-c", "import sky; print('SkyPilot', sky.__version__)")
    return (install, look) if python.exists() else (make, install, look)
