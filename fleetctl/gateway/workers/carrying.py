"""A worker process: a data plane on the public port whose arbiter is in the scheduler process."""

import asyncio
import logging
import os
import signal
import socket
from typing import assert_never

import msgspec

from fleetctl.errors import FleetError
from fleetctl.gateway.access_log import AccessLog
from fleetctl.gateway.arbitration import Arbiter, Bearer
from fleetctl.gateway.doors import Doors, open_access_log
from fleetctl.gateway.draining import drain
from fleetctl.gateway.exchange import Exchange
from fleetctl.gateway.limits import BODY_LIMIT_BYTES, HELD_LIMIT_BYTES, SUCCESSION_S, TICK_S
from fleetctl.gateway.loops import settle_garbage
from fleetctl.gateway.plane import DataPlane
from fleetctl.gateway.settings import Settings
from fleetctl.gateway.workers.controls import Apply, Call, Drain, Here, Join, Ready, Told
from fleetctl.gateway.workers.hosting import UNTOLD
from fleetctl.gateway.workers.links import Link
from fleetctl.gateway.workers.messages import Down, Hello, Identified, Named, Report
from fleetctl.gateway.workers.posts import Post
from fleetctl.gateway.workers.remote import RemoteArbiter

_log = logging.getLogger("fleetctl.gateway")


class Worker:
    """Carries bytes until it is told to drain, or the first process is gone."""

    def __init__(self, post: Post, loop: asyncio.AbstractEventLoop) -> None:
        self._post = post
        self._loop = loop
        self._stop = asyncio.Event()
        self._named = asyncio.Event()
        self._failed = False
        self._all_end = False
        """The whole gateway ends, and not this process alone."""
        self._orphaned = False
        self._link: Link[Down] | None = None
        self._joining: set[asyncio.Task[object]] = set()
        self._remote: RemoteArbiter[Exchange]
        self._doors = Doors(post.settings, post.place.context, _access_log(post.settings))
        self._plane = DataPlane(
            loop,
            connections_max=post.place.connections_max,
            held_max_bytes=held_share(post.settings.workers),
            arbiter_of=self._make_arbiter,
            access_log=self._doors.access_log,
        )

    async def run(self) -> int:
        """The exit code."""
        post, loop = self._post, self._loop
        loop.add_reader(post.control.sock, self._controlled)
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        opening = loop.create_task(self._open())
        opening.add_done_callback(self._done)
        reporting = loop.create_task(self._report_on())
        reporting.add_done_callback(self._done)
        tasks = [opening, reporting]
        try:
            await self._stop.wait()
            if not self._failed:
                await self._drain()
            self._doors.shut()
            post.place.public.close()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            loop.remove_reader(post.control.sock)
            self._plane.close()
            await asyncio.sleep(0)  # one turn, in which aborted connections are closed
            if self._link is not None:
                self._report(self._link)
                self._link.close()
            self._doors.close()
            await asyncio.sleep(0)  # and one in which the last report goes
        return 1 if self._failed else 0

    async def _open(self) -> None:
        """Not before the names are known: who has been waiting must not be told that there are no services."""
        await self._named.wait()
        await self._doors.open(self._plane, self._sockets)
        settle_garbage()
        self._post.control.say(Ready())

    @property
    def _sockets(self) -> tuple[socket.socket, ...]:
        return self._post.place.public.groups[self._post.number - 1]

    async def _drain(self) -> None:
        if self._orphaned:  # another gateway may want the port now
            await self._doors.shut_last(self._plane, self._sockets)
        elif not self._all_end:
            # The first process holds the sockets, too: who connects waits there for our successor, but not for long.
            self._doors.shut()
            reopening = self._loop.create_task(self._open_again())
            reopening.add_done_callback(self._done)
            try:
                await drain(self._plane, shut=self._leave_door)
            finally:
                reopening.cancel()
            return
        await drain(self._plane, shut=self._leave_door)

    async def _open_again(self) -> None:
        await asyncio.sleep(SUCCESSION_S)
        await self._doors.open(self._plane, self._sockets)

    async def _leave_door(self) -> None:
        """To our successor, if there will be one."""
        if self._all_end or self._orphaned:
            await self._doors.shut_last(self._plane, self._sockets)
        else:
            self._doors.shut()

    def _done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("worker %d cannot go on", self._post.number, exc_info=error)
            self._failed = True
            self._stop.set()

    async def _report_on(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            if self._link is not None:
                self._report(self._link)

    def _report(self, link: Link[Down]) -> None:
        link.say(Report(msgspec.msgpack.encode(self._plane.measures()), self._plane.entry.take_used()))

    def _make_arbiter(self, bearer: Bearer[Exchange]) -> Arbiter[Exchange]:
        self._remote = RemoteArbiter(bearer, self._configured)
        return self._remote

    def _configured(self, one: Named | Identified) -> None:
        match one:
            case Named():
                if one.routes.fence != UNTOLD.fence:
                    self._plane.route(one.routes)
                self._named.set()
            case Identified():
                self._plane.identify(one.identity)
            case _:
                assert_never(one)

    def _controlled(self) -> None:
        told = self._post.control.receive()
        if told is None:  # the first process is gone
            self._loop.remove_reader(self._post.control.sock)
            self._orphaned = True
            self._stop.set()
            return
        for one, file in told:
            self._follow(one, file)

    def _follow(self, one: Told, file: socket.socket | None) -> None:
        match one:
            case Join():
                assert file is not None
                joining = self._loop.create_task(self._join(file))
                self._joining.add(joining)
                joining.add_done_callback(self._joining.discard)
            case Drain():
                self._all_end = True
                self._stop.set()
            case Apply():
                self._doors.apply(one.settings, self._plane)
                self._post.control.say(Ready())
            case Call():
                self._post.control.say(Here())
            case _:
                assert_never(one)

    async def _join(self, sock: socket.socket) -> None:
        link: Link[Down]

        def lost(why: Exception | None) -> None:
            if self._link is link:  # else it was of a scheduler before the one that is there now
                self._lost(why)

        link = Link(Down, loop=self._loop, takes=self._remote.takes, lost=lost)
        await self._loop.create_unix_connection(lambda: link, sock=sock)
        if not link.open:  # it has died meanwhile, and the next one's comes
            return
        if self._link is not None:
            self._link.close()
            self._lost(None)
        self._link = link
        self._remote.linked_by(link, Hello(self._post.number, os.getpid()))

    def _lost(self, why: Exception | None) -> None:
        """The scheduler is gone, or what it said cannot be followed: then this process is of no more use."""
        self._link = None
        self._remote.unlinked()
        if why is not None:
            self._failed = True
            self._stop.set()
        elif not self._stop.is_set():
            _log.warning("the scheduler is gone; what waited was refused, what runs goes on")


def held_share(workers: int) -> int:
    """Bytes of request bodies that each of so many processes may hold: all of them together are bounded, and each must
    be able to take one."""
    return max(BODY_LIMIT_BYTES, HELD_LIMIT_BYTES // workers)


def _access_log(settings: Settings) -> AccessLog | None:
    """When the gateway was started the file could be written; requests do not wait until it can be again."""
    try:
        return open_access_log(settings)
    except FleetError as error:
        _log.error("requests are served, and not logged: %s; %s", error.message, error.hint)
        return None
