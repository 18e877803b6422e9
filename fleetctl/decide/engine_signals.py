"""What else engines and their GPUs tell: how busy the GPUs are, how full the engines get, and who wants to know."""

from collections.abc import Iterable, Mapping, Sequence

from fleetctl.decide.load import STALE_S
from fleetctl.model.names import ReplicaId
from fleetctl.model.replicas import Replica, ReplicaPhase
from fleetctl.model.services import Service
from fleetctl.model.signals import Reading, Unknown, Utilization


def policies_of(service: Service) -> frozenset[str]:
    """Every policy that has a say."""
    return frozenset((service.scaling.policy, *(signal.policy for signal in service.signals if signal.policy)))


def wants_latencies(service: Service) -> bool:
    """Whether histograms of times are worth reading: they are some tens of numbers for each engine."""
    return "latency_slo" in policies_of(service)


def wants_gpus(service: Service) -> bool:
    return "gpu_utilization" in policies_of(service)


def utilization(
    replicas: Sequence[Replica], readings: Mapping[ReplicaId, Reading | Unknown], now: float
) -> Utilization | None:
    """How busy the GPUs of the ready Replicas are; None: nobody tells of any."""
    ready = sum(1 for replica in replicas if replica.phase is ReplicaPhase.READY)
    known = [one.gpu_utilization for one in _fresh(replicas, readings, now) if one.gpu_utilization is not None]
    if not known:
        return None
    unknown = ready - len(known)
    return Utilization(low=sum(known) / ready, high=(sum(known) + unknown) / ready, unknown=unknown)


def fullest(replicas: Sequence[Replica], readings: Mapping[ReplicaId, Reading | Unknown], now: float) -> float | None:
    """The most requests that one of these engines runs while others wait inside it; None: none wait inside any."""
    return max((one.running for one in _fresh(replicas, readings, now) if one.waiting > 0), default=None)


def _fresh(
    replicas: Sequence[Replica], readings: Mapping[ReplicaId, Reading | Unknown], now: float
) -> Iterable[Reading]:
    for replica in replicas:
        reading = readings.get(replica.id)
        if replica.phase is ReplicaPhase.READY and isinstance(reading, Reading) and now - reading.at <= STALE_S:
            yield reading
