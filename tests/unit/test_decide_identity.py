"""Who may enter, from what is declared, the keys there are, and what was used."""

from dataclasses import replace
from datetime import UTC, datetime

from fleetctl.decide.identity import identity_of, month_of
from fleetctl.model.keys import ApiKey
from fleetctl.model.names import ServiceName
from fleetctl.model.routes import Identity, KeyEntry, TenantEntry, TenantLimits

NOW = datetime(2026, 11, 21, tzinfo=UTC).timestamp()
KEY = ApiKey(
    id="fk-1",
    sha256="ab" * 32,
    tenant="acme",
    name="laptop",
    services=(ServiceName("chat"),),
    priority="low",
    created_at=NOW - 10,
    expires_at=NOW + 10,
)
ACME = TenantEntry(name="acme", weight=2.0, limits=TenantLimits(in_flight=3))


def test_a_key_in_force_opens_for_its_tenant_as_declared() -> None:
    found = identity_of([ACME, TenantEntry(name="other")], [KEY], {"acme": 70, "other": 5}, now=NOW)

    assert found == Identity(
        required=True,
        tenants=(replace(ACME, tokens_used=70, month="2026-11"),),
        keys=(
            KeyEntry(
                id="fk-1",
                sha256="ab" * 32,
                tenant="acme",
                services=(ServiceName("chat"),),
                priority="low",
                expires_at=NOW + 10,
            ),
        ),
    )


def test_a_tenant_that_is_declared_nowhere_has_no_limits() -> None:
    (tenant,) = identity_of([], [KEY], {}, now=NOW).tenants

    assert tenant == TenantEntry(name="acme", month="2026-11")


def test_keys_that_are_over_open_nothing() -> None:
    over = (replace(KEY, revoked_at=NOW - 1), replace(KEY, expires_at=NOW), replace(KEY, expires_at=NOW - 1))

    for key in over:
        assert identity_of([ACME], [key], {}, now=NOW) == Identity()
    assert len(identity_of([ACME], [replace(KEY, expires_at=None)], {}, now=NOW + 1e9).keys) == 1


def test_months_are_of_the_calendar_in_utc() -> None:
    begins = datetime(2027, 1, 1, tzinfo=UTC).timestamp()

    assert (month_of(begins - 0.001), month_of(begins)) == ("2026-12", "2027-01")
