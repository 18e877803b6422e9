"""A whole Debian's root file system, made by mmdebstrap of the suite that this machine has."""

import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bed.packages import Unavailable

MAKE_S = 400.0
"""Packages of 100 MB, unpacked and configured: 60 to 140 s on busy cores."""
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
_SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))


def suite() -> str:
    """As in `bookworm`."""
    return platform.freedesktop_os_release().get("VERSION_CODENAME", "")


def bootstrap(packages: Sequence[str], target: Path) -> None:
    """The system with these packages, in a folder, or in an archive where the name ends with `.tar`.

    Raises `Unavailable`, and leaves nothing then.
    """
    if shutil.which("mmdebstrap") is None:
        raise Unavailable("a whole Debian needs mmdebstrap: apt-get install mmdebstrap")
    form = "tar" if target.suffix == ".tar" else "directory"
    words = ["mmdebstrap", "--mode=root", f"--format={form}", "--variant=minbase", f"--include={','.join(packages)}"]
    words += [f"--aptopt={option}" for option in _apt_options()]
    words += [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT]
    words += [suite(), str(target), *[str(place) for place in _SOURCES if place.is_file()][:1]]
    done = subprocess.run(words, capture_output=True, text=True, timeout=MAKE_S, check=False)
    if done.returncode != 0:
        if target.is_file():
            target.unlink()
        else:
            shutil.rmtree(target, ignore_errors=True)
        said = [line for line in done.stderr.splitlines() if line.startswith("E:")] or ["no reason told"]
        raise Unavailable(f"a whole Debian cannot be made: {said[0]}")


def _apt_options() -> list[str]:
    """How apt gets out of here: proxies, and what it does not insist on."""
    dumped = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=True).stdout
    return [line.rstrip(";") for line in dumped.splitlines() if re.match(r'Acquire::[A-Za-z:-]+ ".+";$', line)]
