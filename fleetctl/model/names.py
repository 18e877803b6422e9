"""The identifiers of the fleet, each a type of its own so that one cannot stand for another."""

from typing import NewType

ServiceName = NewType("ServiceName", str)
PoolName = NewType("PoolName", str)
ProviderName = NewType("ProviderName", str)
InstanceId = NewType("InstanceId", str)
"""Also the creation token: an AWS ClientToken, a GCP name and requestId seed, an Azure resource name, a folder."""
ReplicaId = NewType("ReplicaId", str)
