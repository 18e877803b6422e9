"""`fleetctl rebuild` (Change): Restore a lost store from what the providers list.

Example: fleetctl rebuild -f fleet/
"""

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer

from fleetctl.cli.driving import controlling
from fleetctl.cli.fleet_lists import INSTANCES
from fleetctl.cli.output import Format, Output, emit, say
from fleetctl.cli.session import Session, session, spec_paths
from fleetctl.errors import ProviderError
from fleetctl.model.instances import Listing
from fleetctl.views.figures import several
from fleetctl.views.fleet import FleetView, instance_rows
from fleetctl.wiring import save_config

app = typer.Typer(add_completion=False)

REBUILD_LIMIT_S = 180.0
"""For every provider's first complete listing."""


@app.command()
def rebuild(
    file: Annotated[list[Path] | None, typer.Option("--file", "-f", help="A file or folder; default fleet/")] = None,
    output: Output = Format.TABLE,
) -> None:
    """Find every instance of the fleet at its providers and put it in the store. Starts and stops nothing.

    For a store that was lost: the files say which fleet and which providers; the instances carry the rest in their
    tags. Afterwards `fleetctl up` with the same files claims them, replicas that run go on running, and `fleetctl gc`
    shows what nothing claims.
    """
    from fleetctl.spec.load import load

    fleet = load(spec_paths(file))
    with session(config=fleet.config, create=True) as here:
        save_config(here.home, fleet.config)
        view = asyncio.run(_rebuild(here))
        rows = instance_rows(view)
        emit(rows, INSTANCES, output, name=lambda row: f"instance/{row.name}")
        if output is Format.TABLE:
            say(f"{several(len(rows), 'instance')} found. Claim them with: fleetctl up")


async def _rebuild(here: Session) -> FleetView:
    """Tick until every provider has been listed once: a controller adopts what its store does not know."""
    deadline = time.monotonic() + REBUILD_LIMIT_S
    async with controlling(here, gateway=False) as held:
        while True:
            listings = (await held.tick()).snapshot.listings
            silent = {name: one.reason for name, one in listings.items() if not isinstance(one, Listing)}
            if not silent:
                return here.view()
            if time.monotonic() > deadline:
                name, reason = next(iter(silent.items()))
                raise ProviderError(
                    f"{name} was not listed within {REBUILD_LIMIT_S:g} s: {reason}",
                    hint="what the others hold is in the store; mend this one, then: fleetctl rebuild",
                )
            await asyncio.sleep(0.5)
