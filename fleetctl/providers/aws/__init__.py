"""Amazon EC2 as a source of Instances. The SDK (boto3) is imported at the first call.

How nothing leaks: an Instance's id is the ClientToken of the one request that makes it, and everything in that request
follows from what the store keeps, so that a repetition is the same request. Tags go in with the creating requests,
never after them. Disks and network interfaces are deleted by EC2 itself when their machine ends.
"""

from collections.abc import Mapping

from fleetctl.model.abilities import Abilities
from fleetctl.providers import Setup
from fleetctl.providers.aws.permissions import permissions
from fleetctl.providers.aws.provider import AwsProvider
from fleetctl.providers.aws.settings import read_settings

__all__ = ["AwsProvider", "abilities", "permissions", "provider"]


def provider(setup: Setup) -> AwsProvider:
    """EC2 for a fleet. Raises `UsageError` for settings that make no sense."""
    return AwsProvider(
        read_settings(setup.options),
        fleet=setup.fleet,
        catalog_folder=setup.home.root / "catalog",
        ssh_key=setup.ssh_key,
    )


NO_HOLD = "a stopped machine holds no capacity, and its zone may have none left"


def abilities(options: Mapping[str, object]) -> Abilities:
    """What its machines can do."""
    return Abilities(
        no_spot_stop="a spot request of ours is one-time, and EC2 stops none of those",
        start_may_fail=NO_HOLD,
    )
