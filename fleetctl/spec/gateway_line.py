"""A gateway alone from a command line: replicas as `[SERVICE@]URL=SLOTS`, models as `[SERVICE@]NAME`."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from fleetctl.errors import UsageError
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.routes import Identity, Route, Upstream
from fleetctl.spec.fields import CONCURRENCY_MAX
from fleetctl.spec.gateway_documents import QUEUE_MAX
from fleetctl.spec.gateway_file import QUEUE_LIMIT, QUEUE_TIMEOUT_S, GatewayConfig
from fleetctl.spec.gateway_words import replica_address
from fleetctl.spec.problems import Unfit
from fleetctl.spec.units import duration, listen_address
from fleetctl.spec.words import name, word

GRAMMAR = (
    "write --replica http://10.0.0.5:8000=64, or --replica chat@http://10.0.0.5:8000=64 for a service of that name"
)
T = TypeVar("T")


def line_config(
    *,
    replicas: Sequence[str],
    service: str,
    models: Sequence[str],
    auth: str | None,
    queue_timeout: str | None,
    queue_limit: int | None,
    invented: bool = False,
) -> GatewayConfig:
    """What the options say. `service` is of the replicas that name none; `invented`: nor did the user name it.

    Raises `UsageError`.
    """
    if auth != "none":
        raise UsageError(
            "who may enter? Nothing says so",
            hint="--auth none lets everybody in; keys stand in a file: fleetctl gateway --config FILE",
        )
    found: dict[str, list[Upstream]] = {}
    for text in replicas:
        owner, upstream = _replica(text, service)
        if any(one.address == upstream.address for one in found.get(owner, ())):
            raise UsageError(f"--replica {text}: {upstream.address} is given twice for {owner!r}", hint="give it once")
        found.setdefault(owner, []).append(upstream)
    named = _models(models, tuple(found))
    patience_s = QUEUE_TIMEOUT_S if queue_timeout is None else _said("--queue-timeout", duration, queue_timeout)
    if patience_s <= 0:
        raise UsageError("--queue-timeout must be longer than 0", hint="write --queue-timeout 30s")
    if queue_limit is not None and not 0 <= queue_limit <= QUEUE_MAX:
        raise UsageError(f"--queue-limit {queue_limit} is not from 0 to {QUEUE_MAX}", hint="write --queue-limit 1000")
    routes = tuple(
        Route(
            service=ServiceName(owner),
            models=tuple(named.get(owner, ())),
            upstreams=tuple(upstreams),
            queue_timeout_s=patience_s,
            cold_timeout_s=patience_s,
            queue_limit=QUEUE_LIMIT if queue_limit is None else queue_limit,
            nameless=invented and owner == service,
        )
        for owner, upstreams in found.items()
    )
    return GatewayConfig(identity=Identity(required=False), services=routes)


def with_address(config: GatewayConfig, option: str, field: str, text: str) -> GatewayConfig:
    """The configuration with another `host:port` in that field. Raises `UsageError`."""
    return replace(config, **{field: _said(option, listen_address, text)})  # type: ignore[arg-type]


def _replica(text: str, service: str) -> tuple[str, Upstream]:
    front, at, rest = text.partition("@")
    owner, url = (front, rest) if at and "/" not in front else (service, text)
    url, equals, slots = url.rpartition("=")
    if not equals:
        raise UsageError(f"--replica {text}: how many requests at once is not said", hint=f"write --replica {text}=64")
    address = _said(f"--replica {text}", replica_address, url)
    if not re.fullmatch(r"[0-9]{1,9}", slots):
        raise UsageError(f"--replica {text}: {slots!r} is no number of slots", hint=GRAMMAR)
    if not 1 <= int(slots) <= CONCURRENCY_MAX:
        raise UsageError(
            f"--replica {text}: {slots} slots are not from 1 to {CONCURRENCY_MAX}",
            hint="write what the engine serves at once: its batch limit, such as vLLM's --max-num-seqs",
        )
    _said("--service" if owner == service and not at else f"--replica {text}", name, owner)
    return owner, Upstream(replica=ReplicaId(address), address=address, slots=int(slots))


def _models(given: Sequence[str], services: Sequence[str]) -> dict[str, list[str]]:
    """Names by service; with one service alone, all are its own."""
    found: dict[str, list[str]] = {}
    owners: dict[str, str] = {one: one for one in services}
    for text in given:
        front, at, rest = text.partition("@")
        if at and front in services:
            owner, model = front, rest
        elif len(services) == 1:
            owner, model = services[0], text
        else:
            raise UsageError(
                f"--model {text}: there are several services, and it names none",
                hint=f"write --model {services[0]}@{text}",
            )
        _said(f"--model {text}", word, model)
        if owners.setdefault(model, owner) != owner:
            raise UsageError(f"--model {text}: {model} is a name of {owners[model]!r} already", hint="give it to one")
        if model not in found.setdefault(owner, []):
            found[owner].append(model)
    return found


def _said(option: str, read: Callable[[object], T], text: str) -> T:
    try:
        return read(text)
    except Unfit as error:
        raise UsageError(f"{option}: {error.message}", hint=error.fix) from error
