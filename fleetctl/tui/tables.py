"""The tables there are."""

from typing import Any

from fleetctl.tui.history_tables import events, rollouts, schedules, starts
from fleetctl.tui.listing import Listing
from fleetctl.tui.machine_tables import cost, nodes, replicas
from fleetctl.tui.service_tables import pools


def tables(ascii_only: bool) -> dict[str, Listing[Any]]:
    """Every table, by what `:` calls it."""
    return {
        one.crumb: one
        for one in (
            replicas(ascii_only),
            nodes(ascii_only),
            pools(),
            events(),
            schedules(),
            cost(),
            rollouts(),
            starts(),
        )
    }
