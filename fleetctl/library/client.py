"""A typed client of a fleet's store, for notebooks and scripts: it looks, and where it may, sets counts."""

import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fleetctl.errors import Conflict, NotFound, ReadOnly, UsageError
from fleetctl.library.rows import Rows
from fleetctl.model.decisions import Decision, Event
from fleetctl.model.history import Interval
from fleetctl.model.names import ServiceName
from fleetctl.model.starts import Start
from fleetctl.paths import Home
from fleetctl.spec.fleet import FleetConfig
from fleetctl.store import SqlStore
from fleetctl.views.explanation import Explanation, explanation
from fleetctl.views.fleet import (
    FleetView,
    InstanceRow,
    ReplicaRow,
    ServiceRow,
    fleet_view,
    instance_rows,
    replica_rows,
    service_rows,
)
from fleetctl.wiring import fleet_store, load_config
from fleetctl.wiring import home as home_meant

if TYPE_CHECKING:
    from fleetctl.cli.session import Session
    from fleetctl.sim.traces import Trace

HISTORY_S = 7 * 86400.0
"""How far back traffic is told where nobody says since when: a week has every day's shape once."""
LIMIT = 1000
"""Events and starts where nobody says how many: what a notebook shows at once, and a store reads in some ten ms."""


class Client:
    """One fleet. Reads its store, never a cloud, and changes nothing unless it is made with `read_only=False`.

    Each call reads anew; what it gives does not change afterwards. One client is for one thread.
    """

    def __init__(
        self, home: str | Path | None = None, *, store: str | Path | None = None, read_only: bool = True
    ) -> None:
        """`home` is the fleet's folder; None: what the environment and the context name, as for every command.

        `store` is the path or the `postgresql://` address of its store where that is another than the fleet's settings
        say. Raises `NotFound` where there is no fleet, `StoreFailure` where it cannot be read, `Conflict` for a store
        of a newer fleetctl, and `ReadOnly` for a context that is only looked at.
        """
        where = home_meant() if home is None else Home(Path(home).absolute())
        if store is not None:
            where = replace(where, store_url=str(store))
        self._home = where
        self._config = load_config(where)
        self._store = _opened(where, self._config, read_only=read_only)
        self.read_only = read_only
        """Whether `scale` and `release` are refused."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the store. May be repeated."""
        self._store.close()

    def services(self) -> Rows[ServiceRow]:
        """Every Service, those that need a person first, as `fleetctl ps` has them."""
        return Rows(service_rows(self._view()))

    def replicas(self, service: str | None = None) -> Rows[ReplicaRow]:
        """Every Replica, or those of one Service. Raises `NotFound` for a Service that there is not."""
        return Rows(replica_rows(self._view(), None if service is None else self._known(service)))

    def instances(self) -> Rows[InstanceRow]:
        """Every Instance that is there or on its way, by Pool."""
        return Rows(instance_rows(self._view()))

    def decisions(self) -> Rows[Decision]:
        """The newest Decision about each Service, by name, with its stages and what it was made from."""
        return Rows(self._store.decisions().values())

    def explanation(self, service: str, at: float | datetime | None = None) -> Explanation:
        """The Decision that stood at a time, and what it would have been without what held it; None: the newest.

        `fleetctl.explain` puts it into words. Raises `NotFound` where nothing is recorded.
        """
        found = explanation(self._store, self._known(service), _unix(at))
        if found is None:
            raise NotFound(f"no decision about {service} is recorded", hint=f"fleetctl explain {service}")
        return found

    def events(
        self, since: float | datetime | None = None, *, subject: str | None = None, limit: int = LIMIT
    ) -> Rows[Event]:
        """What happened since then, oldest first; the newest `limit` of it. `subject` is one such as `service/chat`."""
        return Rows(self._store.events(since=_unix(since) or 0.0, limit=_most(limit), subject=subject))

    def starts(self, service: str | None = None, *, limit: int = LIMIT) -> Rows[Start]:
        """Starts of Replicas that are over, oldest first, with their stages; the newest `limit` of them."""
        return Rows(self._store.starts(None if service is None else self._known(service), limit=_most(limit)))

    def history(
        self, service: str, since: float | datetime | None = None, until: float | datetime | None = None
    ) -> Rows[Interval]:
        """What came in, oldest first; None: the last week, until now. Where nothing came, there is no Interval."""
        end = time.time() if until is None else _unix(until) or 0.0
        begin = end - HISTORY_S if since is None else _unix(since) or 0.0
        return Rows(self._store.history(self._known(service), since=begin, until=end))

    def traffic(self, service: str, since: float | datetime | None = None, *, seed: int = 1) -> "Trace":
        """The record of what came in, as requests that `simulate` can play. Raises `NotFound` where there is none."""
        from fleetctl.sim.history import from_history, whole

        rows = self.history(service, since)
        if not rows:
            raise NotFound(f"nothing is recorded of traffic to {service}", hint="let the fleet run with traffic first")
        return from_history(whole(rows, rows[0].t_from, rows[-1].t_to), seed=seed)

    def scale(
        self, service: str, replicas: int, *, for_s: float | None = None, yes: bool = False, confirm: str = ""
    ) -> None:
        """Set the count of a Service by hand, for so many seconds or until `release`; as `fleetctl scale` does.

        The controller acts on it; `fleetctl undo` takes it back. Where it rents more than runs now, `yes` has to be
        set, and in a context that wants its name, `confirm` has to be that; nobody is ever asked. Raises `ReadOnly`,
        `NotFound`, `UsageError` (a count above its max), `ConfirmationNeeded` and `OverBudget`.
        """
        from fleetctl.library import by_hand

        by_hand.scale(self._session(), service, replicas, for_s=for_s, yes=yes, confirm=confirm)

    def release(self, service: str) -> None:
        """Hand the count back to the policy; as `fleetctl scale SERVICE=auto`. Raises `ReadOnly` and `NotFound`."""
        from fleetctl.library import by_hand

        by_hand.release(self._session(), service)

    def _view(self) -> FleetView:
        return fleet_view(self._store, self._config.gateway_listen, time.time())

    def _known(self, name: str) -> ServiceName:
        """The name of a Service. Raises `NotFound` with the nearest one."""
        names = [str(intent.service.name) for intent in self._store.intents()[0]]
        if name in names:
            return ServiceName(name)
        import difflib

        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"services: {', '.join(names) or 'none yet; fleetctl up'}"
        raise NotFound(f"there is no service {name!r}", hint=hint)

    def _session(self) -> "Session":
        if self.read_only:
            raise ReadOnly("this client only looks", hint="make one that may change things: Client(read_only=False)")
        from fleetctl.cli.session import Session

        return Session(home=self._home, config=self._config, store=self._store)


def _opened(home: Home, config: FleetConfig, *, read_only: bool) -> SqlStore:
    """The store that is there; none is made."""
    try:
        store = fleet_store(home, config, read_only=True)
    except Conflict:
        if read_only:
            raise
        return fleet_store(home, config)  # an older one is brought up to date, a newer one refused
    if read_only:
        return store
    store.close()
    return fleet_store(home, config)


def _unix(at: float | datetime | None) -> float | None:
    return at.timestamp() if isinstance(at, datetime) else at


def _most(limit: int) -> int:
    if limit < 1:
        raise UsageError(f"limit is {limit}", hint="give 1 or more")
    return limit
