"""How busy GPUs are, out of the exposition of an exporter or an engine."""

from collections.abc import Sequence

from fleetctl.engines.gpu_gauges import GPU_GAUGES
from fleetctl.scrape.exposition import series


def read_gpus(body: bytes, gpus: Sequence[int], *, now: float) -> float | None:
    """The mean share of time that these GPUs of the machine are busy; None: the exposition does not tell of each.

    Where a gauge has no indexes, or the Replica is bound to none, all GPUs that it shows count.
    """
    if not body.endswith(b"\n"):
        return None
    for gauge in GPU_GAUGES:
        found = series(body, gauge.name, now=now)
        if found is None:
            return None
        if not found:
            continue
        shares: dict[str, float] = {}
        for place, (labels, value) in enumerate(found):
            key = str(place) if gauge.index_label is None else labels.get(gauge.index_label, "")
            # A MIG slice is a series beside its GPU's; the busiest tells for the GPU.
            shares[key] = max(shares.get(key, 0.0), value / gauge.full)
        wanted = [str(gpu) for gpu in gpus] if gauge.index_label is not None and gpus else list(shares)
        if any(key not in shares or shares[key] > 1.0 for key in wanted):
            return None
        return sum(shares[key] for key in wanted) / len(wanted)
    return None
