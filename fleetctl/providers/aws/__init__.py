"""Amazon EC2 as a source of Instances. The SDK (boto3) is imported at the first call.

How nothing leaks: an Instance's id is the ClientToken of the one request that makes it, and everything in that request
follows from what the store keeps, so that a repetition is the same request. Tags go in with the creating requests,
never after them. Disks and network interfaces are deleted by EC2 itself when their machine ends.
"""

from fleetctl.providers import Setup
from fleetctl.providers.aws.permissions import permissions
from fleetctl.providers.aws.provider import AwsProvider
from fleetctl.providers.aws.settings import read_settings

__all__ = ["AwsProvider", "permissions", "provider"]


def provider(setup: Setup) -> AwsProvider:
    """EC2 for a fleet. Raises `UsageError` for settings that make no sense."""
    return AwsProvider(
        read_settings(setup.options),
        fleet=setup.fleet,
        catalog_folder=setup.home.root / "catalog",
        ssh_key=setup.ssh_key,
    )
