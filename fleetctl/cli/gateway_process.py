"""A gateway alone as it runs: what it is started with, what is read again at SIGHUP, what it says meanwhile."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path

from fleetctl.gateway.served_models import ServedModels
from fleetctl.gateway.serving import serve
from fleetctl.gateway.settings import Settings
from fleetctl.gateway.tls import certificate_warnings, server_context
from fleetctl.model.routes import Routes
from fleetctl.spec.gateway_file import STDOUT, GatewayConfig
from fleetctl.spec.openness import open_metrics

STDOUT_FILE = Path("/dev/stdout")
"""What `-` is to whoever opens files."""
_log = logging.getLogger("fleetctl.gateway")


def run_gateway(
    config: GatewayConfig, read: Callable[[], GatewayConfig], told: Callable[[str, Settings], None]
) -> None:
    """Serve until it is told to end. `read` gets the configuration again; `told` hears the address and what is served.

    Raises `Conflict` for a port that is taken, `UsageError` for what cannot be served as it is set.
    """
    log_to_stderr()
    early: list[int] = []  # else a reload while replicas are asked would be the end of the process
    signal.signal(signal.SIGHUP, lambda number, _: early.append(number))
    served = ServedModels()
    settings = _settings(config, served, fence=1)
    fences = count(2)

    def reload() -> Settings:
        return _kept(settings, _settings(read(), served, fence=next(fences)))

    def ready(address: str) -> None:
        told(address, settings)
        if early:
            os.kill(os.getpid(), signal.SIGHUP)

    serve(settings, ready=ready, reload=reload)


def _settings(config: GatewayConfig, served: ServedModels, *, fence: int) -> Settings:
    """With what the replicas say they serve; what is amiss and no error is logged. Raises `UsageError`."""
    if config.tls_certificate is not None:
        server_context(config.tls_certificate, config.tls_key)  # a wrong certificate leaves the file unread, too
    # In a thread, as there may be a loop in this one: none of its requests waits for a replica that does not answer.
    with ThreadPoolExecutor(max_workers=1) as apart:
        routes, warnings = apart.submit(lambda: asyncio.run(served.fill(config.services))).result()
    for warning in (*config.warnings, *filter(None, [open_metrics(config.metrics_listen)]), *warnings):
        _log.warning("%s", warning)
    if config.tls_certificate is not None:
        for warning in certificate_warnings(config.tls_certificate, config.tls_key):
            _log.warning("%s", warning)
    return Settings(
        listen=config.listen,
        metrics_listen=config.metrics_listen,
        tls_certificate=config.tls_certificate,
        tls_key=config.tls_key,
        workers=config.workers,
        access_log=STDOUT_FILE if config.access_log == STDOUT else config.access_log,
        access_log_sample=config.access_log_sample,
        connections_max=config.connections_max,
        identity=config.identity,
        routes=Routes(fence=fence, routes=routes),
    )


def _kept(old: Settings, new: Settings) -> Settings:
    """The new settings, but for what stays as it was until the gateway is started anew."""
    asked = {
        "listen": old.listen != new.listen,
        "metrics_listen": old.metrics_listen != new.metrics_listen,
        "workers": old.workers != new.workers,
        "connections": old.connections_max != new.connections_max,
        "tls (on or off)": (old.tls_certificate is None) != (new.tls_certificate is None),
    }
    for name in (name for name, changed in asked.items() if changed):
        _log.warning("%s stays as it is until the gateway is started anew", name)
    if asked["tls (on or off)"]:
        new = replace(new, tls_certificate=old.tls_certificate, tls_key=old.tls_key)
    return replace(
        new,
        listen=old.listen,
        metrics_listen=old.metrics_listen,
        workers=old.workers,
        connections_max=old.connections_max,
    )


class _Spoken(logging.Formatter):
    """`15:04:05 warning: …` as the other commands tell events; what is no trouble has no word before it."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        word = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        return f"{self.formatTime(record, '%H:%M:%S')} {word}{text}"


def log_to_stderr() -> None:
    """What the gateway says, as sentences."""
    spoken = logging.StreamHandler()
    spoken.setFormatter(_Spoken("%(message)s"))
    logging.basicConfig(handlers=[spoken], level=logging.INFO)
