"""The systemd unit that the controller runs under."""

from collections.abc import Mapping, Sequence
from math import ceil

from fleetctl.host.unit_files import environment_word, path_word, quoted, unit_text

WATCHDOG_LEAST_S = 60.0
"""A tick may take long under load, or wait for a store that is locked: a beat is missed after many times that."""
WATCHDOG_PERIODS = 10
"""…or after so many periods, where they are long."""
RESTART_S = 5
"""Between an end and the next start: a Lease that was left lies for fifteen seconds, and is then taken."""
CLOUD_STATE = (".aws", ".azure", ".config/gcloud", ".cache")
"""Folders of the user's own home where the clouds' tools keep tokens that they renew, and caches."""

TEMPORARY = ("/tmp", "/var/tmp")
"""What replicas, and the sockets of a home of a long name, have for files that nobody keeps."""


def watchdog_s(period_s: float) -> int:
    """Seconds without a tick that ended, after which systemd starts the controller anew."""
    return ceil(max(WATCHDOG_LEAST_S, WATCHDOG_PERIODS * period_s))


def daemon_unit(
    *,
    fleet: str,
    words: Sequence[str],
    environment: Mapping[str, str],
    environment_file: str,
    writes: Sequence[str],
    period_s: float,
    user: str | None,
    user_home: str,
) -> str:
    """The unit's text. `user`: whose the process is, in a unit of the system; None: a unit of the user's own systemd.

    `writes` are the folders that it must be able to write, besides those for what is temporary.
    """
    service = [
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        *((("User", user),) if user is not None else ()),
        *(("Environment", environment_word(key, value)) for key, value in environment.items()),
        # For credentials that are given as variables: they belong into no unit, which everybody may read.
        ("EnvironmentFile", f"-{path_word(environment_file)}"),
        ("ExecStart", " ".join(quoted(word) for word in words)),
        ("WatchdogSec", f"{watchdog_s(period_s)}s"),
        ("TimeoutStartSec", "120s"),
        ("TimeoutStopSec", "60s"),
        ("Restart", "on-failure"),
        ("RestartSec", f"{RESTART_S}s"),
        # A file or a word that is wrong does not mend by itself.
        ("RestartPreventExitStatus", "2"),
        # Replicas on this machine, and the gateway, go on when the controller ends.
        ("KillMode", "process"),
        # They are in its control group: one that is out of memory must not end the controller, nor do they share the
        # count of threads that is meant for one program.
        ("OOMPolicy", "continue"),
        ("TasksMax", "infinity"),
        *_PROCESS_HARDENING,
        *(_system_hardening(writes, user_home) if user is not None else ()),
    ]
    return unit_text(
        (
            (
                "Unit",
                (
                    ("Description", f"fleetctl: the controller of fleet {fleet}"),
                    *((("Wants", "network-online.target"), ("After", "network-online.target")) if user else ()),
                    ("StartLimitIntervalSec", "0"),
                ),
            ),
            ("Service", service),
            ("Install", (("WantedBy", "multi-user.target" if user is not None else "default.target"),)),
        )
    )


_PROCESS_HARDENING = (
    ("NoNewPrivileges", "true"),
    ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK"),
    ("RestrictNamespaces", "true"),
    ("RestrictRealtime", "true"),
    ("RestrictSUIDSGID", "true"),
    ("LockPersonality", "true"),
    ("SystemCallArchitectures", "native"),
    ("UMask", "0077"),
)
"""What a systemd without privileges can do, too."""


def _system_hardening(writes: Sequence[str], user_home: str) -> list[tuple[str, str]]:
    """What only the system's own systemd can do. A user's cannot start a unit that gives up capabilities; of the rest
    it does nothing, or, since version 253, gives its processes a user namespace, in which replicas would live too
    (systemd/systemd#25233)."""
    caches = [f"-{path_word(f'{user_home}/{name}')}" for name in CLOUD_STATE]
    return [
        ("ProtectSystem", "strict"),
        ("ProtectHome", "read-only"),
        # Not PrivateTmp: it is removed when the unit stops, and replicas that live on would be left without any.
        ("ReadWritePaths", " ".join([*(path_word(path) for path in writes), *TEMPORARY, *caches])),
        ("ProtectKernelTunables", "true"),
        ("ProtectKernelModules", "true"),
        ("ProtectKernelLogs", "true"),
        ("ProtectHostname", "true"),
        ("ProtectControlGroups", "true"),
    ]
