"""EC2: spot interruptions, scheduled events and rebalance recommendations, from IMDSv2.

Source: EC2 User Guide, "Spot Instance interruption notices", "EC2 instance rebalance recommendations", "Scheduled
events for your instances" and "Use the Instance Metadata Service to access instance metadata".
"""

import json
from datetime import UTC, datetime

from fleetctl.agent.notices.questions import Cloud, Question, Session, Told

SPOT_EVERY_S = 1.0
"""AWS recommends to look every 5 s. A look each second is one small request that never leaves the host, a thousandth of
the 1,024 packets a second that the link takes, and leaves 4 s more of the two minutes."""
HINT_EVERY_S = 5.0
"""A rebalance recommendation is only a hint; what AWS recommends is enough for it."""
EVENTS_EVERY_S = 60.0
"""Maintenance is announced days ahead."""

_ENDS = {
    "instance-stop": "stop",
    "instance-retirement": "retirement",
    "instance-reboot": "reboot",
    "system-reboot": "reboot of the host",
    "system-maintenance": "maintenance of the host",
}


def _spot(body: bytes, _: str) -> Told:
    said = json.loads(body)
    return Told(kind="spot", deadline_at=_iso(said["time"]), detail=str(said["action"]))


def _rebalance(body: bytes, _: str) -> Told:
    return Told(kind="rebalance", detail=f"recommended at {json.loads(body)['noticeTime']}")


def _maintenance(body: bytes, _: str) -> Told | None:
    """The first of the events that are still to come."""
    said = json.loads(body)
    if not isinstance(said, list):
        raise ValueError(f"{body[:80]!r} is no list of events")
    coming = [event for event in said if event.get("State") == "active" and event["Code"] in _ENDS]
    if not coming:
        return None
    first = min(coming, key=lambda event: _day(event["NotBefore"]))
    detail = f"{_ENDS[first['Code']]}, {first.get('EventId', 'no id')}"
    return Told(kind="maintenance", deadline_at=_day(first["NotBefore"]), detail=detail)


def _iso(text: str) -> float:
    """As in 2026-11-21T08:22:00Z."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()


def _day(text: str) -> float:
    """As in 21 Nov 2026 09:00:43 GMT."""
    return datetime.strptime(text, "%d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC).timestamp()


CLOUD = Cloud(
    url="http://169.254.169.254",
    session=Session(
        path="/latest/api/token",
        lifetime_header="X-aws-ec2-metadata-token-ttl-seconds",
        lifetime_s=21600,
        token_header="X-aws-ec2-metadata-token",
    ),
    questions=(
        Question(path="/latest/meta-data/spot/instance-action", read=_spot, every_s=SPOT_EVERY_S),
        Question(path="/latest/meta-data/events/recommendations/rebalance", read=_rebalance, every_s=HINT_EVERY_S),
        Question(path="/latest/meta-data/events/maintenance/scheduled", read=_maintenance, every_s=EVENTS_EVERY_S),
    ),
)
