"""What a cloud's words mean: each answer of its metadata service, in the shape that the cloud documents."""

import json
from datetime import UTC, datetime

import pytest

from fleetctl.agent.notices import aws, azure, gcp
from fleetctl.agent.notices.questions import Cloud, Told
from fleetctl.agent.notices.rehearsed import SECONDS, read_notice
from fleetctl.agent.notices.watch import TROUBLE_MOST_S
from fleetctl.model.notices import Notice, NoticeKind

NAME = "chat-1"


def at(*parts: int) -> float:
    return datetime(*parts, tzinfo=UTC).timestamp()  # type: ignore[misc,arg-type]


def read(cloud: Cloud, path: str, body: str) -> Told | None:
    """What the one question whose path holds `path` reads from the body."""
    (question,) = [one for one in cloud.questions if path in one.path]
    return question.read(body.encode(), NAME)


def scheduled(code: str, not_before: str, state: str = "active") -> dict[str, str]:
    return {
        "NotBefore": not_before,
        "Code": code,
        "Description": "scheduled by the test",
        "EventId": f"instance-event-{code}",
        "NotAfter": not_before,
        "State": state,
    }


def test_ec2_says_when_a_spot_machine_ends() -> None:
    told = read(aws.CLOUD, "instance-action", '{"action": "stop", "time": "2026-11-21T08:22:00Z"}')

    assert told == Told(kind="spot", deadline_at=at(2026, 11, 21, 8, 22), detail="stop")


def test_ec2_maintenance_is_the_first_event_that_is_still_to_come() -> None:
    events = [
        scheduled("system-reboot", "21 Jan 2027 09:00:43 GMT"),
        scheduled("instance-stop", "20 Jan 2027 09:00:43 GMT"),
        scheduled("instance-stop", "19 Jan 2027 09:00:43 GMT", state="completed"),
        scheduled("instance-stop", "18 Jan 2027 09:00:43 GMT", state="canceled"),
        scheduled("something-new", "17 Jan 2027 09:00:43 GMT"),
    ]

    told = read(aws.CLOUD, "maintenance", json.dumps(events))

    detail = "stop, instance-event-instance-stop"
    assert told == Told(kind="maintenance", deadline_at=at(2027, 1, 20, 9, 0, 43), detail=detail)
    assert read(aws.CLOUD, "maintenance", "[]") is None


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("preempted", "FALSE", None),
        ("preempted", "TRUE\n", Told(kind="spot", within_s=30.0, detail="preempted")),
        ("maintenance", "NONE", None),
        ("maintenance", "MIGRATE_ON_HOST_MAINTENANCE", None),
        (
            "maintenance",
            "TERMINATE_ON_HOST_MAINTENANCE",
            Told(kind="maintenance", within_s=3600.0, detail="the host is maintained"),
        ),
    ],
)
def test_compute_engine_speaks_in_words(path: str, body: str, told: Told | None) -> None:
    assert read(gcp.CLOUD, path, body) == told


SOON = "Mon, 19 Oct 2026 18:29:47 GMT"


def event(kind: str, not_before: str = SOON, *machines: str, **more: str) -> dict[str, object]:
    return {
        "EventId": f"id-{kind}",
        "EventType": kind,
        "EventStatus": "Scheduled",
        "Resources": list(machines or (NAME,)),
        "NotBefore": not_before,
        **more,
    }


@pytest.mark.parametrize(
    ("events", "told", "why"),
    [
        ([], None, "nothing is scheduled"),
        ([event("Freeze")], None, "engines outlive a pause of seconds"),
        ([event("Reboot", SOON, "chat-2")], None, "another machine's"),
        (
            [event("Preempt")],
            Told(kind="spot", deadline_at=at(2026, 10, 19, 18, 29, 47), within_s=30.0, detail="Preempt, id-Preempt"),
            "an eviction",
        ),
        (
            [event("Reboot"), event("Terminate", "Mon, 19 Oct 2026 18:20:00 GMT", NAME, "chat-2")],
            Told(
                kind="maintenance",
                deadline_at=at(2026, 10, 19, 18, 20),
                within_s=300.0,
                detail="Terminate, id-Terminate",
            ),
            "the first of two",
        ),
        (
            [event("Preempt"), event("Redeploy", "", EventStatus="Started")],
            Told(kind="maintenance", within_s=0.0, detail="Redeploy has begun, id-Redeploy"),
            "what has begun comes before all",
        ),
    ],
)
def test_azure_lists_events_of_a_whole_set(events: list[object], told: Told | None, why: str) -> None:
    body = json.dumps({"DocumentIncarnation": 7, "Events": events})

    assert read(azure.CLOUD, "scheduledevents", body) == told, why


@pytest.mark.parametrize("cloud", [aws.CLOUD, gcp.CLOUD, azure.CLOUD], ids=["aws", "gcp", "azure"])
@pytest.mark.parametrize("body", ["", "<html/>", "{}", "[1]", "null", '{"time": 3}', '{"Events": [{}]}', '"x"'])
def test_what_is_no_answer_is_an_error_and_never_no_notice(cloud: Cloud, body: str) -> None:
    for question in cloud.questions:
        with pytest.raises((ValueError, LookupError, TypeError, AttributeError)):
            question.read(body.encode(), NAME)


def test_a_question_in_trouble_is_asked_several_times_within_the_shortest_notice() -> None:
    assert TROUBLE_MOST_S <= gcp.PREEMPTED_WITHIN_S / 3


@pytest.mark.parametrize(
    ("text", "kind", "seconds"),
    [
        ("", "spot", SECONDS),
        ("30\n", "spot", 30.0),
        ("1.5 maintenance", "maintenance", 1.5),
        ("maintenance", "maintenance", SECONDS),
        ("rebalance", "rebalance", None),
    ],
)
def test_a_rehearsed_notice_is_a_number_of_seconds_and_a_kind(
    text: str, kind: NoticeKind, seconds: float | None
) -> None:
    deadline_at = None if seconds is None else 1000.0 + seconds

    assert read_notice(text, 1000.0) == Notice(kind=kind, deadline_at=deadline_at, detail="rehearsed")


@pytest.mark.parametrize("text", ["soon", "30 s", "nan", "-5"])
def test_a_rehearsed_notice_that_states_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"soon|'s'|no number of seconds"):
        read_notice(text, 1000.0)
