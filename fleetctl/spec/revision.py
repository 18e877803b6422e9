"""Which edition of a Service a Replica runs."""

import hashlib
import json

from fleetctl.model.services import Service

REVISION_CHARS = 12
"""48 bits: a Service has few revisions, and they stand in tables."""


def revision(service: Service) -> str:
    """A digest of exactly what a Replica runs and in which Pool; scaling, standby and time-outs do not change it.

    What is not set is left out, so that a field added to fleetctl later does not restart every Replica.
    """
    metrics = service.metrics
    runs = {
        "engine": service.engine,
        "model": service.model,
        "image": service.image,
        "command": service.command,
        "args": service.args,
        "env": sorted(service.env),
        "gpu": [str(gpu) for gpu in service.gpu],
        "concurrency": service.concurrency,
        "metrics": [metrics.running, metrics.waiting] if metrics else None,
        "readiness_path": service.readiness_path,
        "loading": "" if service.loading == "auto" else service.loading,
        "pool": service.pool,
    }
    text = json.dumps({key: value for key, value in runs.items() if value}, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:REVISION_CHARS]
