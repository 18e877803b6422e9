"""Wheels of the packages that run here, packed again from where they are installed: a package index of no network."""

import atexit
import shutil
import zipfile
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from tempfile import mkdtemp

from fleetctl.node.payload import pins

_LEFT_OUT = ("INSTALLER", "REQUESTED", "direct_url.json")


@cache
def folder_of_wheels() -> Path:
    """One wheel for each package that a node agent needs."""
    folder = Path(mkdtemp(prefix="fw-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for pin in pins():
        _pack(pin.partition("==")[0], folder)
    return folder


def _pack(name: str, folder: Path) -> None:
    there = distribution(name)
    tags = [
        line.removeprefix("Tag: ") for line in (there.read_text("WHEEL") or "").splitlines() if line.startswith("Tag: ")
    ]
    plain = there.metadata["Name"].replace("-", "_")
    with zipfile.ZipFile(folder / f"{plain}-{there.version}-{tags[0]}.whl", "w") as wheel:
        for file in there.files or ():
            kept = ".." not in file.parts and file.name not in _LEFT_OUT and file.suffix != ".pyc"
            if kept and file.locate().is_file():
                wheel.write(str(file.locate()), str(file))
