"""Sized to the promise by what the service itself has shown: nothing to tune. The rule stands in `decide/auto`.

It steps more rarely than the fleet ticks, so that a thousand services can be looked after on one core; between two
steps its last wish holds. Without any count of arrivals it cannot know the work, and goes by concurrency alone.
"""

from dataclasses import replace

from fleetctl.decide.auto.brain import FOLLOW_LEADS, HELD, Observation, Parameters, step
from fleetctl.decide.cold_start import cold_s, standby_s
from fleetctl.decide.lead_times import expected, standby_for
from fleetctl.decide.lulls import idle, idle_s
from fleetctl.decide.policies import View, Wish, target_concurrency
from fleetctl.decide.stock import SLOT_SHARE
from fleetctl.model.decisions import Memory
from fleetctl.model.learning import Gathered, Learning
from fleetctl.model.services import Service, Slo, Standby

PARAMETERS = ("panic_window", "panic_threshold")

STEP_S = 4.5
"""Between two steps: a bin of the record, less what a timer may be early."""
URGENT_S = 0.9
"""…and no more than this when more requests wait than at the last step."""
GAP_S = 0.5
"""Time that no tick accounts for: less than a tick, more than what is lost to rounding."""
PATIENCE_STEPS = 12
"""Steps without any count of arrivals before it goes by concurrency: a minute or so, more than a gateway's restart."""
NOMINAL_INPUT_TOKENS = 512.0
NOMINAL_OUTPUT_TOKENS = 128.0
"""Of a request, where no engine counts tokens: only their product with the learned pace matters. A prompt is taken to
be so long, too, until the first is known: one stream that was broken off must not leave the service held for ever."""
_PROMISE = Slo(ttft_s=5.0)
"""Where the file promises nothing: what people call prompt."""


def parameters(service: Service, standby: Standby) -> Parameters:
    """What the service's file tells the policy; `standby` is its own, or its Pool's."""
    slo = service.slo or _PROMISE
    scaling = service.scaling
    return Parameters(
        batch=service.concurrency,
        minimum=scaling.min,
        maximum=scaling.max,
        wait_s=slo.ttft_s,
        percentile=slo.percentile,
        cold_s=cold_s(service),
        standby_s=standby_s(service, standby.tier),
        standby_limit=scaling.max if standby.auto else 0,
        standby_share=SLOT_SHARE[standby.tier],
    )


def wish(view: View) -> Wish:
    """As many Replicas as keep the promise, learned from arrivals, tokens, concurrency and starts."""
    memory = view.memory
    before = memory.learning or Learning()
    learning = _gathered(before, view)
    learned = learning.learned
    span_s = None if learned.at is None else view.now - learned.at
    worse = view.load.queued > before.queued
    due = span_s is None or span_s < 0 or span_s >= STEP_S or (worse and span_s >= URGENT_S)
    if due:
        learning = _stepped(learning, view)
    memory = replace(memory, learning=learning)
    memory = replace(memory, standby=_standby(view, memory, learning))
    if idle(view.service, view.inputs, view.load, memory):
        kept = f"{idle_s(view.service, memory):.4g}"
        return Wish(replicas=0, reason=f"no request for {kept} s", memory=memory, binding="idle")
    if not learning.arrivals_known and learning.steps >= PATIENCE_STEPS:
        by_load = target_concurrency.wish(replace(view, memory=memory))
        return replace(by_load, reason=f"arrivals are not counted, so by concurrency: {by_load.reason}")
    binding = "" if learning.wished is not None else learning.binding
    return Wish(replicas=_wanted(view, learning), reason=learning.reason, memory=memory, binding=binding)


def _wanted(view: View, learning: Learning) -> int:
    """The last wish; a hold is of what there is now, which a person may have changed since that step.

    What `max` took from it is wished all the same: the limits come later, and say so.
    """
    if learning.wished is not None:
        return learning.wished
    if learning.binding != HELD:
        return learning.replicas
    scaling = view.service.scaling
    return min(scaling.max, max(scaling.min, view.current))


