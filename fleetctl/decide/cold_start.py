"""A first guess of how long a start takes, where nobody has measured one yet.

The rates are round figures of published cold starts: a Llama 3.1 8B container of 20 GB in 8 to 12 minutes with nothing
cached (BentoML, 2025-04), a serving image in 4 to 6 (AWS ML blog, 2026-06), an engine's own start in 35 s to 8 minutes.
"""

from typing import assert_never

from fleetctl.decide.weight_size import fetch_s, guessed_bytes
from fleetctl.model.replicas import Origin
from fleetctl.model.services import Service, Tier

INSTANCE_S = 90.0
"""From the order to a login: the middle of what the big clouds take for a GPU machine."""
IMAGE_GB = 10.0
"""A serving image, compressed; vLLM's and SGLang's are 8 to 15."""
IMAGE_GB_PER_S = 0.1
"""Pulled and unpacked."""
WEIGHTS_GUESS_GB = 16.0
"""Of a model whose name does not say: one of 8 thousand million parameters, in two bytes each."""
ENGINE_S = 60.0
ENGINE_S_PER_GB = 1.0
"""Loading, compiling, capturing: larger models take longer."""
HOT_S = 1.0
WAKE_S = 5.0
"""vLLM wakes from its first sleep level in 0.1 to 6 s (vLLM blog, 2025-10-26)."""
RESUME_S = 60.0
"""A stopped machine, from the order to a login."""
MOST_S = 1800.0


def cold_s(service: Service) -> float:
    """Seconds from an order to the first token: what the file says, or an estimate from the size of the model."""
    if service.cold_start.cold_s is not None:
        return service.cold_start.cold_s
    image_s = IMAGE_GB / IMAGE_GB_PER_S if service.image is not None else 0.0
    return min(MOST_S, INSTANCE_S + image_s + fetch_s(gigabytes(service) * 1e9) + _engine_s(service))


def standby_s(service: Service, tier: Tier) -> float:
    """The same from a Slot that stands by."""
    if service.cold_start.standby_s is not None:
        return service.cold_start.standby_s
    return tier_s(service, tier)


def tier_s(service: Service, tier: Tier) -> float:
    """The same by the tier alone, whatever the file says of its own."""
    guess_s = {
        Tier.HOT: HOT_S,
        Tier.ASLEEP: WAKE_S,
        Tier.WARM: _engine_s(service),
        Tier.STOPPED: RESUME_S + _engine_s(service),
    }[tier]
    return min(cold_s(service), guess_s)


def stages_s(service: Service, origin: Origin) -> dict[str, float]:
    """A guess of each stage of a start from there, in seconds; image and weights come side by side."""
    engine = {"engine": _engine_s(service)}
    match origin:
        case "hot":
            return {"settle": HOT_S}
        case "asleep":
            return {"wake": WAKE_S}
        case "warm":
            return engine
        case "stopped":
            return {"boot": RESUME_S, **engine}
        case "cold":
            image = {"image": IMAGE_GB / IMAGE_GB_PER_S} if service.image is not None else {}
            return {"boot": INSTANCE_S, **image, "weights": fetch_s(gigabytes(service) * 1e9), **engine}
    assert_never(origin)


def _engine_s(service: Service) -> float:
    return ENGINE_S + ENGINE_S_PER_GB * gigabytes(service)


def gigabytes(service: Service) -> float:
    """Of the weights, as the model's name tells; of a usual model where it does not."""
    size = guessed_bytes(service.model)
    return WEIGHTS_GUESS_GB if size is None else size / 1e9
