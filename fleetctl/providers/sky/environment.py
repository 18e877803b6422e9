"""SkyPilot's own Python environment, apart from ours: it pins much, imports slowly, and weighs half a gigabyte."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fleetctl.errors import UsageError
from fleetctl.paths import Home

VERSION = "0.14.1"
"""The SkyPilot that the bridge is tested with."""

SIZE_MB = 460
"""Of plain `skypilot`, 96 packages, measured with 0.14.1; most clouds' extras add a few MB."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What will be made, told before it is made. `commands` are run in order; each may be repeated."""

    folder: Path
    python: Path
    requirement: str
    size_mb: int
    commands: tuple[tuple[str, ...], ...]

    @property
    def made(self) -> bool:
        return self.python.exists()


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
        python=python,
        requirement=requirement,
        size_mb=SIZE_MB + sum(_LARGE_MB.get(extra, 0) for extra in extras),
        commands=_commands(folder, python, requirement),
    )


def _commands(folder: Path, python: Path, requirement: str) -> tuple[tuple[str, ...], ...]:
    uv = shutil.which("uv")
    newest = ".".join(map(str, _PYTHON))
    old_enough = sys.version_info[:2] <= _PYTHON
    if uv is not None:
        wanted = sys.executable if old_enough else newest
        made = ((uv, "venv", "--python", wanted, str(folder)),)
        return (*(() if python.exists() else made), (uv, "pip", "install", "--python", str(python), requirement))
    if not old_enough:
        raise UsageError(
            f"SkyPilot {VERSION} needs Python {newest} or older, and this is {sys.version.split()[0]}",
            hint="install uv, which fetches one: https://docs.astral.sh/uv",
        )
    plain = ((sys.executable, "-m", "venv", str(folder)),)
    return (
        *(() if python.exists() else plain),
        (str(python), "-m", "pip", "install", "--disable-pip-version-check", requirement),
    )
