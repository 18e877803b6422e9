"""Azure: Scheduled Events, from the instance metadata service.

Source: Azure documentation, "Scheduled Events for Linux VMs". The service is off until it is first asked, takes up to
two minutes for that answer, tells nothing before another few, and goes off again after a day without a question: so it
is asked from boot on, and never given up.
"""

import json
from email.utils import parsedate_to_datetime
from typing import Any

from fleetctl.agent.notices.questions import Cloud, Question, Told
from fleetctl.model.notices import NoticeKind

EVERY_S = 1.0
"""What Azure recommends: an eviction is announced thirty seconds ahead."""
FIRST_S = 150.0
"""For the first answer; Azure says two minutes."""

_KINDS: dict[str, tuple[NoticeKind, float]] = {
    "Preempt": ("spot", 30.0),
    "Terminate": ("maintenance", 300.0),
    "Reboot": ("maintenance", 900.0),
    "Redeploy": ("maintenance", 600.0),
}
"""What ends a machine, and the least seconds ahead that it is announced. A Freeze lasts seconds: engines outlive it."""


def _events(body: bytes, name: str) -> Told | None:
    """The first event that ends this very machine; one that has begun comes before all others."""
    mine = [
        event
        for event in json.loads(body)["Events"]
        if event["EventType"] in _KINDS and (name in event["Resources"] or not event["Resources"])
    ]
    if not mine:
        return None
    first = min(mine, key=lambda event: _at(event) or 0.0)
    kind, within_s = _KINDS[first["EventType"]]
    begun = first.get("EventStatus") == "Started"
    return Told(
        kind=kind,
        deadline_at=_at(first),
        within_s=0.0 if begun else within_s,
        detail=f"{first['EventType']}{' has begun' if begun else ''}, {first['EventId']}",
    )


def _at(event: dict[str, Any]) -> float | None:
    """As in Mon, 19 Sep 2016 18:29:47 GMT; None: it has begun."""
    text = event.get("NotBefore")
    return parsedate_to_datetime(text).timestamp() if text else None


CLOUD = Cloud(
    url="http://169.254.169.254",
    headers=(("Metadata", "true"),),
    name_path="/metadata/instance/compute/name?api-version=2021-02-01&format=text",
    questions=(
        Question(
            path="/metadata/scheduledevents?api-version=2020-07-01", read=_events, every_s=EVERY_S, first_s=FIRST_S
        ),
    ),
)
