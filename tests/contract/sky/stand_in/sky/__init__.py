"""A stand-in for SkyPilot: the handful of its functions that the bridge calls, on a test's memory instead of clouds.

Ours. It lets `bridge.py` itself be tried in a process of its own, with levers; the real one is in `test_sky_judge.py`.
"""

import enum
import re

from sky_wire import REGIONS

from sky import exceptions

__version__ = "0.14.1"

_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")


class StatusRefreshMode(enum.Enum):
    NONE = "NONE"
    AUTO = "AUTO"
    FORCE = "FORCE"


class ClusterStatus(enum.Enum):
    INIT = "INIT"
    UP = "UP"
    STOPPED = "STOPPED"
    AUTOSTOPPING = "AUTOSTOPPING"


class Resources:
    """As strict with labels as the strictest clouds, GCP and Kubernetes, are together."""

    def __init__(
        self,
        *,
        infra,
        instance_type=None,
        accelerators=None,
        use_spot=None,
        image_id=None,
        disk_size=None,
        labels=None,
    ):
        cloud, _, region = infra.partition("/")
        if region not in REGIONS.get(cloud, ()):
            raise ValueError(f"Invalid region {region!r}")
        if not (instance_type or accelerators):
            raise ValueError("not launchable")
        for key, value in (labels or {}).items():
            if not (_LABEL_KEY.fullmatch(key) and _LABEL_VALUE.fullmatch(value)):
                raise ValueError(f"The following labels are invalid: {key}: {value}")
        self.body = {
            "infra": infra,
            "instance_type": instance_type,
            "accelerators": accelerators,
            "use_spot": bool(use_spot),
            "image_id": image_id,
            "disk_size": disk_size,
            "labels": labels or {},
        }


class Task:
    def __init__(self, *, name, setup=None, run=None, num_nodes=1):
        self.body = {"name": name, "setup": setup, "run": run, "num_nodes": num_nodes}

    def set_resources(self, resources):
        self.body |= resources.body


__all__ = ["ClusterStatus", "Resources", "StatusRefreshMode", "Task", "exceptions"]
