"""What cannot work between the signals of a Service, and between them and its policy."""

from collections.abc import Iterator

from fleetctl.decide.engine_signals import wants_gpus
from fleetctl.model.services import Service
from fleetctl.spec.problems import Problem
from fleetctl.spec.validation import Source


def signal_problems(service: Service, source: Source) -> Iterator[Problem]:
    """Signals that are called alike or say what the policy says already, and GPU metrics that nobody asks for."""
    names: set[str] = set()
    for place, signal in enumerate(service.signals):
        if signal.policy == service.scaling.policy:
            yield source.problem(
                ("signals", place, "policy"),
                f"{signal.policy} is the policy already",
                "remove the signal, or write another policy in scaling",
            )
        elif signal.name in names:
            yield source.problem(
                ("signals", place),
                f"a second signal is called {signal.name}",
                f"add name: {signal.name}-{place + 1}, or another",
            )
        names.add(signal.name)
    if service.gpu_metrics is not None and not wants_gpus(service):
        yield source.problem(
            ("gpu_metrics",),
            "nothing asks how busy the GPUs are",
            "remove it, or add signals: [{policy: gpu_utilization}]",
        )
