"""A two-way look at every Provider: what is there and nothing claims, and what the store has and is nowhere."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fleetctl.errors import FleetError, ProviderError
from fleetctl.model.instances import Instance, InstancePhase, Leftover, Listing, Sighting
from fleetctl.model.names import InstanceId, PoolName, ProviderName
from fleetctl.model.orphans import Orphan, left_behind, orphaned
from fleetctl.ports import Provider

SWEEP_LIMIT_S = 120.0
"""For one Provider, all of its regions: a cloud that takes longer is told as one that does not answer."""
REMOVE_ROUNDS = 6
"""What is still in use is tried again after what used it is gone: machine, disk, address, subnet, network, group."""
_OVER = (Sighting.TERMINATING, Sighting.TERMINATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What was found at the Providers that answered."""

    orphans: tuple[Orphan, ...]
    missing: tuple[Instance, ...]
    """Rows that say an Instance runs or is stopped, and that no listing has."""
    leftovers: tuple[Leftover, ...]
    """Everything besides Instances, that of live ones too, in the order in which it can be removed."""
    listings: Mapping[ProviderName, Listing]
    unreachable: Mapping[ProviderName, str]
    """Those that did not answer, and why: nothing is said of what they hold."""


async def sweep(
    providers: Mapping[ProviderName, Provider],
    *,
    fleet: str,
    rows: Mapping[InstanceId, Instance],
    pools: frozenset[PoolName],
    now: float,
) -> Sweep:
    """Look at every Provider at once. `pools` are those declared, and those of Services without one."""

    async def look(provider: Provider) -> tuple[Listing, Sequence[Leftover]]:
        async with asyncio.timeout(SWEEP_LIMIT_S):
            listing = await provider.list(fleet)
            # Looked at afterwards: what was there before its Instance was listed as gone is left behind for sure.
            return listing, await provider.leftovers(fleet)

    answers = await asyncio.gather(*(look(provider) for provider in providers.values()), return_exceptions=True)
    orphans: list[Orphan] = []
    leftovers: list[Leftover] = []
    listings: dict[ProviderName, Listing] = {}
    unreachable: dict[ProviderName, str] = {}
    for name, answer in zip(providers, answers, strict=True):
        if isinstance(answer, (FleetError, TimeoutError)):
            unreachable[name] = str(answer) or f"no answer within {SWEEP_LIMIT_S:g} s"
            continue
        if isinstance(answer, BaseException):
            raise answer
        listing, left = answer
        listings[name] = listing
        leftovers += left
        for seen in listing.instances:
            if seen.state in _OVER:
                continue
            if seen.pool not in pools:
                orphans.append(orphaned(seen, f"its pool {seen.pool} is not declared", now))
            elif seen.id not in rows:
                orphans.append(orphaned(seen, "the store does not know it", now))
        orphans += [one for leftover in left if (one := left_behind(leftover, listing, now)) is not None]
    return Sweep(
        orphans=tuple(orphans),
        missing=tuple(row for row in rows.values() if _missing(row, listings)),
        leftovers=tuple(leftovers),
        listings=listings,
        unreachable=unreachable,
    )


def _missing(row: Instance, listings: Mapping[ProviderName, Listing]) -> bool:
    listing = listings.get(row.offer.provider)
    if listing is None or row.over or row.phase in (InstancePhase.INTENDED, InstancePhase.TERMINATING):
        return False
    return all(seen.id != row.id for seen in listing.instances) and listing.at > row.phase_at


def with_ages(found: Sequence[Orphan], known: Mapping[str, Orphan]) -> tuple[Orphan, ...]:
    """The Orphans, each with the moment at which it was first found."""
    return tuple(replace(one, seen_at=known[one.key].seen_at) if one.key in known else one for one in found)


async def remove(providers: Mapping[ProviderName, Provider], orphan: Orphan, leftovers: Sequence[Leftover]) -> None:
    """Give one Orphan back. Raises `ProviderError`; one that is gone already is no error."""
    provider = providers[orphan.provider]
    if orphan.kind == "instance":
        await provider.terminate(InstanceId(orphan.id))
        return
    for leftover in leftovers:
        if (leftover.provider, leftover.region, leftover.kind, leftover.id) == (
            orphan.provider,
            orphan.region,
            orphan.kind,
            orphan.id,
        ):
            await provider.remove(leftover)


async def remove_all(
    providers: Mapping[ProviderName, Provider], leftovers: Sequence[Leftover], *, pause_s: float = 2.0
) -> tuple[tuple[Leftover, ...], Mapping[str, str]]:
    """Remove Leftovers, again and again while some are still in use; those removed, and why others were not."""
    removed: list[Leftover] = []
    left = list(leftovers)
    refusals: dict[str, str] = {}
    for round_number in range(REMOVE_ROUNDS):
        if not left:
            break
        if round_number:
            await asyncio.sleep(pause_s)
        refusals, still = {}, []
        for leftover in left:
            try:
                await providers[leftover.provider].remove(leftover)
                removed.append(leftover)
            except ProviderError as error:
                still.append(leftover)
                refusals[f"{leftover.kind}/{leftover.id}"] = error.message
        left = still
    return tuple(removed), refusals
