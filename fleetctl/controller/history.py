"""Ticks gathered into the intervals that are kept for long."""

from collections.abc import Sequence

from fleetctl.model.decisions import Decision
from fleetctl.model.history import Interval
from fleetctl.model.names import ServiceName

INTERVAL_S = 10.0
"""Shorter than any start, so that no policy could tell it from the requests themselves; a week of one Service is then
sixty thousand rows, some two megabytes."""


class Gathering:
    """One process's intervals in the making. What it had begun when it ended is lost: ten seconds."""

    def __init__(self) -> None:
        self._open: dict[ServiceName, Interval] = {}

    def add(self, decisions: Sequence[Decision]) -> tuple[tuple[ServiceName, Interval], ...]:
        """Take in one tick; the intervals that it completes. Quiet ones are left out: nothing came or went then."""
        done: list[tuple[ServiceName, Interval]] = []
        for decision in decisions:
            flow = decision.inputs.flow if decision.inputs is not None else None
            if flow is None or flow.span_s <= 0:
                continue
            begun = self._open.pop(decision.service, None)
            since = decision.at - flow.span_s
            if begun is not None and abs(begun.t_to - since) > 1e-3:
                done.append((decision.service, begun))
                begun = None
            grown = Interval(
                t_from=since if begun is None else begun.t_from,
                t_to=decision.at,
                arrivals=_plus(begun.arrivals if begun else 0.0, flow.arrivals),
                input_tokens=_plus(begun.input_tokens if begun else 0.0, flow.input_tokens),
                output_tokens=_plus(begun.output_tokens if begun else 0.0, flow.output_tokens),
                read_tokens=_counted(begun.read_tokens if begun else None, flow.read_tokens),
                written_tokens=_counted(begun.written_tokens if begun else None, flow.output_tokens),
            )
            if grown.t_to - grown.t_from >= INTERVAL_S:
                done.append((decision.service, grown))
            else:
                self._open[decision.service] = grown
        return tuple((name, one) for name, one in done if _tells(one))


def _tells(one: Interval) -> bool:
    """Whether anything came, or may have come, or was answered that came before."""
    return one.arrivals is None or bool(one.arrivals or one.read_tokens or one.written_tokens)


def _counted(before: float | None, more: float | None) -> float | None:
    """Of counters: one that is not read now shows later what it has counted meanwhile."""
    return before if more is None else (before or 0.0) + more


def _plus(before: float | None, more: float | None) -> float | None:
    return None if before is None or more is None else before + more
