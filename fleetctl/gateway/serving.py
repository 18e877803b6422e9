"""How a gateway serves: in this process alone, or as a first process with workers and a scheduler."""

import logging
from collections.abc import Callable
from contextlib import ExitStack

from fleetctl.gateway.doors import Doors, make_context, open_access_log
from fleetctl.gateway.listening import Claim, listen_at, listen_on
from fleetctl.gateway.loops import run_loop
from fleetctl.gateway.native import said
from fleetctl.gateway.open_files import connections_within
from fleetctl.gateway.settings import Settings

_log = logging.getLogger("fleetctl.gateway")


def serve(
    settings: Settings,
    *,
    ready: Callable[[str], None],
    reload: Callable[[], Settings] | None = None,
    detached: bool = False,
) -> None:
    """Serve until told to stop (SIGTERM, SIGINT, `POST /shutdown`); a second signal ends it at once.

    `ready` gets the public address. `reload` reads the settings again at SIGHUP; a `FleetError` of it leaves all as it
    was. Routes, identity, certificate and access log change under running requests; addresses and the number of workers
    do not. `detached`: nobody reads what processes that are started would print. To be called in the main thread.
    Raises `Conflict` where a port or socket is taken, `UsageError` for what cannot be served as it is set.
    """
    with ExitStack() as held:
        path = settings.admin_socket
        claim = held.enter_context(Claim(path)) if path is not None else None
        _log.info("the hot path runs as %s", said())
        connections_max = connections_within(settings.connections_max, settings.workers)
        context, access_log = make_context(settings), open_access_log(settings)
        if access_log is not None:
            held.callback(access_log.close)
        public = listen_on(settings.listen, settings.workers)
        held.callback(public.close)
        metrics = listen_on(settings.metrics_listen) if settings.metrics_listen else None
        if metrics is not None:
            held.callback(metrics.close)
        admin = listen_at(path) if path is not None else None
        if admin is not None and path is not None:
            held.callback(path.unlink, missing_ok=True)
            held.callback(admin.close)
        if settings.workers == 1:
            from fleetctl.gateway.single import Single

            doors = Doors(settings, context, access_log)
            run_loop(Single(settings, doors, public, admin, metrics, connections_max, ready, reload).run)
        else:
            from fleetctl.gateway.workers.guardian import Guardian
            from fleetctl.gateway.workers.posts import Place
            from fleetctl.gateway.workers.processes import become

            place = Place(
                public=public,
                admin=admin,
                metrics=metrics,
                claim=claim,
                connections_max=connections_max,
                context=context,
            )
            Guardian(settings, place, become=become, ready=ready, reload=reload, detached=detached).run()
    _log.info("stopped")
