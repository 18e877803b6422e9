"""What no field of a gateway's file can tell alone: names that clash, names that are not there, doors left open."""

from collections.abc import Iterator, Sequence

from fleetctl.spec.gateway_documents import GatewayFileDoc
from fleetctl.spec.problems import Problem
from fleetctl.spec.suggestions import did_you_mean, nearest
from fleetctl.spec.validation import Source

PRIORITIES = ("high", "normal", "low")
"""The first goes first."""
NO_KEYS = "nobody could enter: no keys are listed"
NO_KEYS_FIX = (
    "write auth: none to let everybody in, or keys: [{name: me, sha256: …}];"
    " a key's hash comes from: fleetctl gateway --hash-key"
)


def file_problems(doc: GatewayFileDoc, hashes: Sequence[str], source: Source) -> Iterator[Problem]:
    """Everything that cannot work. `hashes` are those of the keys; empty: its problem has been said."""
    yield from _service_problems(doc, source)
    yield from _selector_problems(doc, source)
    yield from _identity_problems(doc, source)
    yield from _key_problems(doc, hashes, source)


def _service_problems(doc: GatewayFileDoc, source: Source) -> Iterator[Problem]:
    names: set[str] = set()
    for at, service in enumerate(doc.services):
        if service.name in names:
            yield source.problem(("services", at, "name"), f"a second service {service.name!r}", "rename or remove it")
        names.add(service.name)
        urls: set[str] = set()
        for place, replica in enumerate(service.replicas):
            if replica.url in urls:
                yield source.problem(
                    ("services", at, "replicas", place, "url"),
                    f"{replica.url} is listed twice for {service.name!r}",
                    "keep one, with the slots that the engine has",
                )
            urls.add(replica.url)


def _selector_problems(doc: GatewayFileDoc, source: Source) -> Iterator[Problem]:
    """A model or adapter that two services claim. A host may be of several: `model` chooses among them."""
    owners = {service.name: service.name for service in doc.services}
    for at, service in enumerate(doc.services):
        for field in ("models", "adapters"):
            for place, word in enumerate(getattr(service, field) or ()):
                owner = owners.setdefault(word, service.name)
                if owner != service.name:
                    yield source.problem(
                        ("services", at, field, place),
                        f"{word} selects the service {owner!r} already",
                        "keep it in one of the two",
                    )


def _identity_problems(doc: GatewayFileDoc, source: Source) -> Iterator[Problem]:
    if doc.auth != "none" and not doc.keys:
        yield source.problem(("auth",) if doc.auth else (), NO_KEYS, NO_KEYS_FIX)
    if doc.auth == "none":
        for field in ("keys", "tenants"):
            if getattr(doc, field):
                yield source.problem(
                    (field,), f"auth: none lets everybody in, so {field} would do nothing", f"remove auth, or {field}"
                )
    known = [service.name for service in doc.services]
    names: set[str] = set()
    for at, tenant in enumerate(doc.tenants or ()):
        if tenant.name in names:
            yield source.problem(("tenants", at, "name"), f"a second tenant {tenant.name!r}", "rename or remove it")
        names.add(tenant.name)
        yield from _unknown_services(tenant.services, known, ("tenants", at), source)


def _key_problems(doc: GatewayFileDoc, hashes: Sequence[str], source: Source) -> Iterator[Problem]:
    known = [service.name for service in doc.services]
    tenants = {tenant.name: tenant for tenant in doc.tenants or ()}
    names: set[str] = set()
    first: dict[str, str] = {}
    for at, (key, digest) in enumerate(zip(doc.keys or (), hashes, strict=True)):
        where = ("keys", at)
        if key.name in names:
            yield source.problem((*where, "name"), f"a second key {key.name!r}", "rename or remove it")
        names.add(key.name)
        if digest and first.setdefault(digest, key.name) != key.name:
            yield source.problem(where, f"the same key as {first[digest]!r}", "remove it, or make another key")
        if key.tenant is not None and tenants and key.tenant not in tenants:
            near = nearest(key.tenant, tenants)
            yield source.problem(
                (*where, "tenant"),
                f"there is no tenant {key.tenant!r}{did_you_mean(key.tenant, tenants)}",
                f"write {near}" if near else f"declare it under tenants: {{name: {key.tenant}}}",
            )
        tenant = tenants.get(key.tenant or key.name)
        above = (tenant.priority if tenant is not None else None) or "normal"
        if key.priority is not None and PRIORITIES.index(key.priority) < PRIORITIES.index(above):
            yield source.problem(
                (*where, "priority"),
                f"{key.priority} goes before its tenant's {above}",
                f"write {above} or later here, or give the tenant {key.tenant or key.name!r} priority {key.priority}",
            )
        yield from _unknown_services(key.services, known, where, source)


def _unknown_services(
    wanted: Sequence[str] | None, known: Sequence[str], where: tuple[str | int, ...], source: Source
) -> Iterator[Problem]:
    for place, name in enumerate(wanted or ()):
        if name not in known:
            near = nearest(name, known)
            yield source.problem(
                (*where, "services", place),
                f"there is no service {name!r}{did_you_mean(name, known)}",
                f"write {near}" if near else f"write one of: {', '.join(known)}",
            )


def file_warnings(doc: GatewayFileDoc, source: Source) -> Iterator[Problem]:
    """What is allowed and hardly meant."""
    first: dict[str, str] = {}
    for at, service in enumerate(doc.services):
        if not any(replica.slots for replica in service.replicas):
            yield source.problem(
                ("services", at), f"no replica of {service.name!r} has a slot: its requests wait in vain", "write slots"
            )
        for place, replica in enumerate(service.replicas):
            owner = first.setdefault(replica.url, service.name)
            if owner != service.name:
                yield source.problem(
                    ("services", at, "replicas", place),
                    f"{replica.url} serves {owner!r} too, and gets as many requests at once as both slots together",
                    "split its slots between the two, or make them one service with adapters",
                )
