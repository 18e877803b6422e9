"""A count stated by the user."""

from fleetctl.decide.policies import View, Wish

PARAMETERS = ("replicas",)


def wish(view: View) -> Wish:
    """`scaling.replicas`, whatever the load."""
    replicas = view.service.scaling.replicas
    count = view.service.scaling.min if replicas is None else replicas
    return Wish(replicas=count, reason=f"fixed at {count}", memory=view.memory)
