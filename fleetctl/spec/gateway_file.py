"""The file of a gateway that runs alone: read whole, complete, or everything that is wrong with it at once."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fleetctl.errors import NotFound
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.routes import Identity, KeyEntry, Route, TenantEntry, Upstream
from fleetctl.spec import nouns
from fleetctl.spec.files import read
from fleetctl.spec.gateway_checks import file_problems, file_warnings
from fleetctl.spec.gateway_documents import GatewayFileDoc, KeyDoc, RoutedDoc
from fleetctl.spec.gateway_keys import secret_hash
from fleetctl.spec.problems import FilesError, Problem
from fleetctl.spec.suggestions import did_you_mean
from fleetctl.spec.trees import Mapping as Tree
from fleetctl.spec.trees import Node, Scalar
from fleetctl.spec.validation import Source, validated

LISTEN = "127.0.0.1:8080"
QUEUE_TIMEOUT_S = 30.0
"""Nobody starts another replica here: who waits longer than this is better told so, and asks elsewhere or later."""
QUEUE_LIMIT = 10_000
STDOUT = Path("-")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """A gateway alone, complete, whether a file or a command line says it."""

    listen: str = LISTEN
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    workers: int = 1
    connections_max: int | None = None
    access_log: Path | None = None
    """`-` is stdout."""
    access_log_sample: float = 1.0
    metrics_listen: str = ""
    identity: Identity
    services: tuple[Route, ...]
    warnings: tuple[str, ...] = ()
    """What is allowed and hardly meant."""


def load_gateway_file(path: Path, environment: Mapping[str, str]) -> GatewayConfig:
    """What the file says; its paths are taken from its own folder, keys of `env` from `environment`.

    Raises `NotFound` where there is none, and `FilesError` with every problem at its line.
    """
    nodes, problems = read(path)
    if problems:
        if not os.path.lexists(path):
            raise NotFound(f"{path} does not exist", hint="docs/gateway.md has one to begin with")
        raise FilesError(problems)
    source = Source(file=str(path), line=nodes[0].line, subject="gateway", node=nodes[0])
    if (wrong := _no_gateway(source, nodes)) is not None:
        raise FilesError([wrong])
    doc, faults = validated(GatewayFileDoc, source)
    if doc is None:
        raise FilesError(faults)
    found: list[Problem] = []
    hashes: list[str] = []
    for at, key in enumerate(doc.keys or ()):
        digest, problem = secret_hash(key, at, source, path.parent, environment)
        hashes.append(digest)
        found += [problem] if problem is not None else []
    found += file_problems(doc, hashes, source)
    if found:
        raise FilesError(found)
    return config(doc, hashes, path.parent, tuple(map(str, file_warnings(doc, source))))


def config(doc: GatewayFileDoc, hashes: list[str], folder: Path, warnings: tuple[str, ...] = ()) -> GatewayConfig:
    """The document, complete. `hashes` are those of its keys, in their order."""
    made = GatewayConfig(identity=_identity(doc, hashes), services=tuple(map(route, doc.services)), warnings=warnings)
    made = replace(
        made,
        **_given(doc, listen="listen", workers="workers", connections="connections_max"),
        **_given(doc, metrics_listen="metrics_listen"),
        **_given(doc.access_log, sample="access_log_sample"),
    )
    if doc.access_log is not None:
        file = doc.access_log.file
        made = replace(made, access_log=STDOUT if file == str(STDOUT) else _beside(folder, file))
    if doc.tls is not None:
        key = doc.tls.key
        made = replace(
            made,
            tls_certificate=_beside(folder, doc.tls.certificate),
            tls_key=None if key is None else _beside(folder, key),
        )
    return made


def route(doc: RoutedDoc) -> Route:
    """One Service with its replicas. There is no cold start here: the same patience whether replicas answer or not."""
    listed = list(doc.adapters or ())
    for one in doc.replicas:
        listed += [name for name in one.adapters or () if name not in listed]
    made = Route(
        service=ServiceName(doc.name),
        models=tuple(doc.models or ()),
        adapters=tuple(listed),
        hosts=tuple(doc.hosts or ()),
        upstreams=tuple(
            Upstream(replica=ReplicaId(one.url), address=one.url, slots=one.slots, adapters=tuple(one.adapters or ()))
            for one in doc.replicas
        ),
        queue_timeout_s=QUEUE_TIMEOUT_S,
        queue_limit=QUEUE_LIMIT,
    )
    made = replace(
        made,
        **_given(doc.queue, timeout="queue_timeout_s", limit="queue_limit", memory="queue_limit_bytes", shed="shed"),
        **_given(doc, probe="probe_path"),
    )
    return replace(made, cold_timeout_s=made.queue_timeout_s)


def _identity(doc: GatewayFileDoc, hashes: list[str]) -> Identity:
    if doc.auth == "none":
        return Identity(required=False)
    tenants = {tenant.name: nouns.tenant(tenant) for tenant in doc.tenants or ()}
    keys = tuple(_key(key, digest) for key, digest in zip(doc.keys or (), hashes, strict=True))
    for key in keys:
        tenants.setdefault(key.tenant, TenantEntry(name=key.tenant))
    return Identity(tenants=tuple(tenants.values()), keys=keys)


def _key(doc: KeyDoc, digest: str) -> KeyEntry:
    return KeyEntry(
        id=doc.name,
        sha256=digest,
        tenant=doc.tenant or doc.name,
        services=_services(doc.services),
        priority=doc.priority,
        expires_at=doc.expires,
    )


def _services(names: list[str] | None) -> tuple[ServiceName, ...] | None:
    return None if names is None else tuple(ServiceName(name) for name in names)


def _no_gateway(source: Source, nodes: tuple[Node, ...]) -> Problem | None:
    """Why this is no file of a gateway at all."""
    node = source.node
    kind = node.get("kind") if isinstance(node, Tree) else None
    if not isinstance(node, Tree) or kind is None:
        return source.problem((), "kind is missing", "begin the file with kind: gateway")
    value = kind.node.value if isinstance(kind.node, Scalar) else None
    if value != "gateway":
        near = did_you_mean(value, ("gateway",)) if isinstance(value, str) else ""
        fix = "begin the file with kind: gateway"
        if value in ("service", "pool", "fleet"):
            fix += "; the files of a fleet are for: fleetctl up -f FILE"
        return source.problem(("kind",), f"this is no file of a gateway{near}", fix)
    if len(nodes) > 1:
        second = replace(source, line=nodes[1].line, node=nodes[1])
        return second.problem((), "a second document", "keep one: several models are several entries of services")
    return None


def _beside(folder: Path, text: str) -> Path:
    return (folder / Path(text).expanduser()).absolute()


def _given(doc: object, **fields: str) -> dict[str, Any]:
    """The values of those fields that are written, by the name that the model gives them."""
    values = ((target, getattr(doc, field, None)) for field, target in fields.items())
    return {target: value for target, value in values if value is not None}
