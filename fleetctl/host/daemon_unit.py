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
    private_tmp: bool,
) -> str:
    """The unit's text. `user`: whose the process is, in a unit of the system; None: a unit of the user's own systemd.

    `writes` are the folders that it must be able to write; `private_tmp` is False where its socket lies in /tmp.
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
        *_hardening(writes, user_home, private_tmp),
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


def _hardening(writes: Sequence[str], user_home: str, private_tmp: bool) -> list[tuple[str, str]]:
    caches = [f"-{path_word(f'{user_home}/{name}')}" for name in CLOUD_STATE]
    return [
        ("NoNewPrivileges", "true"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "read-only"),
        ("ReadWritePaths", " ".join([*(path_word(path) for path in writes), *caches])),
        ("PrivateTmp", "true" if private_tmp else "false"),
        ("ProtectKernelTunables", "true"),
        ("ProtectKernelModules", "true"),
        ("ProtectControlGroups", "true"),
        ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK"),
        ("RestrictNamespaces", "true"),
        ("RestrictRealtime", "true"),
        ("RestrictSUIDSGID", "true"),
        ("LockPersonality", "true"),
        ("SystemCallArchitectures", "native"),
        ("UMask", "0077"),
    ]
