"""What stands between the public sockets and a data plane, and changes under running requests: certificate and log."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import cast

from fleetctl.errors import FleetError, UsageError
from fleetctl.gateway.access_log import AccessLog
from fleetctl.gateway.limits import ACCEPTED_AT_ONCE, FAREWELL_S, LISTEN_BACKLOG
from fleetctl.gateway.plane import DataPlane
from fleetctl.gateway.settings import Settings
from fleetctl.gateway.tls import HANDSHAKE_TIMEOUT_S, renew, server_context

_log = logging.getLogger("fleetctl.gateway")


class Doors:
    """Opens a data plane to the public, and keeps what it is opened with."""

    def __init__(self, settings: Settings, context: ssl.SSLContext | None, access_log: AccessLog | None) -> None:
        self.access_log = access_log
        self._settings = settings
        self._context = context
        self._servers: list[asyncio.Server] = []

    async def open(self, plane: DataPlane, sockets: Iterable[socket.socket]) -> None:
        for one in [listener for given in sockets for listener in _several(given)]:
            self._servers.append(
                await plane.loop.create_server(
                    cast("Callable[[], asyncio.BaseProtocol]", plane.client),
                    sock=one,
                    backlog=LISTEN_BACKLOG,
                    ssl=self._context,
                    ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S if self._context is not None else None,
                )
            )

    def apply(self, settings: Settings, plane: DataPlane) -> None:
        """New connections see the certificate that is in the files now, new lines go into a file opened now.

        What cannot be used is logged, and stays as it was.
        """
        try:
            renew_context(self._context, settings)
            self._reopen(settings, plane)
        except FleetError as error:
            _log.error("it stays as it was: %s; %s", error.message, error.hint)

    def shut(self) -> None:
        """Accept no more for now; connections that are open stay so. Who connects waits before the door, as the
        listening sockets are not ours.
        """
        for server in self._servers:
            server.close()
        self._servers.clear()

    async def shut_last(self, plane: DataPlane, sockets: Iterable[socket.socket]) -> None:
        """Let in who stands before the door, and close the sockets: nobody who has connected is reset."""
        self.shut()
        entering: list[asyncio.Task[object]] = []
        for listener in sockets:
            while (guest := _next_guest(listener)) is not None:
                entering.append(
                    plane.loop.create_task(
                        plane.loop.connect_accepted_socket(
                            cast("Callable[[], asyncio.BaseProtocol]", plane.client), guest, ssl=self._context
                        )
                    )
                )
            listener.close()
        if entering:
            _, late = await asyncio.wait(entering, timeout=FAREWELL_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*entering, return_exceptions=True)

    def close(self) -> None:
        self.shut()
        if self.access_log is not None:
            self.access_log.close()

    def _reopen(self, settings: Settings, plane: DataPlane) -> None:
        before, self._settings = self._settings, settings
        old = self.access_log
        if (before.access_log, before.access_log_sample) == (settings.access_log, settings.access_log_sample):
            if old is not None:
                old.reopen()
            return
        self.access_log = plane.access_log = open_access_log(settings)
        if old is not None:
            old.close()


def _several(one: socket.socket) -> list[socket.socket]:
    """The same listening socket under several numbers, each of which takes a connection in a turn of the loop."""
    return [one.dup() for _ in range(ACCEPTED_AT_ONCE)]


def _next_guest(listener: socket.socket) -> socket.socket | None:
    try:
        guest, _ = listener.accept()
    except OSError:  # nobody, or no file is left for one
        return None
    guest.setblocking(False)
    return guest


def make_context(settings: Settings) -> ssl.SSLContext | None:
    """Raises `UsageError` for a certificate that cannot be used."""
    if settings.tls_certificate is None:
        return None
    return server_context(settings.tls_certificate, settings.tls_key)


def renew_context(context: ssl.SSLContext | None, settings: Settings) -> None:
    """New connections see what is in the files now. Raises `UsageError`, and then it is as it was."""
    if (settings.tls_certificate is None) != (context is None):
        _log.error("TLS is turned on or off only when the gateway is started: start it again")
    elif settings.tls_certificate is not None and context is not None:
        renew(context, settings.tls_certificate, settings.tls_key)


def open_access_log(settings: Settings) -> AccessLog | None:
    """Raises `UsageError` for a file that cannot be written."""
    if settings.access_log is None:
        return None
    try:
        return AccessLog(settings.access_log, sample=settings.access_log_sample)
    except OSError as error:
        raise UsageError(
            f"the access log {settings.access_log} cannot be written: {error.strerror}",
            hint="name a file in a folder that the gateway may write to",
        ) from error
