"""What the files change in a fleet: each Service with its count and price, and field by field."""

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fleetctl.cli.costs import Costs, delta
from fleetctl.cli.declaring import Declaration
from fleetctl.cli.output import Column, Format, items, say
from fleetctl.cli.session import Session, session
from fleetctl.decide.schedules import bounds
from fleetctl.errors import FleetError, NotFound
from fleetctl.model.replicas import Role
from fleetctl.model.services import Service
from fleetctl.model.snapshots import Intent
from fleetctl.spec.fleet import FleetConfig
from fleetctl.spec.revision import revision
from fleetctl.views.differences import Difference, differences
from fleetctl.views.figures import dollars
from fleetctl.views.fleet import FleetView
from fleetctl.wiring import home, load_config


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceChange:
    """What becomes of one Service of the files."""

    name: str
    change: str
    """new, up (it was down), rollout (its replicas are replaced), settings; empty: nothing."""
    fields: tuple[Difference, ...]
    replicas_now: int
    replicas_then: int
    """At the least load."""
    pool: str
    unit_per_hour: float | None
    rise_per_hour: float | None


CHANGES: tuple[Column[ServiceChange], ...] = (
    Column(header="SERVICE", cell=lambda row: row.name),
    Column(header="CHANGE", cell=lambda row: row.change or "-"),
    Column(header="REPLICAS", cell=lambda row: f"{row.replicas_now}→{row.replicas_then}", right=True),
    Column(header="POOL", cell=lambda row: row.pool, drop=1),
    Column(header="UNIT $/H", cell=lambda row: dollars(row.unit_per_hour), right=True),
    Column(header="Δ $/H", cell=lambda row: delta(row.rise_per_hour), right=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is there before the files are declared: all that they are compared with."""

    view: FleetView | None
    """None: there is no fleet yet."""
    config: FleetConfig | None
    """The saved settings; None: there are none, or they cannot be read."""
    tenants: Mapping[str, object]
    epoch: str = ""
    intents_version: int = 0

    @property
    def intents(self) -> dict[str, Intent]:
        return {} if self.view is None else {str(one.service.name): one for one in self.view.intents}


@contextlib.contextmanager
def looking(config: FleetConfig) -> Iterator[Session | None]:
    """The fleet, to be read only; None: there is none yet."""
    with contextlib.ExitStack() as stack:
        now: Session | None = None
        with contextlib.suppress(NotFound):
            now = stack.enter_context(session(config=config))
        yield now


def standing_of(declared: Declaration) -> Standing:
    """What there is. Reads the store only."""
    where = home()
    saved: FleetConfig | None = None
    if where.config.exists():
        with contextlib.suppress(FleetError):
            saved = load_config(where)
    with looking(declared.fleet.config) as now:
        if now is None:
            return Standing(view=None, config=saved, tenants={})
        return Standing(
            view=now.view(),
            config=saved,
            tenants={str(one.name): one for one in now.store.tenants()},
            epoch=now.store.epoch,
            intents_version=now.store.intents_version(),
        )


def service_changes(declared: Declaration, standing: Standing, costs: Costs | None = None) -> tuple[ServiceChange, ...]:
    """One of each Service, in the order of the files; without `costs`, without prices."""
    prices = {} if costs is None else {one.name: one for one in costs.services}
    intents, view = standing.intents, standing.view
    found = []
    for service in declared.wanted:
        before = intents.get(service.name)
        changed = differences(f"service/{service.name}", None if before is None else before.service, service)
        count = 0 if view is None else _serving(view, service.name)
        price = prices.get(service.name)
        found.append(
            ServiceChange(
                name=service.name,
                change=_change(before, service, changed),
                fields=changed,
                replicas_now=count,
                replicas_then=_count(before, service, count),
                pool=service.pool_name,
                unit_per_hour=None if price is None else price.unit_per_hour,
                rise_per_hour=None if price is None else price.rise_per_hour,
            )
        )
    return tuple(found)


def all_differences(declared: Declaration, standing: Standing) -> tuple[Difference, ...]:
    """Every field that would change: of the fleet's settings, Pools, Tenants and Services."""
    fleet, view = declared.fleet, standing.view
    pools = {} if view is None else {pool.name: pool for pool in view.pools}
    intents = standing.intents
    found = list(differences("fleet", standing.config or FleetConfig(), fleet.config))
    for pool in fleet.pools:
        found += differences(f"pool/{pool.name}", pools.get(pool.name), pool)
    for tenant in fleet.tenants:
        found += differences(f"tenant/{tenant.name}", standing.tenants.get(tenant.name), tenant)
    for service in declared.wanted:
        before = intents.get(service.name)
        subject = f"service/{service.name}"
        if before is not None and not before.up:
            found.append(Difference(subject=subject, field="", before="down", after="up"))
        found += differences(subject, None if before is None else before.service, service)
    return tuple(found)


def told_changes(declared: Declaration, output: Format) -> None:
    """Print what the files would change, field by field, as `diff` and every `--dry-run` do."""
    write_differences(all_differences(declared, standing_of(declared)), output)


def write_differences(found: Sequence[Difference], output: Format) -> None:
    """Print differences: a block for each subject."""
    subjects = list(dict.fromkeys(one.subject for one in found))
    if output is Format.NAME:
        sys.stdout.writelines(f"{subject}\n" for subject in subjects)
    elif output is not Format.TABLE:
        items(list(found), output)
    elif not found:
        say("nothing differs")
    else:
        sys.stdout.write(differences_text(found))


def differences_text(found: Sequence[Difference]) -> str:
    """As people read it: `+` new, `~` changed, and what each field was."""
    lines = []
    for subject in dict.fromkeys(one.subject for one in found):
        mine = [one for one in found if one.subject == subject]
        new = any(not one.field and one.after == "declared" for one in mine)
        lines.append(f"{'+' if new else '~'} {subject}{'  new' if new else ''}")
        fields = [one for one in mine if not new]
        width = max((len(one.field or "state") for one in fields), default=0)
        lines += [f"    {one.field or 'state':<{width}}  {one.before} → {one.after}" for one in fields]
    return "\n".join(lines) + "\n"


def _serving(view: FleetView, service: str) -> int:
    return sum(1 for replica in view.replicas_of(service) if replica.role is Role.SERVING)


def _change(before: Intent | None, service: Service, changed: Sequence[Difference]) -> str:
    if before is None:
        return "new"
    if not before.up:
        return "up"
    if before.revision != revision(service):
        return "rollout"
    return "settings" if changed else ""


def _count(before: Intent | None, service: Service, there: int) -> int:
    """Replicas afterwards, before any load changes it: as many as there are, within what is allowed."""
    scaling, now = service.scaling, time.time()
    hand = before.override if before is not None and before.up else None
    if hand is not None and (hand.until is None or now < hand.until):
        return min(scaling.max, hand.replicas)
    fixed = scaling.replicas if scaling.policy == "fixed" else None
    added = tuple(one for one in before.added if one not in service.schedule) if before is not None else ()
    timed = bounds((*service.schedule, *added), now)
    return min(scaling.max, max(scaling.min, timed.applied(fixed if fixed is not None else there)))
