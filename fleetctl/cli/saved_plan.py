"""A plan in a file: what was looked at, so that `apply` does exactly that, or refuses and says what is not the same.

It holds digests of what the files declare, not what they say: nothing in it is a secret.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from fleetctl.cli.costs import CostRow, Costs
from fleetctl.cli.declaring import Declaration
from fleetctl.cli.planning import Standing
from fleetctl.errors import Conflict, NotFound, StoreFailure, UsageError
from fleetctl.views.figures import ago, dollars

HOLDS_S = 1800.0
"""Prices of spot machines and what is to be had change within the hour; whoever planned may still fetch a colleague."""
FILE_BYTES_MAX = 8 << 20
"""A plan of ten thousand Services has less; what is larger is something else."""
SHOWN_MAX = 10
"""Of what is not the same: the first few tell what happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPlan:
    """What was planned, when, and on what grounds."""

    kind: Literal["plan"] = "plan"
    at: float
    """Unix seconds."""
    paths: tuple[str, ...]
    """Of the files, absolute."""
    services: tuple[str, ...]
    max_cost_per_hour: float | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    """Of what the files declare, by subject."""
    home: str = ""
    epoch: str = ""
    """Of the store; empty: there was none."""
    intents_version: int = 0
    prices: Mapping[str, float | None] = field(default_factory=dict)
    """US dollars an hour by pool, provider, type and market."""
    then_per_hour: float | None = None
    most_per_hour: float | None = None


def saved_plan(declared: Declaration, standing: Standing, costs: Costs, *, root: Path) -> SavedPlan:
    """The plan, as it is written."""
    return SavedPlan(
        at=time.time(),
        paths=tuple(str(path.absolute()) for path in declared.paths),
        services=tuple(str(service.name) for service in declared.wanted),
        max_cost_per_hour=declared.fleet.config.max_cost_per_hour,
        digests=digests(declared),
        home=str(root),
        epoch=standing.epoch,
        intents_version=standing.intents_version,
        prices=prices(costs.rows),
        then_per_hour=costs.then,
        most_per_hour=costs.most,
    )


def write_plan(file: Path, made: SavedPlan) -> None:
    """Put it in place of what was there. Raises `StoreFailure`."""
    draft = file.with_name(file.name + ".tmp")
    try:
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(made), indent=2) + b"\n")
        draft.replace(file)
    except OSError as error:
        raise StoreFailure(
            f"{file} cannot be written: {error.strerror}", hint="give another place: fleetctl plan --out FILE"
        ) from error


def read_plan(file: Path) -> SavedPlan:
    """The plan in a file. Raises `NotFound`, `UsageError` for a file that is none, and `Conflict` for an old one."""
    try:
        with file.open("rb") as opened:
            content = opened.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise NotFound(
            f"{file} cannot be read: {(error.strerror or str(error)).lower()}",
            hint="make one: fleetctl plan --out FILE",
        ) from error
    try:
        found = msgspec.json.decode(content, type=SavedPlan)
    except msgspec.DecodeError as error:
        raise UsageError(
            f"{file} is no saved plan: {error}",
            hint=f"fleet files are given with -f: fleetctl apply -f {file}",
        ) from error
    age_s = time.time() - found.at
    if not -HOLDS_S <= age_s <= HOLDS_S:
        raise Conflict(
            f"the plan in {file} is of {ago(abs(age_s))} {'ago' if age_s > 0 else 'from now'}, and plans hold for "
            f"{ago(HOLDS_S)}",
            hint=_again(found, file),
        )
    return found


def refuse_drift(file: Path, before: SavedPlan, declared: Declaration, standing: Standing, *, root: Path) -> None:
    """Raise `Conflict` where the files, the fleet or its store are not as they were when it was planned."""
    drift = []
    if before.home != str(root):
        drift.append(f"the plan is of the fleet in {before.home}, and this is the one in {root}")
    elif before.epoch != standing.epoch:
        drift.append("the fleet has another store now" if before.epoch else "there was no fleet, and there is one now")
    elif before.intents_version != standing.intents_version:
        drift.append("what is wanted of the fleet was changed by somebody: fleetctl undo --list")
    now = digests(declared)
    for subject in dict.fromkeys((*before.digests, *now)):
        if before.digests.get(subject) != now.get(subject):
            what = "is new in" if subject not in before.digests else "is not in" if subject not in now else "changed in"
            drift.append(f"{subject} {what} the files")
    _refuse(file, before, drift)


def refuse_dearer(file: Path, before: SavedPlan, costs: Costs) -> None:
    """Raise `Conflict` where prices, or what is needed, are not what they were when it was planned."""
    drift = []
    now = prices(costs.rows)
    for name in dict.fromkeys((*before.prices, *now)):
        if name not in now or name not in before.prices:
            drift.append(f"{name} is {'offered now' if name in now else 'not offered any more'}")
        elif before.prices[name] != now[name]:
            drift.append(f"{name} was {dollars(before.prices[name])}/h and is {dollars(now[name])}/h")
    if not drift and before.then_per_hour != costs.then:
        drift.append(f"{dollars(before.then_per_hour)}/h was to be needed, and {dollars(costs.then)}/h is")
    _refuse(file, before, drift)


def digests(declared: Declaration) -> Mapping[str, str]:
    """Of everything that is declared, by subject."""
    fleet = declared.fleet
    nouns: Sequence[tuple[str, object]] = (
        ("fleet", fleet.config),
        *((f"pool/{pool.name}", pool) for pool in fleet.pools),
        *((f"tenant/{tenant.name}", tenant) for tenant in fleet.tenants),
        *((f"service/{service.name}", service) for service in declared.wanted),
    )
    encoder = msgspec.json.Encoder(order="deterministic")
    return {subject: hashlib.sha256(encoder.encode(noun)).hexdigest() for subject, noun in nouns}


def prices(rows: Sequence[CostRow]) -> Mapping[str, float | None]:
    return {
        f"{row.pool}/{row.provider}/{row.type}/{row.market}" if row.type else f"{row.pool}": row.price_per_hour
        for row in rows
    }


def _refuse(file: Path, before: SavedPlan, drift: Sequence[str]) -> None:
    if drift:
        more = f"; and {len(drift) - SHOWN_MAX} more" if len(drift) > SHOWN_MAX else ""
        raise Conflict(
            f"not as planned in {file}, {ago(time.time() - before.at)} ago: {'; '.join(drift[:SHOWN_MAX])}{more}",
            hint=_again(before, file),
        )


def _again(before: SavedPlan, file: Path) -> str:
    files = " ".join(f"-f {path}" for path in before.paths)
    return f"look again: fleetctl plan {files} --out {file}"
