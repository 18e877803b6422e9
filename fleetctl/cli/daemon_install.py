"""The controller as a unit of systemd."""

import getpass
import os
import sys
import time
from pathlib import Path

from fleetctl.cli.output import say
from fleetctl.cli.schedule_install import fleet_tag
from fleetctl.cli.session import Session
from fleetctl.cli.units import SYSTEM_FOLDER, put_unit, remove_unit, systemctl, systemd_answers, user_folder
from fleetctl.errors import Conflict
from fleetctl.host.daemon_unit import daemon_unit
from fleetctl.model.records import dataclass
from fleetctl.wiring import lease_is_live, log_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """The unit of one fleet's controller."""

    name: str
    path: str
    text: str
    changed: bool
    """By this command."""
    state: str
    """written, enabled, started, removed, as it was; dry run."""


def install_unit(here: Session, *, system: bool, dry_run: bool, at_once: bool) -> Unit:
    """Write the unit and have systemd take it. Raises `NotFound` where there is no systemd."""
    path = _path(here, system=system)
    text = unit_of(here, system=system)
    if dry_run:
        same = path.is_file() and path.read_text(errors="replace") == text
        return Unit(name=path.name, path=str(path), text=text, changed=not same, state="dry run")
    systemd_answers(user=not system, instead="run it in the background without: fleetctl daemon start")
    active = systemctl("is-active", "--quiet", path.name, user=not system, check=False)
    if at_once and not active and lease_is_live(here.store, time.time()):
        raise Conflict(
            "a controller runs already, and not as this unit; two cannot control one fleet",
            hint="end it with `fleetctl daemon stop`, and run this again",
        )
    log_of(here.home, "daemon")  # the unit must find the home there, and be able to write it
    changed = put_unit(path, text)
    if changed:
        systemctl("daemon-reload", user=not system)
    systemctl("enable", *(("--now",) if at_once else ()), path.name, user=not system)
    if changed and active:
        again = f"systemctl {'' if system else '--user '}restart {path.name}"
        say(f"it runs as the unit was before; to have it as it is now: {again}")
    if not system:
        say("it runs while you are logged in, as do replicas on this machine; for always: loginctl enable-linger")
    return Unit(name=path.name, path=str(path), text=text, changed=changed, state="started" if at_once else "enabled")


def uninstall_unit(here: Session, *, system: bool, dry_run: bool) -> Unit:
    """Take the unit away; the controller under it ends, replicas and gateway go on."""
    path = _path(here, system=system)
    if not path.exists():
        return Unit(name=path.name, path=str(path), text="", changed=False, state="as it was")
    text = path.read_text(errors="replace")
    if not dry_run:
        systemctl("disable", "--now", path.name, user=not system, check=False)
        remove_unit(path)
        systemctl("daemon-reload", user=not system, check=False)
    return Unit(name=path.name, path=str(path), text=text, changed=True, state="dry run" if dry_run else "removed")


def unit_of(here: Session, *, system: bool) -> str:
    """The unit's text for this fleet, this user and this Python."""
    config, root = here.config, here.home.root
    writes = [str(root)]
    if config.store_url is not None and config.store_url.startswith("/"):
        writes.append(str(Path(config.store_url).parent))
    if config.gateway_access_log is not None:
        writes.append(str(Path(config.gateway_access_log).parent))
    return daemon_unit(
        fleet=config.name,
        words=[sys.executable, "-m", "fleetctl", "run"],
        environment={**here.home.environment, "PATH": os.environ.get("PATH", os.defpath)},
        environment_file=str(root / "environment"),
        writes=tuple(dict.fromkeys(writes)),
        period_s=config.period_s,
        user=getpass.getuser() if system else None,
        user_home=str(Path.home()),
    )


def _path(here: Session, *, system: bool) -> Path:
    return (SYSTEM_FOLDER if system else user_folder()) / f"fleetctl-{fleet_tag(here)}.service"
