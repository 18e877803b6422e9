"""How a measure is told: one JSON line on stdout, the same fields everywhere; tables for people go to stderr."""

import json
import math
import sys
from pathlib import Path


def report(
    measure: str,
    value: float | None,
    unit: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    peer: str | None = None,
    peer_value: float | None = None,
) -> None:
    """One line. `value` None or not finite: it could not be measured; `at_least` or `at_most` is its goal."""
    value, peer_value = _finite(value), _finite(peer_value)
    goal = f">= {at_least:g}" if at_least is not None else f"<= {at_most:g}" if at_most is not None else None
    met: bool | None = None
    if value is not None and goal is not None:
        met = value >= at_least if at_least is not None else at_most is not None and value <= at_most
    line = {
        "bench": Path(sys.argv[0]).stem,
        "measure": measure,
        "value": _short(value),
        "unit": unit,
        "goal": goal,
        "ok": met,
        "peer": peer,
        "peer_value": _short(peer_value),
        "ratio": _short(value / peer_value) if value is not None and peer_value else None,
    }
    print(json.dumps(line), flush=True)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