def _standby(view: View, memory: Memory, learning: Learning) -> int | None:
    """Slots on standby; None until rules with some were tried against those without."""
    learned = learning.learned
    cold_lead_s = expected(view.service, view.inputs, memory).cold_s
    tried = learned.rule is not None and learned.tested_at - learned.began >= FOLLOW_LEADS * cold_lead_s
    return learning.standby if tried else None


def _gathered(learning: Learning, view: View) -> Learning:
    """With what this tick brings."""
    flow = view.inputs.flow
    was = learning.gathered
    prompts_known = learning.prompts_known or bool(flow.input_tokens)
    input_tokens = flow.input_tokens
    if input_tokens is None and not prompts_known:
        input_tokens = _nominal(flow.arrivals, NOMINAL_INPUT_TOKENS)
    gathered = Gathered(
        span_s=was.span_s + flow.span_s,
        concurrency_s=was.concurrency_s + view.load.low * flow.span_s,
        queued_s=was.queued_s + view.load.queued * flow.span_s,
        arrivals=_plus(was.arrivals, flow.arrivals),
        input_tokens=_plus(was.input_tokens, input_tokens),
        output_tokens=_plus(was.output_tokens, flow.output_tokens),
        completed=_plus(was.completed, flow.completed),
    )
    return replace(
        learning,
        gathered=gathered,
        arrivals_known=learning.arrivals_known or flow.arrivals is not None,
        tokens_known=learning.tokens_known or bool(flow.input_tokens) or bool(flow.output_tokens),
        prompts_known=prompts_known,
    )


def _plus(before: float | None, more: float | None) -> float | None:
    return None if before is None or more is None else before + more


def _stepped(learning: Learning, view: View) -> Learning:
    """One step of the brain over what was gathered since the last."""
    inputs = view.inputs
    seen, learned = learning.gathered, learning.learned
    if learned.at is not None and view.now - learned.at > seen.span_s + GAP_S:
        # Some of the time the load was unknown: that stretch is no quiet one.
        blind = Observation(
            ready=inputs.ready,
            starting_ages_s=inputs.ages_s,
            draining=inputs.draining,
            standby=inputs.standby,
        )
        _, learned = step(_parameters(view), learned, blind, view.now - seen.span_s)
    nominal = not learning.tokens_known
    arrivals, completed = seen.arrivals, seen.completed
    observation = Observation(
        ready=inputs.ready,
        starting_ages_s=inputs.ages_s,
        draining=inputs.draining,
        standby=inputs.standby,
        concurrency=seen.concurrency_s / seen.span_s if seen.span_s > 0 else view.load.low,
        queue=seen.queued_s / seen.span_s if seen.span_s > 0 else view.load.queued,
        arrivals=arrivals,
        input_tokens=_nominal(arrivals, NOMINAL_INPUT_TOKENS) if nominal else seen.input_tokens,
        output_tokens=_nominal(completed, NOMINAL_OUTPUT_TOKENS) if nominal else seen.output_tokens,
        completed=completed,
    )
    wanted, learned = step(_parameters(view), learned, observation, view.now)
    capped = wanted.wanted > wanted.desired
    return replace(
        learning,
        learned=learned,
        gathered=Gathered(),
        replicas=wanted.desired,
        wished=wanted.wanted if capped else None,
        standby=wanted.standby,
        reason=wanted.because if capped else wanted.reason,
        binding=wanted.binding,
        queued=view.load.queued,
        steps=min(PATIENCE_STEPS, learning.steps + 1),
    )


def _parameters(view: View) -> Parameters:
    return parameters(view.service, standby_for(view.service, view.inputs))


def _nominal(requests: float | None, tokens: float) -> float | None:
    return None if requests is None else requests * tokens
