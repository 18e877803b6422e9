"""Machines of one's own, reached over SSH, from an inventory: renting one claims it, giving it back releases it.

    providers:
      ssh:
        inventory:                       # or the absolute path of a YAML file with such a list
          - {name: rack1, host: 10.0.0.7, user: ops, gpu: H100:8, price_per_hour: 9.5}

The claim is a file on the machine itself, made by a hard link, which exactly one of those who try at once makes. So two
controllers never take one machine, whatever their stores say, and a store that was lost is rebuilt from the machines.

A listing reads the claims of all machines. One that does not answer is neither left out, as if what it runs were gone,
nor does it fail the listing, which would blind the fleet to all the others for as long as a single machine is down: its
claim stands as it was last known, and the line says so. What is known is kept in the home, and a claim is noted there
before it is made; a machine that this home never reached can hold no claim of its making. Only where no machine answers
at all is there no listing: then it is our own way out that is broken.
"""

from collections.abc import Mapping

from fleetctl.errors import UsageError
from fleetctl.model.abilities import Abilities
from fleetctl.providers import Setup
from fleetctl.providers.ssh.inventory import read_inventory
from fleetctl.providers.ssh.provider import SshProvider

__all__ = ["SshProvider", "abilities", "provider"]


def provider(setup: Setup) -> SshProvider:
    """The machines of a fleet's inventory. Raises `UsageError` for settings that are wrong."""
    if setup.shell is None:
        raise UsageError("providers.ssh: there is no way to machines over SSH in this setup")
    return SshProvider(
        read_inventory(setup.options), setup.shell, fleet=setup.fleet, known=setup.home.root / "ssh" / "claims.json"
    )


def abilities(options: Mapping[str, object]) -> Abilities:
    """What its machines can do."""
    return Abilities(no_stop="machines of one's own are not switched off, so a stop would spare nothing")
