"""The contract of every cloud, through the real bridge in processes of its own.

Judge: a stand-in of ours for SkyPilot's SDK (`stand_in`, `sky_memory`), which keeps what SkyPilot documents; what the
real one says of us is in `test_sky_judge.py`.
"""

from cloud_contract import CloudContract


class TestSky(CloudContract):
    pass
