"""What a Plan changes, as statements on the tables."""

from collections.abc import Iterable, Sequence

from fleetctl.model.decisions import Plan
from fleetctl.model.history import Interval
from fleetctl.model.names import ServiceName
from fleetctl.store.database import Value
from fleetctl.store.documents import encode
from fleetctl.store.events import INSERT_EVENT, event_rows

Statement = tuple[str, Iterable[Sequence[Value]]]
"""And the rows that it is run with."""


def statements(plan: Plan, history: Iterable[tuple[ServiceName, Interval]]) -> list[Statement]:
    """In the order in which they are run: Replicas are removed after they are changed. Raises StoreFailure."""
    return [
        (
            "INSERT INTO instances (id, over_at, doc) VALUES (?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET over_at = excluded.over_at, doc = excluded.doc",
            [(row.id, row.phase_at if row.over else None, encode(row)) for row in plan.instances],
        ),
        (
            "INSERT INTO replicas (id, service, doc) VALUES (?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET service = excluded.service, doc = excluded.doc",
            [(row.id, row.service, encode(row)) for row in plan.replicas],
        ),
        ("DELETE FROM replicas WHERE id = ?", [(replica,) for replica in plan.removed_replicas]),
        (_document_of("memories", "service"), [(service, encode(memory)) for service, memory in plan.memories]),
        (
            # A counter never goes back.
            "INSERT INTO counters (name, value) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE excluded.value > counters.value",
            plan.counters,
        ),
        (_document_of("decisions", "service"), [(one.service, encode(one)) for one in plan.decisions]),
        (_document_of("places", "name"), [(str(one.place), encode(one)) for one in plan.places]),
        (_document_of("rollouts", "service"), [(one.service, encode(one)) for one in plan.rollouts]),
        ("DELETE FROM pins WHERE image = ?", [(image,) for image in plan.removed_pins]),
        (
            "INSERT INTO pins (image, digest) VALUES (?, ?) ON CONFLICT (image) DO UPDATE SET digest = excluded.digest",
            plan.pins,
        ),
        (
            "INSERT INTO starts (service, replica, ended_at, doc) VALUES (?, ?, ?, ?)",
            [(one.service, one.replica, one.ended_at, encode(one)) for one in plan.starts],
        ),
        (INSERT_EVENT, event_rows(plan.events)),
        (
            "INSERT INTO history (service, since, until, arrivals, input_tokens, output_tokens, read_tokens,"
            " written_tokens) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    *(name, one.t_from, one.t_to, one.arrivals, one.input_tokens, one.output_tokens),
                    *(one.read_tokens, one.written_tokens),
                )
                for name, one in history
            ],
        ),
    ]


def _document_of(table: str, key: str) -> str:
    return f"INSERT INTO {table} ({key}, doc) VALUES (?, ?) ON CONFLICT ({key}) DO UPDATE SET doc = excluded.doc"
