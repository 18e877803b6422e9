"""The machine image that launches boot from: what is configured, else Google's newest deep-learning image."""

import re
from typing import TYPE_CHECKING

from fleetctl.errors import InvalidRequest
from fleetctl.model.services import Gpu
from fleetctl.providers.gcp.api import Api

if TYPE_CHECKING:
    from google.cloud import compute_v1

PROJECT = "deeplearning-platform-release"

FAMILY = re.compile(r"common-cu([0-9]+)-ubuntu-([0-9]+)-nvidia-([0-9]+)")
"""CUDA, Ubuntu, driver. Ubuntu, since its images run cloud-init, which reads the user-data; Debian's do not."""

_LAST_DRIVER = {"P4": 580, "P100": 580, "V100": 580}
"""The last driver branch for GPUs older than Turing. Source: NVIDIA's release notes of driver 580."""

_FILTER = '(status = "READY") (architecture = "X86_64")'
_RETIRED = ("DEPRECATED", "DELETED", "OBSOLETE")


def path(image: str, project: str) -> str:
    """The path of an image that the user names: a path or URL as it is, else an image of the own project."""
    return image if "/" in image else f"projects/{project}/global/images/{image}"


def newest(api: Api, gpu: Gpu) -> str:
    """The path of the image with the newest driver that knows the GPU, newest CUDA, newest Ubuntu. Blocking.

    Raises `InvalidRequest` where there is none.
    """
    most = _LAST_DRIVER.get(product(gpu))
    ranked = [(rank, image) for image in api.images(PROJECT, _FILTER) if (rank := _rank(image)) is not None]
    ranked = [(rank, image) for rank, image in ranked if most is None or rank[0] <= most]
    if not ranked:
        raise InvalidRequest(
            f"gcp: project {PROJECT} has no image with a driver for {gpu.name}", hint="set providers.gcp.image"
        )
    _, best = max(ranked, key=lambda one: one[0])
    return f"projects/{PROJECT}/global/images/{best.name}"


def product(gpu: Gpu) -> str:
    """`V100` of `V100-16GB`."""
    return gpu.name.partition("-")[0]


def _rank(image: "compute_v1.Image") -> tuple[int, int, int, str] | None:
    """What makes one image better than another; None for one that is no choice."""
    family = FAMILY.fullmatch(image.family)
    if family is None or image.deprecated.state in _RETIRED:
        return None
    cuda, ubuntu, driver = (int(part) for part in family.groups())
    return (driver, cuda, ubuntu, image.name)
