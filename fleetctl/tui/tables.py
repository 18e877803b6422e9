"""The tables there are."""

from collections.abc import Callable
from typing import Any

from fleetctl.tui.history_tables import events, rollouts, schedules, starts
from fleetctl.tui.listing import Listing
from fleetctl.tui.machine_tables import cost, nodes, replicas, xray
from fleetctl.tui.service_tables import pools


def tables(now: Callable[[], float]) -> dict[str, Listing[Any]]:
    """Every table, by what `:` calls it. `now` tells the time of the look that is shown, in Unix seconds."""
    return {
        one.crumb: one
        for one in (
            replicas(now),
            nodes(now),
            pools(),
            events(now),
            schedules(now),
            cost(now),
            rollouts(now),
            starts(now),
            xray(now),
        )
    }
