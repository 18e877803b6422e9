"""A first guess of how long a start takes, where nobody has measured one yet.

The rates are round figures of published cold starts: a Llama 3.1 8B container of 20 GB in 8 to 12 minutes with nothing
cached (BentoML, 2025-04), a serving image in 4 to 6 (AWS ML blog, 2026-06), an engine's own start in 35 s to 8 minutes.
"""

import re

from fleetctl.model.services import Service, Tier

INSTANCE_S = 90.0
"""From the order to a login: the middle of what the big clouds take for a GPU machine."""
IMAGE_GB = 10.0
"""A serving image, compressed; vLLM's and SGLang's are 8 to 15."""
IMAGE_GB_PER_S = 0.1
"""Pulled and unpacked."""
WEIGHTS_GB_PER_S = 0.4
"""From a hub or a bucket in the region onto a disk."""
BYTES_PER_PARAMETER = 2.0
PARAMETERS_GUESS = 8.0
"""In thousand millions, of a model whose name does not say."""
ENGINE_S = 60.0
ENGINE_S_PER_GB = 1.0
"""Loading, compiling, capturing: larger models take longer."""
HOT_S = 1.0
WAKE_S = 5.0
"""vLLM wakes from its first sleep level in 0.1 to 6 s (vLLM blog, 2025-10-26)."""
RESUME_S = 60.0
"""A stopped machine, from the order to a login."""
MOST_S = 1800.0

_BILLIONS = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)(?:x(\d+(?:\.\d+)?))?[bB](?![A-Za-z0-9])")


def parameters(model: str) -> float | None:
    """Thousand millions of parameters, as the model's name tells: 8.0 for `Llama-3.1-8B`, 56.0 for `Mixtral-8x7B`."""
    found = _BILLIONS.findall(model.split("@")[0].rsplit("/", 1)[-1])
    if not found:
        return None
    return max(float(count) * (float(times) if times else 1.0) for count, times in found)


def cold_s(service: Service) -> float:
    """Seconds from an order to the first token: what the file says, or an estimate from the size of the model."""
    if service.cold_start.cold_s is not None:
        return service.cold_start.cold_s
    image_s = IMAGE_GB / IMAGE_GB_PER_S if service.image is not None else 0.0
    return min(MOST_S, INSTANCE_S + image_s + _gigabytes(service) / WEIGHTS_GB_PER_S + _engine_s(service))


def standby_s(service: Service, tier: Tier) -> float:
    """The same from a Slot that stands by."""
    if service.cold_start.standby_s is not None:
        return service.cold_start.standby_s
    guess_s = {
        Tier.HOT: HOT_S,
        Tier.ASLEEP: WAKE_S,
        Tier.WARM: _engine_s(service),
        Tier.STOPPED: RESUME_S + _engine_s(service),
    }[tier]
    return min(cold_s(service), guess_s)


def _engine_s(service: Service) -> float:
    return ENGINE_S + ENGINE_S_PER_GB * _gigabytes(service)


def _gigabytes(service: Service) -> float:
    return BYTES_PER_PARAMETER * (parameters(service.model) or PARAMETERS_GUESS)
