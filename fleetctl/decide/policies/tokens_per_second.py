"""Enough Replicas that each is asked for at most so many tokens a second, of prompts and answers together.

What is counted is what was asked for: prompts that arrived, and as many answers as requests arrived, at their mean
length. Tokens written alone would stop growing where the engines are full, just when more Replicas are needed.
"""

from fleetctl.decide.policies import View, Wish
from fleetctl.decide.series import mean, measured, shared
from fleetctl.model.signals import Flow

PARAMETERS = ("tokens_per_second",)

PROMPTS, ARRIVALS = "tokens_per_second/prompts", "tokens_per_second/arrivals"
WRITTEN, ENDED = "tokens_per_second/written", "tokens_per_second/ended"


def wish(view: View) -> Wish:
    """`ceil(tokens asked for a second ÷ tokens_per_second)`, over the window."""
    scaling, flow, memory, now = view.service.scaling, view.inputs.flow, view.memory, view.now
    each = scaling.tokens_per_second
    if each is None:
        return Wish(replicas=view.current, reason="hold", memory=memory, why_unknown="tokens_per_second is not set")
    counts = _counts(flow)
    for name, count in (counts or {}).items():
        memory = measured(memory, name, count / flow.span_s, now=now, span_s=flow.span_s, keep_s=scaling.window_s)
    means = {
        name: mean(memory, name, now=now, window_s=scaling.window_s) for name in (PROMPTS, ARRIVALS, WRITTEN, ENDED)
    }
    prompts, arrivals, written, ended = (means[name] for name in (PROMPTS, ARRIVALS, WRITTEN, ENDED))
    if prompts is None or arrivals is None or written is None or ended is None:
        return Wish(replicas=view.current, reason="hold", memory=memory, why_unknown="tokens are not counted yet")
    answers = max(written, arrivals * written / ended) if ended > 0 else written
    rate = prompts + answers
    wanted = shared(rate, each, current=view.current, tolerance=scaling.tolerance)
    return Wish(
        replicas=wanted,
        reason=(
            f"{prompts:.0f} tokens of prompts and {answers:.0f} of answers a second over {scaling.window_s:g} s,"
            f" {each:g} a replica: {wanted}"
        ),
        memory=memory,
        why_unknown="" if counts else "tokens could not be counted",
    )


def _counts(flow: Flow) -> dict[str, float] | None:
    """What came in the interval; None: some of it is unknown."""
    if flow.span_s <= 0 or flow.arrivals is None or flow.output_tokens is None:
        return None
    # Without a single request there is no prompt whose length could be known.
    prompts = 0.0 if not flow.arrivals and flow.input_tokens is None else flow.input_tokens
    if prompts is None:
        return None
    return {
        PROMPTS: prompts,
        ARRIVALS: flow.arrivals,
        WRITTEN: flow.output_tokens,
        ENDED: flow.completed or 0.0,
    }
