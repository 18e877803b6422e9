"""Which unit of systemd a process belongs to, by the kernel's own words."""

import pytest

from fleetctl.host.control_groups import RunningUnit, unit_in

USERS = "/user.slice/user-1000.slice/user@1000.service/app.slice/"
OURS = RunningUnit(name="fleetctl-prod-1a2b.service", user=True)
THE_SYSTEMS = RunningUnit(name="fleetctl-prod-1a2b.service", user=False)


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        (f"0::{USERS}fleetctl-prod-1a2b.service\n", OURS),
        ("0::/system.slice/fleetctl-prod-1a2b.service\n", THE_SYSTEMS),
        (f"4:memory:/x\n1:name=systemd:{USERS}fleetctl-prod-1a2b.service\n0::/\n", OURS),
        ("4:memory:/system.slice/fleetctl-prod-1a2b.service\n0::/\n", None),
        ("0::/user.slice/user-1000.slice/session-2.scope\n", None),
        (f"0::{USERS}somebody.service\n", None),
        ("0::/system.slice/fleetctl-prod-1a2b.service/inner\n", None),
        ("", None),
        ("no line of the kernel's\n", None),
    ],
    ids=[
        "a user's",
        "the system's",
        "version 1",
        "a controller's line",
        "a login",
        "another unit",
        "below",
        "empty",
        "odd",
    ],
)
def test_the_unit_is_the_last_name_of_the_path(text: str, unit: RunningUnit | None) -> None:
    assert unit_in(text) == unit


def test_its_journal_is_one_command() -> None:
    assert OURS.journal == "journalctl --user -u fleetctl-prod-1a2b"
    assert THE_SYSTEMS.journal == "journalctl -u fleetctl-prod-1a2b"
