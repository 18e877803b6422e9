"""Who may enter, by which key, and what that lets them do."""

import hashlib

import pytest

from fleetctl.gateway.entry import OPEN, Entry, Pass
from fleetctl.gateway.replies import Refusal, encode_refusal
from fleetctl.gateway.scheduler.ticket import Band
from fleetctl.model.names import ServiceName
from fleetctl.model.routes import Identity, KeyEntry, TenantEntry

CHAT, CODE = ServiceName("chat"), ServiceName("code")


def key(
    name: str,
    tenant: str = "acme",
    *,
    services: tuple[ServiceName, ...] | None = None,
    priority: str | None = None,
    expires_at: float | None = None,
) -> KeyEntry:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return KeyEntry(
        id=f"id-{name}", sha256=digest, tenant=tenant, services=services, priority=priority, expires_at=expires_at
    )


def entry(*keys: KeyEntry, tenant: TenantEntry | None = None, at: float = 0.0) -> Entry:
    made = Entry()
    made.identify(Identity(tenants=(tenant or TenantEntry(name="acme"),), keys=keys), at)
    return made


def code(found: Pass | Refusal) -> str:
    return found.code if isinstance(found, Refusal) else found.key


@pytest.mark.parametrize(
    ("authorization", "api_key", "expected", "why"),
    [
        (b"Bearer sk-a", b"", "id-sk-a", "as OpenAI's clients send it"),
        (b"bearer   sk-a", b"", "id-sk-a", "the scheme's case and the spaces do not count"),
        (b"", b"sk-a", "id-sk-a", "as Anthropic's and Azure's clients send it"),
        (b"Bearer sk-a", b"sk-b", "id-sk-a", "Authorization wins"),
        (b"Basic c2stYQ==", b"sk-a", "id-sk-a", "another scheme is no key"),
        (b"", b"", "missing_api_key", "nothing"),
        (b"Bearer ", b"", "missing_api_key", "an empty key"),
        (b"Basic c2stYQ==", b"", "missing_api_key", "another scheme alone"),
        (b"Bearer sk-A", b"", "invalid_api_key", "keys have a case"),
        (b"Bearer " + b"x" * 5000, b"", "invalid_api_key", "no key is this long"),
    ],
)
def test_keys_are_found_where_clients_put_them(authorization: bytes, api_key: bytes, expected: str, why: str) -> None:
    assert code(entry(key("sk-a"), key("sk-b")).admit(authorization, api_key)) == expected


def test_a_401_is_what_clients_of_openai_expect() -> None:
    refusal = entry().admit(b"", b"")

    assert isinstance(refusal, Refusal)
    said = encode_refusal(refusal, close=False)
    assert said.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    assert b'\r\nWWW-Authenticate: Bearer realm="fleetctl"\r\n' in said
    assert b'"code": "missing_api_key"' in said


def test_without_an_identity_nobody_enters_and_without_keys_everybody_does() -> None:
    fresh, open_ = Entry(), Entry()
    open_.identify(Identity(required=False), 0.0)

    assert code(fresh.admit(b"Bearer sk-a", b"")) == "no_identity"
    assert open_.admit(b"", b"") is OPEN
    assert (OPEN.tenant, OPEN.band, OPEN.may_use(CHAT)) == ("", Band.NORMAL, True)


def test_a_key_stops_to_open_when_it_expires_and_what_was_made_from_it_is_void() -> None:
    made = entry(key("old", expires_at=100.0), key("new", expires_at=200.0), at=50.0)
    before, generation = code(made.admit(b"Bearer old", b"")), made.generation

    made.advance(100.0)

    assert (before, code(made.admit(b"Bearer old", b"")), code(made.admit(b"Bearer new", b""))) == (
        "id-old", "invalid_api_key", "id-new",
    )  # fmt: skip
    assert made.generation > generation


def test_a_key_expired_already_never_opens() -> None:
    assert code(entry(key("old", expires_at=100.0), at=100.0).admit(b"Bearer old", b"")) == "invalid_api_key"


def test_revoking_a_key_takes_effect_with_the_next_identity() -> None:
    made = entry(key("a"), key("b"))
    generation = made.generation

    made.identify(Identity(tenants=(TenantEntry(name="acme"),), keys=(key("b"),)), 0.0)

    assert code(made.admit(b"Bearer a", b"")) == "invalid_api_key"
    assert made.generation > generation


def test_a_key_of_a_tenant_that_is_not_listed_does_not_open() -> None:
    assert code(entry(key("a", tenant="gone")).admit(b"Bearer a", b"")) == "invalid_api_key"


@pytest.mark.parametrize(
    ("tenants", "keys", "may", "why"),
    [
        (None, None, {CHAT, CODE}, "nothing is narrowed"),
        ((CHAT,), None, {CHAT}, "the tenant's"),
        (None, (CODE,), {CODE}, "the key's"),
        ((CHAT,), (CHAT, CODE), {CHAT}, "a key never widens its tenant"),
        ((CHAT,), (CODE,), set(), "nothing in common"),
    ],
)
def test_a_key_narrows_its_tenant(
    tenants: tuple[ServiceName, ...] | None, keys: tuple[ServiceName, ...] | None, may: set[ServiceName], why: str
) -> None:
    found = entry(key("a", services=keys), tenant=TenantEntry(name="acme", services=tenants)).admit(b"Bearer a", b"")

    assert isinstance(found, Pass)
    assert {one for one in (CHAT, CODE) if found.may_use(one)} == may


@pytest.mark.parametrize(
    ("tenants", "keys", "band"),
    [
        ("high", None, Band.HIGH),
        ("normal", "low", Band.LOW),
        ("low", "high", Band.LOW),
        ("high", "normal", Band.NORMAL),
    ],
)
def test_a_key_is_never_more_urgent_than_its_tenant(tenants: str, keys: str | None, band: Band) -> None:
    found = entry(key("a", priority=keys), tenant=TenantEntry(name="acme", priority=tenants)).admit(b"Bearer a", b"")

    assert isinstance(found, Pass)
    assert found.band is band


def test_keys_that_were_used_are_told_once_and_again_when_they_come_again() -> None:
    made = entry(key("a"), key("b"))
    made.admit(b"Bearer b", b"")
    generation = made.generation

    first, second = made.take_used(), made.take_used()
    made.admit(b"Bearer a", b"")

    assert (first, second, made.take_used()) == (("id-b",), (), ("id-a",))
    assert made.generation > generation  # a remembered head asks again, and is noted again


@pytest.mark.parametrize(
    "wrong",
    [
        KeyEntry(id="k", sha256="no digest", tenant="acme"),
        KeyEntry(id="k", sha256="00" * 32, tenant="acme", priority="urgent"),
    ],
)
def test_an_identity_that_makes_no_sense_changes_nothing(wrong: KeyEntry) -> None:
    made = entry(key("a"))

    with pytest.raises(ValueError):
        made.identify(Identity(required=False, tenants=(TenantEntry(name="acme"),), keys=(wrong,)), 0.0)

    assert (code(made.admit(b"Bearer a", b"")), code(made.admit(b"", b""))) == ("id-a", "missing_api_key")
