"""An environment of Python packages, made where pip itself is told to look for them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from bed.places import cache

INSTALL_S = 600.0
"""2.1 GB of packages take 12 s from a warm cache and a minute from a package index nearby."""

_SETTINGS = {
    "find-links": "--find-links",
    "index-url": "--index-url",
    "extra-index-url": "--extra-index-url",
}


class Unavailable(RuntimeError):
    """What is wanted cannot be had here; the message says what and why, in one sentence."""


def pip() -> list[str]:
    """The words that run a pip: of this environment, of the Python below it, or whichever there is."""
    for words in ([sys.executable, "-m", "pip"], [f"{sys.base_prefix}/bin/python3", "-m", "pip"], ["pip"], ["pip3"]):
        if (
            shutil.which(words[0])
            and subprocess.run([*words, "--version"], capture_output=True, check=False).returncode == 0
        ):
            return words
    raise Unavailable("there is no pip here: apt-get install python3-pip")


def sources() -> list[str]:
    """uv's words for the index and folders of wheels that pip is configured with; uv does not read them by itself."""
    listed = subprocess.run([*pip(), "config", "list"], capture_output=True, text=True, check=False).stdout
    found: dict[str, str] = {}
    for line in listed.splitlines():
        setting = re.match(r"(:env:|global|install|site|user)\.([a-z-]+)='(.*)'$", line)
        if setting is not None and setting[2] in _SETTINGS and (setting[1] == ":env:" or setting[2] not in found):
            found[setting[2]] = setting[3].replace("\\n", " ")
    return [word for name, value in found.items() for one in value.split() for word in (_SETTINGS[name], one)]


def uv() -> str:
    """uv's program: the one installed here, or one of our own from the package index."""
    there = shutil.which("uv")
    if there is not None:
        return there
    folder = cache() / "uv"
    program = folder / "bin" / "uv"
    if not program.is_file():
        words = [*pip(), "install", "-q", "--disable-pip-version-check", "--target", str(folder), "uv"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=INSTALL_S, check=False)
        if done.returncode != 0:
            raise Unavailable(f"uv cannot be installed: {_last(done.stderr)}")
    return str(program)


def installed(python: str, folder: Path, requirements: Path) -> None:
    """Makes the environment. Raises `Unavailable` where a package cannot be had."""
    program = uv()
    for words in (
        ["venv", "-q", "--clear", "--python", python, str(folder)],
        [
            *("pip", "install", "-q", "--python", str(folder / "bin" / "python"), "--no-deps"),
            *("--index-strategy", "unsafe-best-match", *sources(), "-r", str(requirements)),
        ],
    ):
        done = subprocess.run(
            [program, *words],
            capture_output=True,
            text=True,
            timeout=INSTALL_S,
            check=False,
            # The certificates of this system, as pip has them; the second name is that of older versions.
            env={name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
            | {"UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1"},
        )
        if done.returncode != 0:
            raise Unavailable(f"{requirements.name} cannot be installed: {_last(done.stderr)}")


def _last(text: str) -> str:
    return " ".join((text.strip() or "no reason told").splitlines()[-3:])[:400]
