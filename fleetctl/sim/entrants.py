"""Who plays in a contest: presets, each with every combination that is swept, and other autoscalers."""

from collections.abc import Sequence

from fleetctl.model.services import Service
from fleetctl.sim.contest import Contestant, Entrant, peer
from fleetctl.sim.sweep import combinations


def entrants_of(
    contestants: Sequence[Contestant], policies: Sequence[str], against: Sequence[str], sweep: Sequence[str]
) -> list[Entrant]:
    """Every policy with every combination that is swept, and the peers as they are.

    No `policies`: the Services' own. `against` are peers as in `hpa:0.5`, `sweep` words as in `scaling.target=0.5,0.7`.
    Raises `NotFound`, `FilesError` and `UsageError`.
    """
    from fleetctl.spec.knobs import with_knobs, with_preset  # pydantic with it

    services = [one.service for one in contestants]
    presets = {one.scaling.preset for one in services}
    under: list[tuple[str, list[Service]]] = [
        (name, [with_preset(one, name) for one in services]) for name in policies
    ] or [(presets.pop() if len(presets) == 1 else "as declared", services)]
    found = [
        Entrant(name=name, services=tuple([with_knobs(one, knobs) for one in scaled]), knobs=knobs)
        for name, scaled in under
        for knobs in (combinations(sweep) if sweep else [{}])
    ]
    return found + [peer(text) for text in against]
