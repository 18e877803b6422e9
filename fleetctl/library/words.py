"""A Decision in the words that `fleetctl explain` prints."""

import time

from fleetctl.model.decisions import Decision
from fleetctl.views.explanation import Explanation, explained


def explain(subject: Decision | Explanation, *, now: float | None = None) -> str:
    """A Decision stage by stage, as lines of text; of an Explanation also what it would have been otherwise.

    `now` is Unix seconds, for "so long ago"; None: the computer's clock. Of a `Brain`'s Decisions, whose time has any
    beginning, give that beginning's `now`.
    """
    at = time.time() if now is None else now
    if isinstance(subject, Explanation):
        return explained(subject.decision, at, without=subject.without)
    return explained(subject, at)
