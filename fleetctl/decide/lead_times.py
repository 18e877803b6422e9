"""How long the next start of a Service is expected to take: what was seen, and a guess where nothing was."""

from dataclasses import replace

from fleetctl.decide.auto.leads import Lead, lead, watched
from fleetctl.decide.cold_start import cold_s, standby_s
from fleetctl.model.decisions import Inputs, Memory
from fleetctl.model.learning import Leads
from fleetctl.model.services import Service, Standby


def standby_for(service: Service, inputs: Inputs) -> Standby:
    """The Service's own Standby, or its Pool's."""
    return service.standby or inputs.shared_standby or Standby()


def looked(service: Service, inputs: Inputs, memory: Memory) -> Memory:
    """The Memory with what this tick shows of starts, where something hangs on them and no policy looks itself."""
    if service.scaling.policy == "auto" or not (service.schedule or standby_for(service, inputs).auto):
        return memory
    span_s = inputs.flow.span_s
    before = memory.leads or Leads()
    guess = _guess(service, inputs)
    if span_s <= 0:
        return replace(
            memory, leads=replace(before, ages=tuple(sorted(inputs.ages_s, reverse=True)), ready=inputs.ready)
        )
    seen = watched(before, span_s=span_s, ready=inputs.ready, ages=inputs.ages_s, guess=guess)
    return memory if seen == memory.leads else replace(memory, leads=seen)


def expected(service: Service, inputs: Inputs, memory: Memory) -> Lead:
    """Seconds from an order to the first token, cold and from Standby."""
    seen = memory.leads
    if service.scaling.policy == "auto":
        seen = memory.learning.learned.leads if memory.learning else None
    return lead(seen or Leads(), _guess(service, inputs))


def _guess(service: Service, inputs: Inputs) -> Lead:
    return Lead(cold_s=cold_s(service), standby_s=standby_s(service, standby_for(service, inputs).tier))
