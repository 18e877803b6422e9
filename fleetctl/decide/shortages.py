"""Why a Pool opens no machine for a Replica that waits: its own max, a quota, or nobody has what it needs."""

from fleetctl.decide import offers
from fleetctl.decide.draft import Draft
from fleetctl.decide.placement import gpus_needed
from fleetctl.model.services import Pool, Service
from fleetctl.model.shortages import Shortage

POOL, QUOTA, CAPACITY = "pool", "quota", "capacity"
SHORTAGES = (QUOTA, CAPACITY)
"""Stages of a Decision that are found here; a Pool's max shares its stage with a Pool that is closed by hand."""


def full(pool: Pool) -> Shortage:
    """The Pool has as many machines as it may."""
    return Shortage(
        stage=POOL,
        why=f"pool {pool.name} has its max of {pool.max} instances",
        ends=f"max of pool {pool.name} in its file",
    )


def none_to_be_had(draft: Draft, pool: Pool, service: Service) -> Shortage | None:
    """What fits and rests after a failed launch, by the one that rests least long; None: it is not for that."""
    known = draft.snapshot.offers.get(pool.name)
    if known is None:
        return None
    fitting = [offer for offer in known if gpus_needed(service, offer.gpu) is not None]
    if not fitting:
        gpus = " or ".join(str(gpu) for gpu in service.gpu)
        return Shortage(
            stage=CAPACITY, why=f"nobody offers {gpus} to pool {pool.name}", ends="gpu or placement in its file"
        )
    rows = list(draft.ever_in_pool(pool.name))
    rests = [(*offers.rests_until(rows, offer), offer) for offer in fitting]
    resting = [one for one in rests if one[0] > draft.now]
    if len(resting) < len(rests):
        return None
    until, why, offer = min(resting, key=lambda one: one[0])
    code = next((row.failure_code for row in rows if row.failure == why), None)
    words = why.partition("\n")[0]
    return Shortage(stage=QUOTA if code == "quota" else CAPACITY, why=f"{offer.provider}: {words}", until=until)
