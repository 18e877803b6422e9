"""`fleetctl keys` (Control): API keys of the gateway: create, ls, revoke.

Example: fleetctl keys create --tenant acme --expires 30d
Example: fleetctl keys ls --all
Example: fleetctl keys revoke notebook
"""

import hashlib
import secrets
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from fleetctl.cli.changing import DryRun, told_dry
from fleetctl.cli.moments import left
from fleetctl.cli.output import Column, Format, Listing, Output, document, items, say, show
from fleetctl.cli.session import Session, duration_s, known_service, session
from fleetctl.errors import NotFound, UsageError
from fleetctl.model.keys import NAMELESS_TENANT, ApiKey
from fleetctl.model.routes import TenantEntry
from fleetctl.views.figures import ago

app = typer.Typer(add_completion=False, no_args_is_help=True, help="API keys of the gateway.")

PREFIX = "fk-"
"""How every key begins, so that those who look for secrets in files find them."""
KEY_BYTES = 32
"""256 random bits: nobody guesses one, so that a plain hash of it is safe to keep."""
KEY_CHARS = len(PREFIX) + 43
ID_CHARS = len(PREFIX) + 8
"""The public part, with which a key begins: 208 bits stay secret."""


class Priority(StrEnum):
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


ORDER = tuple(Priority)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """One key, for people and programs."""

    id: str
    name: str
    tenant: str
    state: str
    """in force | expired | revoked"""
    services: tuple[str, ...] | None
    priority: str | None
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    last_used_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A new key. This is the only time that it is told."""

    id: str
    key: str
    name: str
    tenant: str
    services: tuple[str, ...] | None
    priority: str | None
    created_at: float
    expires_at: float | None


def _columns(now: float) -> tuple[Column[KeyRow], ...]:
    return (
        Column(header="ID", cell=lambda row: row.id),
        Column(header="NAME", cell=lambda row: row.name or "-"),
        Column(header="TENANT", cell=lambda row: row.tenant),
        Column(header="STATE", cell=lambda row: row.state),
        Column(header="SERVICES", cell=lambda row: "all" if row.services is None else ",".join(row.services), drop=3),
        Column(header="PRIORITY", cell=lambda row: row.priority or "tenant's", drop=4),
        Column(header="AGE", cell=lambda row: ago(now - row.created_at), right=True, drop=5),
        Column(
            header="EXPIRES IN",
            cell=lambda row: "never" if row.expires_at is None else left(row.expires_at - now),
            right=True,
            drop=2,
        ),
        Column(
            header="LAST USED",
            cell=lambda row: "-" if row.last_used_at is None else f"{ago(max(0.0, now - row.last_used_at))} ago",
            right=True,
            drop=1,
        ),
    )


@app.command()
def create(
    tenant: Annotated[
        str | None, typer.Option(help=f"Whose key it is; not given: {NAMELESS_TENANT}", show_default=False)
    ] = None,
    name: Annotated[str, typer.Option(help="What to call it in lists, and to revoke it by", show_default=False)] = "",
    service: Annotated[
        list[str] | None, typer.Option(help="A service that it opens, may be repeated; not given: its tenant's")
    ] = None,
    priority: Annotated[
        Priority | None, typer.Option(help="Not earlier than its tenant's; not given: its tenant's")
    ] = None,
    expires: Annotated[str | None, typer.Option(help="How long it opens, as in 90d; not given: until revoked")] = None,
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Make a key and print it: alone on stdout, once. Only its hash is kept, so nobody can print it again."""
    at = time.time()
    expires_at = None if expires is None else at + _positive_s(expires)
    name = _checked_name(name)
    with session(create=True, dry_run=dry_run) as now:
        owner = _tenant(tenant, now.store.tenants())
        services = None if not service else tuple(dict.fromkeys(known_service(now, one) for one in service))
        _check_services(owner, services)
        _check_priority(owner, priority)
        if dry_run:
            _told_dry(
                Made(
                    id="",
                    key="",
                    name=name,
                    tenant=owner.name,
                    services=services,
                    priority=None if priority is None else priority.value,
                    created_at=at,
                    expires_at=expires_at,
                ),
                output,
            )
            return
        secret = PREFIX + secrets.token_urlsafe(KEY_BYTES)
        key = ApiKey(
            id=secret[:ID_CHARS],
            sha256=hash_of(secret),
            name=name,
            tenant=owner.name,
            services=services,
            priority=None if priority is None else priority.value,
            created_at=at,
            expires_at=expires_at,
        )
        now.store.put_key(key, now=at)
        if output is Format.JSON or output is Format.YAML:
            document(
                Made(
                    id=key.id,
                    key=secret,
                    name=name,
                    tenant=owner.name,
                    services=services,
                    priority=key.priority,
                    created_at=at,
                    expires_at=expires_at,
                ),
                output,
            )
        else:
            sys.stdout.write(f"{secret}\n")
        sys.stdout.flush()
        say(f"key {key.id} of tenant {owner.name}; keep what is printed above: it is not shown again")
        say(_told(now))


