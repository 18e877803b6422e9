"""Compute Engine: preemption and host maintenance, from the metadata server.

Source: Compute Engine documentation, "Spot VMs" (detection of preemption), "Query the metadata server" (waiting for
changes) and "Handle GPU host maintenance events".
"""

from fleetctl.agent.notices.questions import Cloud, Question, Told

HELD_S = 20
"""A question is held this long by the server when nothing changes: seldom asked, and the one about maintenance, which
waits its turn meanwhile, still comes around well within its hour."""
PREEMPTED_EVERY_S = 1.0
"""A pause between two questions, for a server that holds none; a change meanwhile is told by the ETag at once."""
MAINTENANCE_EVERY_S = 60.0

PREEMPTED_WITHIN_S = 30.0
"""From the notice to the end of a preempted machine, at best."""
MAINTENANCE_WITHIN_S = 3600.0
"""Machines with GPUs are told an hour ahead; they cannot be moved while they run."""


def _preempted(body: bytes, _: str) -> Told | None:
    match body.strip():
        case b"TRUE":
            return Told(kind="spot", within_s=PREEMPTED_WITHIN_S, detail="preempted")
        case b"FALSE":
            return None
    raise ValueError(f"{body[:80]!r} is neither TRUE nor FALSE")


def _maintenance(body: bytes, _: str) -> Told | None:
    match body.strip():
        case b"TERMINATE_ON_HOST_MAINTENANCE":
            return Told(kind="maintenance", within_s=MAINTENANCE_WITHIN_S, detail="the host is maintained")
        case b"NONE" | b"MIGRATE_ON_HOST_MAINTENANCE":
            return None  # a machine that is moved alive goes on serving
    raise ValueError(f"{body[:80]!r} is no maintenance event")


CLOUD = Cloud(
    url="http://169.254.169.254",
    headers=(("Metadata-Flavor", "Google"),),
    questions=(
        Question(
            path=f"/computeMetadata/v1/instance/preempted?wait_for_change=true&timeout_sec={HELD_S}&last_etag={{etag}}",
            read=_preempted,
            every_s=PREEMPTED_EVERY_S,
            held_s=float(HELD_S),
        ),
        Question(
            path="/computeMetadata/v1/instance/maintenance-event",
            read=_maintenance,
            every_s=MAINTENANCE_EVERY_S,
        ),
    ),
)
