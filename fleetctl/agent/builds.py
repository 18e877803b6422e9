"""What compiled code depends on besides GPU and driver: the CPU's instructions, and the engines' versions."""

import hashlib
import platform
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import distributions
from pathlib import Path

import fleetctl
from fleetctl.engines import Engine, engine, engine_names
from fleetctl.errors import UsageError

_CPU = Path("/proc/cpuinfo")

_FLAG = re.compile(
    r"(?:3dnow|abm|adx|aes|amx|avx|bmi|clflushopt|clwb|cmpccxadd|cx16|f16c|fma|fsgsbase|gfni|lahf|lzcnt|mmx|movbe|movdir|"
    r"pclmul|popcnt|prefetchw|raoint|rdrand|rdseed|serialize|sha|sse|ssse|tbm|vaes|vpclmul|waitpkg|xop|xsave).*"
)
"""Of all that a kernel says of an x86 CPU: what compilers use. The rest tells of the kernel and its hypervisor."""


def instructions(text: str | None = None) -> str:
    """A digest of the instructions that this CPU knows, or the one that `text`, a cpuinfo, tells of; empty: unknown."""
    if text is None:
        try:
            text = _CPU.read_text(errors="replace")
        except OSError:
            return ""
    found = re.search(r"^(flags|Features)\s*:(.*)$", text, re.MULTILINE)
    if found is None:
        return ""
    flags = {flag for flag in found[2].split() if found[1] == "Features" or _FLAG.fullmatch(flag)}
    return hashlib.sha256(" ".join((platform.machine(), *sorted(flags))).encode()).hexdigest()[:16]


def installed_engines() -> tuple[tuple[str, str], ...]:
    """Version by engine, of those that can be started here without an image."""
    found = []
    for name in engine_names():
        try:
            known = engine(name)
        except UsageError:  # another package's, and broken
            continue
        version = _version(known) if known.package and known.command else ""
        if version:
            found.append((name, version))
    return tuple(found)


def _version(known: Engine) -> str:
    """As the package's own notes beside the program say, without running it: that takes seconds."""
    if known.package == fleetctl.__name__:
        return fleetctl.__version__
    program = known.command[0]
    if program == "{python}":
        return _in(sys.path, known.package)
    where = shutil.which(program)
    return _in(_beside(Path(where)), known.package) if where is not None else ""


def _beside(program: Path) -> Iterator[str]:
    for folder in program.resolve().parent.parent.glob("lib/python3*/site-packages"):
        yield str(folder)


def _in(folders: Iterable[str], package: str) -> str:
    found = next(iter(distributions(name=package, path=list(folders))), None)
    return str(found.version) if found is not None else ""
