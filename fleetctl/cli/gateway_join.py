"""A gateway that joins a fleet: `fleetctl gateway --join NAME`."""

import asyncio
import logging
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

from fleetctl.cli.gateway_process import log_to_stderr
from fleetctl.cli.output import say
from fleetctl.errors import UsageError
from fleetctl.wiring import gateway_options, home, join_fleet, load_config

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_log = logging.getLogger("fleetctl.gateway")


def run_joined(
    name: str, *, store: str | None, listen: str | None, metrics: str | None, access_log: str | None
) -> None:
    """Serve as one more gateway of the fleet in the store until it is told to end.

    Without `store` it is the store of the fleet that FLEETCTL_HOME names. Certificate and number of workers stand in
    the saved `gateway:` block of that home, where there is one; the port of its metrics and its log are the other
    gateway's. Raises `UsageError`, `NotFound`, `Conflict`.
    """
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            f"{name!r} is no name for a gateway", hint="lower-case letters, digits and hyphens: --join edge-2"
        )
    log_to_stderr()
    where = home()
    saved = load_config(where)
    config = replace(saved, gateway_metrics_listen=metrics, gateway_access_log=access_log)
    url = store or config.store_url or str(where.store)

    def ready(address: str) -> None:
        say(f"gateway {name} has joined; Ctrl-C or SIGTERM drains and ends it")
        scheme = "https" if config.gateway_certificate else "http"
        print(f"{scheme}://{address}/v1", flush=True)  # noqa: T201  the result: where requests come in

    # A folder of its own: a socket's path is short, and two gateways of one computer share none.
    with tempfile.TemporaryDirectory(prefix="fleetctl-gw-") as folder:
        asyncio.run(
            join_fleet(
                url,
                name=name,
                listen=listen or "127.0.0.1:8081",
                socket=Path(folder) / "admin.sock",
                options=gateway_options(config),
                ready=ready,
            )
        )
    _log.info("gateway %s has left", name)
