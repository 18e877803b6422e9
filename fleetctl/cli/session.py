"""What commands share: the fleet they speak to, and how they name and tell what is in it."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fleetctl.errors import NotFound, SpecError, UsageError
from fleetctl.model.decisions import Event
from fleetctl.model.names import ServiceName
from fleetctl.model.records import dataclass
from fleetctl.paths import Home
from fleetctl.spec.fleet import FleetConfig
from fleetctl.store import SqlStore, open_store
from fleetctl.views.figures import ago
from fleetctl.views.fleet import FleetView, fleet_view
from fleetctl.wiring import fleet_store, home, in_context, load_config

WATCH_S = 0.5
"""How often a command that watches another controller looks at the store."""
_CONTINUED = 13
"""Columns that the further lines of an event's message are set in by: an engine's last words, for instance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One command's view of one fleet."""

    home: Home
    config: FleetConfig
    store: SqlStore

    def view(self) -> FleetView:
        return fleet_view(self.store, self.config.gateway_listen, time.time())


@contextmanager
def session(
    *, config: FleetConfig | None = None, change: bool = False, create: bool = False, dry_run: bool = False
) -> Iterator[Session]:
    """The fleet that the environment names: to be looked at, to `change`, or to `create` where there is none.

    A `dry_run` of what creates one sees an empty fleet where there is none, and leaves nothing behind. Raises
    `NotFound` when there is none and `create` is not set, `ReadOnly` for a context that is not to be changed.
    """
    where = home()
    settings = load_config(where) if config is None else in_context(where, config)
    if change and settings.store_url is None and not where.store.exists():
        # Opened to be written it would be made, and an empty fleet is told apart from none by what reads it.
        fleet_store(where, settings, read_only=True).close()
    with contextlib.ExitStack() as ends:
        if create and dry_run and settings.store_url is None and not where.store.exists():
            import tempfile

            folder = ends.enter_context(tempfile.TemporaryDirectory(prefix="fleetctl-dry-"))
            store = open_store(f"{folder}/fleet.db")
        else:
            store = fleet_store(where, settings, read_only=dry_run or not (change or create))
        ends.callback(store.close)
        yield Session(home=where, config=settings, store=store)


def event_line(event: Event) -> str:
    """One event on one line: time, subject, what happened."""
    at = time.strftime("%H:%M:%S", time.localtime(event.at))
    mark = "!" if event.kind == "warning" else " "
    message = event.message.replace("\n", "\n" + " " * _CONTINUED)
    return f"{at} {mark} {event.subject:<24} {message}"


def known_service(now: Session, name: str) -> ServiceName:
    """The Service of that name, or of `service/NAME` as lists print it; or `NotFound` with the nearest one."""
    name = name.removeprefix("service/")
    intents, _ = now.store.intents()
    names = [intent.service.name for intent in intents]
    if name in names:
        return ServiceName(name)
    from fleetctl.spec.suggestions import nearest

    near = nearest(name, names)
    hint = f"did you mean {near}?" if near else f"services: {', '.join(names) or 'none yet; fleetctl up'}"
    raise NotFound(f"there is no service {name!r}", hint=hint)


def spec_paths(files: Sequence[Path] | None) -> list[Path]:
    """The files a command was given, or the default folder."""
    if files:
        return list(files)
    folder = Path("fleet")
    if not folder.exists():
        raise SpecError(
            "no fleet files: there is no folder fleet/ here", hint="fleetctl init, or give one with -f PATH"
        )
    return [folder]


def duration_s(text: str) -> float:
    """`90s`, `10m`, `2h`, `1d` as seconds."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    with contextlib.suppress(ValueError):
        if text and text[-1] in units and float(text[:-1]) >= 0:
            return float(text[:-1]) * units[text[-1]]
    raise UsageError(f"{text!r} is not a duration", hint="write it as 90s, 10m, 2h or 1d")


def data_age(view: FleetView) -> str:
    """A line on how fresh the figures are and who keeps them so."""
    age = "no decision yet" if view.age_s is None else f"decided {ago(view.age_s)} ago"
    live = view.lease is not None and view.lease.expires_at > view.at
    if live:
        return age
    return f"{age}; no controller is running, nothing scales: fleetctl daemon start"
