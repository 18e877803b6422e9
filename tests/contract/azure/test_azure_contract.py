"""The contract of every cloud, on the real Azure SDK over real HTTP.

Judges: Microsoft's ARM schema for the bodies of machines, where it lies beside the checkout; states, refusals and
operations are those of a server of ours (`arm_server`).
"""

from cloud_contract import CloudContract


class TestAzure(CloudContract):
    pass
