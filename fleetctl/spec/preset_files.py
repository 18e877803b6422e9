"""Where presets lie."""

from functools import cache
from pathlib import Path

import fleetctl
from fleetctl.errors import NotFound


@cache
def presets_folder() -> Path:
    """The folder of the presets that come with fleetctl. Raises `NotFound` when the installation lacks it.

    A wheel carries them inside the package (hatch's force-include in pyproject.toml); a source tree beside it.
    """
    package = Path(fleetctl.__file__).parent
    for folder in (package / "policies", package.parent / "policies"):
        if (folder / "auto.yaml").is_file():
            return folder
    raise NotFound(f"no presets beside {package}", hint="install fleetctl again: its policies/ folder is missing")


@cache
def preset_names() -> tuple[str, ...]:
    """Of the presets that come with fleetctl."""
    return tuple(sorted(file.stem for file in presets_folder().glob("*.yaml")))
