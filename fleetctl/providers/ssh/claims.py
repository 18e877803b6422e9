"""Who holds a machine: the claim on the machine itself, and what this home remembers of it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from fleetctl.errors import ProviderError, UsageError
from fleetctl.model.instances import LaunchSpec, Sighting


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What the file on the machine says; `spec` is what it was launched with."""

    spec: LaunchSpec
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A machine's claim as last read, or as it was about to be made."""

    claim: Claim | None
    stranger: str = ""
    """Who holds it, where that is not one of ours to read."""
    state: Sighting = Sighting.RUNNING
    at: float
    unreached: str = ""
    """Why it was not read just now."""


def parsed(out: bytes) -> Known:
    """What the node script's `claims` says."""
    lines = out.decode(errors="replace").splitlines()
    state = Sighting.RUNNING
    for number, line in enumerate(lines):
        key, _, value = line.partition("=")
        if key == "state":
            state = Sighting(value)
        elif key == "claim":
            try:
                claim = msgspec.json.decode("".join(lines[number + 1 : number + 2]), type=Claim)
            except msgspec.DecodeError:
                return Known(claim=None, stranger=value or "somebody unknown", state=state, at=time.time())
            return Known(claim=claim, state=state, at=time.time())
    return Known(claim=None, at=time.time())


def holder(known: Known) -> str:
    """Who has the machine, for people."""
    if known.claim is not None:
        return f"fleet {known.claim.spec.fleet} as {known.claim.spec.id}"
    return known.stranger or "nobody"


def read(path: Path) -> dict[str, Known]:
    """What this home knows of its machines, by name. Raises `UsageError` for a damaged file."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Known])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        # Taken as empty, machines that do not answer would count as free of us.
        raise UsageError(
            f"{path} cannot be read: {error}", hint=f"restore it; or, with every machine up, remove {path}"
        ) from error


def write(path: Path, known: Mapping[str, Known]) -> None:
    """Replace the file as a whole. Raises `ProviderError`."""
    draft = path.with_suffix(".tmp")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(known)))
        draft.replace(path)
    except OSError as error:
        raise ProviderError(f"{path} cannot be written: {error.strerror}", hint="fleetctl doctor") from error
