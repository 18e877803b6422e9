"""Standby that cannot be: engines that do not sleep, machines that are not stopped, and what no machine does."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from fleetctl.catalog import load as load_catalog
from fleetctl.decide.standing import own_pool
from fleetctl.decide.tiers import open_host, unsleepable, unstoppable
from fleetctl.engines import engine
from fleetctl.model.abilities import Abilities
from fleetctl.model.services import Pool, Service, Standby, Tier
from fleetctl.spec.pool_documents import PoolDoc
from fleetctl.spec.problems import Problem
from fleetctl.spec.service_documents import ServiceDoc
from fleetctl.spec.validation import Source

TellAbilities = Callable[[str, Mapping[str, object]], Abilities]
"""By a Provider's name and its settings."""
AbilitiesOf = Callable[[str], Abilities]
"""By its name."""


def standby_problems(service: Service, doc: ServiceDoc, source: Source, pools: Mapping[str, Pool]) -> Iterator[Problem]:
    """What keeps the Service's engine from standing by as it, or its Pool, says."""
    pool = pools.get(service.pool_name)
    standby = service.standby or (pool.standby if pool is not None else Standby())
    own = doc.standby is not None
    if own:
        yield from _shape(service.standby or Standby(), source, shared=False)
    if standby.tier is not Tier.ASLEEP:
        return
    where = ("standby", "tier") if own else ("engine",)
    why = unsleepable(service)
    if why:
        whose = "" if own else f" as the standby of pool/{service.pool_name} is"
        yield source.problem(where, f"it cannot be asleep{whose}: {why}", "write standby: {tier: hot}, or tier: warm")
        return
    sleep = engine(service.engine).sleep
    if sleep is not None and sleep.dropping is None and standby.sleep_level == 2:
        where = ("standby", "sleep_level") if own else ("engine",)
        yield source.problem(where, f"{service.engine} has no sleep level 2", "write sleep_level: 1, or remove it")
    host = open_host(service)
    if host:
        yield source.problem(
            ("args",) if host in service.args else ("command",),
            f"listening at {host} lets other machines put the engine to sleep and steer it",
            "remove --host: it listens on 127.0.0.1 then",
        )


def pool_standby_problems(pool: Pool, doc: PoolDoc, source: Source) -> Iterator[Problem]:
    if doc.standby is not None:
        yield from _shape(pool.standby, source, shared=True)


def _shape(standby: Standby, source: Source, *, shared: bool) -> Iterator[Problem]:
    """Words that mean something only beside others."""
    asleep = standby.tier is Tier.ASLEEP
    if standby.sleep_level is not None and not asleep:
        why = f"a standby that is {standby.tier} does not sleep"
        yield source.problem(("standby", "sleep_level"), why, "add tier: asleep, or remove it")
    if standby.share and not (asleep and shared):
        yield source.problem(
            ("standby", "share"),
            "only engines asleep share GPUs" if shared else "engines of several services share GPUs: this is for one",
            "add tier: asleep" if shared else "write it in the standby of a pool that several services name",
        )


def stopping_problems(
    standby: Standby, pool: Pool, source: Source, configured: Sequence[str], abilities: AbilitiesOf
) -> Iterator[Problem]:
    """Providers whose machines cannot stand by stopped, of those that the Pool may rent from."""
    if standby.tier is not Tier.STOPPED:
        return
    names: Sequence[str] = pool.placement.providers or configured
    able = {name: unstoppable(abilities(name), pool.placement.markets) for name in names}
    good = [name for name, why in able.items() if not why]
    for name, why in able.items():
        if why:
            instead = f"write placement: {{providers: [{', '.join(good)}]}}, or " if good else "write "
            said = f"{name} cannot keep machines stopped: {why}"
            yield source.problem(("standby", "tier"), said, f"{instead}tier: warm")


def stopping_warnings(
    standby: Standby, pool: Pool, source: Source, configured: Sequence[str], abilities: AbilitiesOf
) -> Iterator[Problem]:
    """What a stopped machine does not promise."""
    if standby.tier is not Tier.STOPPED:
        return
    names: Sequence[str] = pool.placement.providers or configured
    for name in names:
        why = abilities(name).start_may_fail
        if why:
            yield source.problem(
                ("standby", "tier"),
                f"a machine that {name} has stopped may not start when it is wanted: {why}",
                "write tier: warm where that must not be",
            )
        disks = sorted({one.local_disk_gb for one in load_catalog().machine_types(name, pool.gpu) if one.local_disk_gb})
        if disks:
            yield source.problem(
                ("standby", "tier"),
                f"a stop at {name} empties a machine's local disks ({disks[-1]} GB): what lies there is fetched again",
                "keep image and weights on the boot disk, where fleetctl puts them",
            )


def pool_of(service: Service, pools: Mapping[str, Pool]) -> Pool:
    return pools.get(service.pool_name) or own_pool(service)
