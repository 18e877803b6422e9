"""Only schedules move the count; whatever they do not say is `min`."""

from fleetctl.decide.policies import View, Wish


def wish(view: View) -> Wish:
    """`scaling.min`, whatever the load; the floors and ceilings of `schedule` come after."""
    count = view.service.scaling.min
    return Wish(replicas=count, reason=f"min {count}: only schedules move it", memory=view.memory)
