"""Which parameters a policy has: one that it does not use, and one that it lacks, are mistakes."""

from collections.abc import Iterator, Sequence

from fleetctl.decide.policies import own_parameters, policy_names
from fleetctl.model.outside import Signal
from fleetctl.model.services import Scaling
from fleetctl.spec.document import Document
from fleetctl.spec.problems import Problem
from fleetctl.spec.suggestions import nearest
from fleetctl.spec.validation import Source

NEEDED = {"requests_per_second": "requests_per_second: 2.5", "tokens_per_second": "tokens_per_second: 2000"}
"""Without these the policies of the same names have nothing to go by: what a replica can do is the model's own."""
_SAID_ELSEWHERE = frozenset({"replicas"})


def parameter_problems(
    scaling: Scaling,
    written: Document | None,
    source: Source,
    path: tuple[str, ...],
    *,
    beside: Sequence[Signal] = (),
) -> Iterator[Problem]:
    """Parameters that are written and that neither the policy nor one of the signals `beside` it uses."""
    if written is None:
        return
    used = {scaling.policy, *(signal.policy for signal in beside if signal.policy)}
    allowed = {name for policy in used for name in own_parameters(policy)}
    owners = {name: [p for p in policy_names() if name in own_parameters(p)] for name in _every_parameter()}
    for name in sorted(owners.keys() - allowed - _SAID_ELSEWHERE):
        if getattr(written, name, None) is not None:
            yield source.problem(
                (*path, name),
                f"the policy {scaling.policy} does not use {name}; {' and '.join(owners[name])} "
                + ("do" if len(owners[name]) > 1 else "does"),
                _fix(name, scaling.policy, owners[name]),
            )


def lacking_problems(scaling: Scaling, source: Source, path: tuple[str, ...]) -> Iterator[Problem]:
    """What the policy cannot do without."""
    if scaling.policy in NEEDED and getattr(scaling, scaling.policy) is None:
        yield source.problem(
            (*path, "policy"),
            f"the policy {scaling.policy} needs what one replica is to get: {scaling.policy} is missing",
            f"add {NEEDED[scaling.policy]}",
        )
    if scaling.policy == "latency_slo" and scaling.latency_of == "end_to_end" and scaling.latency_s is None:
        yield source.problem(
            (*path, "latency_of"), "no latency is written for whole answers; slo is of first tokens", "add latency: 30s"
        )


def _fix(name: str, policy: str, owners: Sequence[str]) -> str:
    """The policy's own parameter that is most like it, or the policy that has it."""
    own = own_parameters(policy)
    near = nearest(name, own) or (own[0] if len(own) == 1 else None)
    other = f"policy: {owners[0]}" if len(owners) == 1 else f"a policy of {', '.join(owners)}"
    return f"write {near}, or {other}" if near else f"remove it, or write {other}"


def _every_parameter() -> frozenset[str]:
    return frozenset(name for policy in policy_names() for name in own_parameters(policy))