@app.command()
def ls(
    every: Annotated[bool, typer.Option("--all", "-a", help="Those that are expired or revoked, too")] = False,
    output: Output = Format.TABLE,
) -> None:
    """List keys by their public part. The keys themselves are nowhere but with their owners."""
    with session() as now:
        show(key_list(now, every=every), output)


def key_list(now: Session, *, every: bool) -> Listing[KeyRow]:
    """Those in force, or every one."""
    at = time.time()
    return Listing(
        rows=[_row(key, at) for key in now.store.api_keys() if every or key.in_force(at)],
        columns=_columns(at),
        name=lambda row: f"key/{row.id}",
        empty="no keys; make one: fleetctl keys create",
    )


@app.command()
def revoke(
    keys: Annotated[list[str], typer.Argument(help="Ids or names", metavar="KEY")],
    dry_run: DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """End keys at once, by id or name. Requests that run already go on to their end."""
    at = time.time()
    with session(change=not dry_run) as now:
        known = now.store.api_keys()
        found = [_known_key(known, word, at) for word in keys]
        for key in found:
            if key.revoked_at is None:
                if not dry_run:
                    now.store.revoke_key(key.id, at=at)
                say(f"{'would be revoked' if dry_run else 'revoked'}: {_called(key)} of tenant {key.tenant}")
            else:
                say(f"{_called(key)} was revoked {ago(max(0.0, at - key.revoked_at))} ago")
        chosen = {key.id for key in found}
        if output is Format.NAME:
            sys.stdout.writelines(f"key/{key.id}\n" for key in found)
        elif output is not Format.TABLE:
            items([_row(key, at) for key in now.store.api_keys() if key.id in chosen], output)
        if dry_run:
            told_dry()
        else:
            say(_told(now))


def _told_dry(made: Made, output: Format) -> None:
    """What would be made. No key is, so none is told."""
    if output in (Format.JSON, Format.YAML):
        document(made, output)
    opens = "every service of its tenant" if made.services is None else ", ".join(made.services)
    ends = "until it is revoked" if made.expires_at is None else f"for {left(made.expires_at - made.created_at)}"
    say(f"a key of tenant {made.tenant} would be made, for {opens}, {ends}")
    told_dry()


def hash_of(key: str) -> str:
    """What is kept of a key: the SHA-256 of its bytes, in hexadecimal."""
    return hashlib.sha256(key.encode()).hexdigest()


def _told(now: Session) -> str:
    """Tell a running gateway, and say who knows of the change now."""
    import asyncio

    from fleetctl.cli.entrance import Told, tell_gateway

    match asyncio.run(tell_gateway(now)):
        case Told.GATEWAY:
            return "the running gateway knows it already"
        case Told.CONTROLLER:
            return "the controller tells the gateway with its next tick"
        case Told.NOBODY:
            return "no gateway is running; the next one will know it: fleetctl up"
        case Told.OPEN:
            return (
                "note: the gateway lets everybody in (auth: none), so no key is asked for; for keys write "
                "gateway: {auth: keys} in kind: fleet, and run: fleetctl up"
            )


def _row(key: ApiKey, now: float) -> KeyRow:
    state = "revoked" if key.revoked_at is not None else "in force" if key.in_force(now) else "expired"
    return KeyRow(
        id=key.id,
        name=key.name,
        tenant=key.tenant,
        state=state,
        services=key.services,
        priority=key.priority,
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        last_used_at=key.last_used_at,
    )


def _called(key: ApiKey) -> str:
    return f"{key.id} ({key.name})" if key.name else key.id


def _positive_s(text: str) -> float:
    seconds = duration_s(text)
    if seconds <= 0:
        raise UsageError(f"a key that expires in {text} opens nothing", hint="write --expires 90d, or leave it out")
    return seconds


def _checked_name(name: str) -> str:
    if not name:
        return ""
    if name.startswith(PREFIX):
        raise UsageError(f"a name that begins with {PREFIX} looks like a key", hint="choose another --name")
    return _word(name, "--name")


def _word(name: str, option: str) -> str:
    from fleetctl.spec import words
    from fleetctl.spec.problems import Unfit

    try:
        return words.name(name)
    except Unfit as error:
        raise UsageError(f"{option} {error.message}", hint=error.fix.replace("write ", f"{option} ")) from error


def _tenant(name: str | None, declared: Sequence[TenantEntry]) -> TenantEntry:
    """Where some are declared, a name that is not is a slip, and would be without limits."""
    known = {tenant.name: tenant for tenant in declared}
    if name is None:
        return known.get(NAMELESS_TENANT) or TenantEntry(name=NAMELESS_TENANT)
    if name in known:
        return known[name]
    if known:
        from fleetctl.spec.suggestions import nearest

        near = nearest(name, known)
        raise NotFound(
            f"there is no tenant {name!r}",
            hint=f"did you mean {near}?"
            if near
            else f"tenants: {', '.join(known)}; another is declared by kind: tenant",
        )
    made = TenantEntry(name=_word(name, "--tenant"))
    say(f"note: tenant {name} is declared nowhere, so it has no limits; to set some, write kind: tenant, name: {name}")
    return made


def _check_services(tenant: TenantEntry, services: Sequence[str] | None) -> None:
    beyond = [name for name in services or () if tenant.services is not None and name not in tenant.services]
    if beyond:
        raise UsageError(
            f"tenant {tenant.name} may not use {', '.join(beyond)}",
            hint=f"it may use: {', '.join(tenant.services or ()) or 'nothing'}; its kind: tenant says so",
        )


def _check_priority(tenant: TenantEntry, priority: Priority | None) -> None:
    if priority is not None and ORDER.index(priority) < ORDER.index(Priority(tenant.priority)):
        raise UsageError(
            f"priority {priority} is earlier than the {tenant.priority} of tenant {tenant.name}",
            hint=f"leave --priority out, or write priority: {priority} in kind: tenant, name: {tenant.name}",
        )


def _known_key(known: Sequence[ApiKey], word: str, now: float) -> ApiKey:
    """The key of that id or name; of a whole key the one that it is. What may be a key is never said again."""
    word = word.removeprefix("key/")
    if len(word) >= KEY_CHARS:
        digest = hash_of(word)
        for key in known:
            if key.sha256 == digest:
                return key
        raise NotFound("that key is not known here", hint="see those there are: fleetctl keys ls -a")
    named = [key for key in known if word and key.name == word]
    for key in [one for one in known if one.id == word] + [one for one in named if one.in_force(now)] + named[::-1]:
        return key
    from fleetctl.spec.suggestions import nearest

    near = nearest(word, [*(key.id for key in known), *(key.name for key in known if key.name)])
    raise NotFound(
        f"there is no key {word!r}", hint=f"did you mean {near}?" if near else "see them: fleetctl keys ls -a"
    )
