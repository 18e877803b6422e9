"""Fleet files read into nouns."""

from collections.abc import Sequence
from pathlib import Path

from fleetctl.spec.fleet import Fleet


def load_fleet(paths: str | Path | Sequence[str | Path] = "fleet") -> Fleet:
    """What fleet files declare, every default filled in; as `fleetctl validate` reads them.

    Each path is a file, or a folder whose YAML files are read in order. Nothing is contacted. `warnings` of the result
    has what is allowed and hardly meant. Raises `NotFound` for a path that is not there, and `SpecError`, whose message
    has every mistake of every file with its line.
    """
    from fleetctl.spec.load import load  # pydantic with it
    from fleetctl.wiring import abilities_of, provider_names

    given = [paths] if isinstance(paths, str | Path) else paths
    return load([Path(one) for one in given], providers=provider_names(), abilities=abilities_of, warnings=True)
