"""What `model:` says: malformed addresses, what is not pinned, and weights that no disk of the fleet's holds."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from fleetctl.decide.weight_size import disk_bytes, guessed_bytes
from fleetctl.engines import engine, model_source, weights
from fleetctl.engines.loading import loading_fault
from fleetctl.engines.model_sources import ELSEWHERE, FORMS, malformed
from fleetctl.errors import UsageError
from fleetctl.model.instances import DISK_GB
from fleetctl.model.services import Pool, Service
from fleetctl.spec.problems import Problem
from fleetctl.spec.suggestions import nearest
from fleetctl.spec.validation import Source

SCHEME_LIKENESS = 0.6
"""Schemes have two letters, so that one slip too many already makes 0.67, as from `sss` to `s3`."""
OWN_DISKS = ("local", "ssh")
"""Providers whose machines come with the disks that they have."""


def model_problems(service: Service, source: Source) -> Iterator[Problem]:
    """A malformed address, and what to write instead."""
    found = malformed(service.model)
    if found is None:
        fault = loading_fault(engine(service.engine), service)
        if fault is not None:
            yield source.problem(("loading",), *fault)
        return
    near = ELSEWHERE.get(found.scheme.lower()) or nearest(found.scheme, FORMS, likeness=SCHEME_LIKENESS)
    if found.scheme and near:
        yield source.problem(("model",), f"{found.message}; did you mean {near}://?", f"write {FORMS[near]}")
    else:
        yield source.problem(("model",), found.message, found.fix)


def model_warnings(
    service: Service, source: Source, pools: Mapping[str, Pool], providers: Mapping[str, Mapping[str, object]]
) -> Iterator[Problem]:
    """What may change under the fleet's feet, and what may not fit."""
    where = model_source(service.model)
    if not _fetched(service):
        return
    if not where.pinned:
        said = f"@{where.revision} is a branch or a tag" if where.revision else "no revision is written"
        yield source.problem(
            ("model",),
            f"{said}, so two nodes may hold different weights",
            f"write {service.model.partition('@')[0]}@COMMIT, with a commit of "
            f"https://huggingface.co/{where.name}/commits/main; fleetctl plan tells the newest",
        )
    yield from _too_large(service, source, pools, providers)


def _too_large(
    service: Service, source: Source, pools: Mapping[str, Pool], providers: Mapping[str, Mapping[str, object]]
) -> Iterator[Problem]:
    need = disk_bytes(service.model, image=service.image is not None)
    if need is None:
        return
    pool = pools.get(service.pool_name)
    chosen = (pool.placement if pool is not None else service.placement).providers
    for name in sorted({str(one) for one in chosen or providers}):
        if name in OWN_DISKS:
            continue
        disk_gb = providers.get(name, {}).get("disk_gb") or DISK_GB
        if isinstance(disk_gb, int) and need > disk_gb * 10**9:
            weights_gb = (guessed_bytes(service.model) or 0) / 1e9
            yield source.problem(
                ("model",),
                f"weights of about {weights_gb:.0f} GB with the system and the image need {need / 1e9:.0f} GB, and "
                f"machines of {name} get a disk of {disk_gb} GB",
                f"write disk_gb: {-(-need // 10**11) * 100} under providers: {name} in kind: fleet"
                + _or_stream(service),
            )


def _or_stream(service: Service) -> str:
    streams = loading_fault(engine(service.engine), replace(service, loading="stream")) is None
    return ", or loading: stream, which needs no disk" if streams else ""


def _fetched(service: Service) -> bool:
    """Whether a Node fetches it. What the engine cannot serve at all is said elsewhere."""
    if not model_source(service.model).fetched:
        return False
    try:
        return weights(engine(service.engine), service) == service.model
    except UsageError:
        return False
