"""systemd's timers for Schedules: a timer that fires in the Schedule's own zone, and the service that it starts."""

from collections.abc import Mapping, Sequence

from fleetctl.host.calendars import on_calendar
from fleetctl.host.unit_files import environment_word, quoted, unit_text
from fleetctl.model.services import Schedule

TIME_LIMIT = "2min"
"""`schedule run` takes a second; one that hangs in a store that is locked must not block the next."""


def timer_name(fleet: str, name: str) -> str:
    """The name of both units of the Schedule called `name` (`chat/3f2a9c`), without `.timer` or `.service`."""
    return f"{prefix(fleet)}{name.replace('/', '-')}"


def prefix(fleet: str) -> str:
    """What the names of all timers of a fleet begin with. Fleets of one name and two homes differ by their tag."""
    return f"fleetctl-schedule-{fleet}-"


def timer_text(schedule: Schedule, name: str) -> str:
    """The timer. One that was missed while the machine was off fires once when it is on again."""
    return unit_text(
        (
            ("Unit", (("Description", f'fleetctl: schedule {name}, "{schedule.cron}" {schedule.tz}'),)),
            (
                "Timer",
                (
                    *(("OnCalendar", value) for value in on_calendar(schedule.cron, schedule.tz)),
                    ("AccuracySec", "1s"),
                    ("Persistent", "true"),
                ),
            ),
            ("Install", (("WantedBy", "timers.target"),)),
        )
    )


def service_text(name: str, words: Sequence[str], environment: Mapping[str, str]) -> str:
    """What the timer starts; what it says goes to systemd's journal."""
    return unit_text(
        (
            ("Unit", (("Description", f"fleetctl: schedule {name}"),)),
            (
                "Service",
                (
                    ("Type", "oneshot"),
                    *(("Environment", environment_word(key, value)) for key, value in environment.items()),
                    ("ExecStart", " ".join(quoted(word) for word in words)),
                    ("TimeoutStartSec", TIME_LIMIT),
                    ("NoNewPrivileges", "true"),
                ),
            ),
        )
    )
