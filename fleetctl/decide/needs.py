"""What a Service needs of a Node and does not find there: told once and clearly, instead of tried again and again."""

from collections.abc import Sequence
from dataclasses import replace

from fleetctl.decide.draft import Draft
from fleetctl.model.decisions import Decision
from fleetctl.model.instances import Instance
from fleetctl.model.nodes import NodeStatus
from fleetctl.model.services import Service

REHEARSAL = "rehearsal"
"""The engine that has no model: it needs neither a GPU nor its image."""


def unmet(service: Service, instance: Instance, status: NodeStatus, *, lazy: str | None = None) -> str:
    """Why the Service cannot run on this Node, and what to do; empty: it can, as far as the Node has told.

    `lazy`: the snapshotter by which its Pool wants images begun before they are here.
    """
    if service.engine == REHEARSAL:
        return ""
    if service.image is not None and status.runtime == "":
        return (
            f"{instance.id} has nothing that runs containers, and {service.name} runs in {service.image}: start Docker "
            "there, or leave image out"
        )
    if service.image is not None and lazy and status.snapshotter is not None and status.snapshotter != lazy:
        there = f"containerd's {status.snapshotter}" if status.snapshotter else "Docker's own store"
        return (
            f"{instance.id} unpacks images by {there}, and pool {instance.pool} says lazy: {lazy}: set up that "
            "snapshotter and Docker's containerd image store there, or take lazy out"
        )
    if status.driver is None:
        return ""
    wanted, names = instance.offer.gpu, [gpu.name for gpu in status.gpus]
    if len(names) < wanted.count:
        what = f"{len(names)} of its {wanted.count} GPUs" if names else "no GPU"
        return f"the driver on {instance.id} lists {what} ({wanted} is its offer): look at nvidia-smi there"
    if status.gpus_listed and not all(_is(wanted.name, name) for name in names):
        return (
            f"{instance.id} has {', '.join(sorted(set(names)))}, and not {wanted.name}: correct the inventory, or the "
            "provider's machine type"
        )
    return ""


def _is(wanted: str, listed: str) -> bool:
    """Whether a driver's name can be the product: `A100-80GB` is listed as `A100-SXM4-80GB`, `RTX4090` as `GeForce RTX
    4090`. In doubt it can: a needless refusal is worse than a failed start."""
    product = _plain(wanted.partition("-")[0])
    return wanted == "ANY" or product in _plain(listed) or _plain(listed) in _plain(wanted)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.upper() if letter.isalnum())


def noted(draft: Draft, decisions: Sequence[Decision]) -> list[Decision]:
    """The Decisions, with the trouble of those whose Replicas wait because a Node lacks something."""
    return [
        replace(decision, trouble=draft.unmet[decision.service]) if decision.service in draft.unmet else decision
        for decision in decisions
    ]
