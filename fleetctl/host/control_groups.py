"""The unit of systemd that a process belongs to, as the kernel's list of its control groups tells (cgroups(7))."""

from fleetctl.model.records import dataclass

_OURS = "fleetctl-"
_SUFFIX = ".service"
_USERS = "/user@"
"""In the path of what a user's own systemd has started: `/user.slice/user-1000.slice/user@1000.service/…`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningUnit:
    """A unit that fleetctl wrote, and that runs."""

    name: str
    """`fleetctl-prod-1a2b.service`."""
    user: bool
    """Of a user's own systemd; False: of the system's."""

    @property
    def journal(self) -> str:
        """The command that shows what it said."""
        return f"journalctl {'--user ' if self.user else ''}-u {self.name.removesuffix(_SUFFIX)}"


def unit_in(control_groups: str) -> RunningUnit | None:
    """The unit of ours in the text of a process's `/proc/PID/cgroup`; None: it belongs to none.

    Lines are `0::PATH`, or with version 1 `NUMBER:name=systemd:PATH`; those of its controllers say nothing of units.
    """
    for line in control_groups.splitlines():
        _, _, rest = line.partition(":")
        kind, _, path = rest.partition(":")
        above, _, name = path.rpartition("/")
        if kind in ("", "name=systemd") and name.startswith(_OURS) and name.endswith(_SUFFIX):
            return RunningUnit(name=name, user=_USERS in above)
    return None
