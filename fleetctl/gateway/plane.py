"""The data plane: joins clients, queues and replicas. Everything runs on one event loop; nothing here waits."""

import asyncio
import time

from fleetctl.errors import Conflict
from fleetctl.gateway.downstream import ClientConnection
from fleetctl.gateway.exchange import Exchange
from fleetctl.gateway.http1_heads import RequestHead
from fleetctl.gateway.limits import (
    BODY_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    FIRST_BYTE_TIMEOUT_S,
    HEAD_TIMEOUT_S,
    HELD_LIMIT_BYTES,
    IDLE_TIMEOUT_S,
    LINGER_TIMEOUT_S,
    POOL_IDLE_TIMEOUT_S,
    POOL_LIMIT,
    RETRY_AFTER_LONGEST_S,
    SILENCE_SWEEP_S,
    STALL_TIMEOUT_S,
    STREAM_IDLE_TIMEOUT_S,
    TICK_S,
)
from fleetctl.gateway.lines import ServiceLine
from fleetctl.gateway.metrics import PlaneMeasures
from fleetctl.gateway.queue import Fault, Incarnation, Phase
from fleetctl.gateway.replies import (
    LAST_CHUNK,
    Refusal,
    encode_json,
    error_event,
    model_entry,
    model_list,
)
from fleetctl.gateway.routing import Table
from fleetctl.gateway.upstream import UpstreamConnection
from fleetctl.gateway.waits import Waits
from fleetctl.model.names import ServiceName
from fleetctl.model.routes import Route, Routes
from fleetctl.model.signals import QueueStats

_LOST_MIDWAY = "The replica that was answering was lost; the answer is incomplete."
_SHUTTING_DOWN = Refusal(
    status=503, code="shutting_down", message="The gateway is shutting down. Try again.", retry_after_s=1
)


class DataPlane:
    """The state of the gateway. Give it Routes, and connections through `client`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, connections_max: int) -> None:
        self.loop = loop
        self.now = time.monotonic  # not the loop's: uvloop counts whole milliseconds
        self.stopping = False
        self.fence = 0
        self.epoch = ""
        self.unrouted = 0
        self.malformed = 0
        self.held_bytes = 0
        self.clients: set[ClientConnection] = set()
        self.upstreams: set[UpstreamConnection] = set()
        self.heads: Waits[ClientConnection] = Waits(HEAD_TIMEOUT_S)
        self.idles: Waits[ClientConnection] = Waits(IDLE_TIMEOUT_S)
        self.bodies: Waits[ClientConnection] = Waits(BODY_TIMEOUT_S)
        self.stalls: Waits[ClientConnection] = Waits(STALL_TIMEOUT_S)
        self.lingers: Waits[ClientConnection] = Waits(LINGER_TIMEOUT_S)
        self.pooled: Waits[UpstreamConnection] = Waits(POOL_IDLE_TIMEOUT_S)
        self._connections_max = connections_max
        self._lines: dict[ServiceName, ServiceLine] = {}
        self._leaving: set[ServiceName] = set()
        self._table = Table()
        self._connecting: set[asyncio.Task[None]] = set()
        self._swept_at = self.now()
        self._ticking = loop.call_later(TICK_S, self._tick)

    def client(self) -> ClientConnection:
        return ClientConnection(self)

    def route(self, routes: Routes) -> None:
        """Take the controller's view in place of the one before. Raises `Conflict` for a fence that is out of date."""
        if routes.epoch == self.epoch and routes.fence < self.fence:
            raise Conflict(
                f"these routes have fence {routes.fence}, and the gateway has already followed fence {self.fence}",
                hint="another controller has taken over; stop this one",
            )
        self.fence, self.epoch = routes.fence, routes.epoch
        given = {route.service: route for route in routes.routes}
        self._table = Table(tuple(given.values()))
        for service, route in given.items():
            line = self._lines.get(service)
            if line is None:
                self._lines[service] = ServiceLine(route)
            else:
                line.reroute(route)
                self._leaving.discard(service)
                self._pump(line)
        for service in self._lines.keys() - given.keys() - self._leaving:
            self._leaving.add(service)
            self._dismiss(self._lines[service])

    def stats(self) -> list[QueueStats]:
        now, at = self.now(), time.time()
        return [line.stats(now=now, at=at) for line in self._lines.values()]

    def measures(self) -> PlaneMeasures:
        now = self.now()
        return PlaneMeasures(
            held_bytes=self.held_bytes,
            client_connections=len(self.clients),
            unrouted=self.unrouted,
            malformed=self.malformed,
            services=tuple(line.measures(now) for line in self._lines.values()),
        )

    @property
    def services(self) -> tuple[ServiceName, ...]:
        return tuple(self._lines.keys() - self._leaving)

    @property
    def running(self) -> int:
        return sum(line.queue.running for line in self._lines.values())

    def stop_accepting(self) -> None:
        """Refuse what is queued, close connections between two requests; what runs goes on."""
        self.stopping = True
        for line in self._lines.values():
            for exchange in line.queue.close():
                exchange.client.refuse(_SHUTTING_DOWN)
        for client in tuple(self.clients):
            if client.resting:
                client.cut()

    def close(self) -> None:
        """End every connection at once."""
        self.stopping = True
        self._ticking.cancel()
        for task in self._connecting:
            task.cancel()
        for client in tuple(self.clients):
            client.transport.abort()
        for upstream in tuple(self.upstreams):
            upstream.transport.abort()

    # what client connections say

    def admits(self, client: ClientConnection) -> bool:
        self.clients.add(client)
        return len(self.clients) <= self._connections_max and not self.stopping

    def hold(self, size_bytes: int) -> bool:
        """Count bytes of bodies held; False: there are too many now."""
        self.held_bytes += size_bytes
        return self.held_bytes <= HELD_LIMIT_BYTES

    def accept(self, client: ClientConnection, asked: RequestHead, body: bytes) -> None:
        """A whole request has come."""
        if self.stopping:
            client.refuse(_SHUTTING_DOWN)
            return
        if asked.method in (b"GET", b"HEAD") and self._answer_here(client, asked):
            return
        chosen = self._table.choose(asked, body)
        if isinstance(chosen, Refusal):
            self.unrouted += 1
            client.refuse(chosen)
            return
        service, target = chosen
        line = self._lines[service]
        exchange = Exchange(client, line, asked, target, body)
        now = self.now()
        if not line.queue.offer(exchange, now):
            wait_s = min(RETRY_AFTER_LONGEST_S, max(1, round(line.queue.oldest_wait_s(now))))
            client.refuse(
                Refusal(
                    status=429,
                    code="queue_full",
                    message=f"The queue of {service} is full. Try again in {wait_s} s.",
                    retry_after_s=wait_s,
                )
            )
            return
        client.exchange = exchange
        self._pump(line)

    def client_gone(self, exchange: Exchange) -> None:
        upstream = exchange.upstream
        exchange.line.queue.cancel(exchange)
        if upstream is not None:
            upstream.abandon()
        self._pump(exchange.line)

    # what upstream connections say

    def answer_begins(self, exchange: Exchange) -> None:
        line = exchange.line
        line.ttft.observe(self.now() - exchange.arrived_s)
        exchange.body = b""
        exchange.client.begins_answer()
        if line.queue.hears(exchange):
            self._pump(line)

    def answered(self, exchange: Exchange) -> None:
        line = exchange.line
        line.queue.finish(exchange, answered=True)
        line.duration.observe(self.now() - exchange.arrived_s)
        exchange.client.served(close=exchange.close)
        self._pump(line)

    def try_elsewhere(self, exchange: Exchange) -> bool:
        """The replica answered that it cannot serve now. False: its answer stands."""
        if not exchange.line.queue.give_back(exchange, Fault.BUSY, self.now()):
            return False
        exchange.upstream = None
        exchange.refreshed = False
        self._pump(exchange.line)
        return True

    def failed(self, exchange: Exchange, why: str) -> None:
        """The replica failed it before the client saw a byte."""
        exchange.refreshed = False
        queue = exchange.line.queue
        if not queue.give_back(exchange, Fault.BROKEN, self.now()):
            queue.finish(exchange, answered=False)
            exchange.client.refuse(
                Refusal(
                    status=502, code="upstream_failed", message=f"The request failed twice; the second time: {why}."
                )
            )
        self._pump(exchange.line)

    def broken(self, exchange: Exchange, *, between_events: bool) -> None:
        """The replica failed it after the client saw a byte: the client must not take it for complete."""
        exchange.line.queue.finish(exchange, answered=False)
        if between_events:
            # Ended as framed, the connection is kept: one that closes now would take the client's next request with it.
            exchange.client.transport.write(error_event(_LOST_MIDWAY) + LAST_CHUNK)
            exchange.client.served(close=exchange.close)
        else:
            exchange.client.cut()
        self._pump(exchange.line)

    def send_afresh(self, exchange: Exchange) -> None:
        """A kept-alive connection was stale; the slot is kept, and this is no second attempt."""
        exchange.refreshed = True
        self._connect(exchange)

    def pool(self, connection: UpstreamConnection) -> None:
        incarnation = connection.incarnation
        idle = connection.line.idle.setdefault(incarnation, {})
        if not incarnation.listed or len(idle) >= POOL_LIMIT or self.stopping:
            connection.transport.close()
            return
        idle[connection] = None
        self.pooled.start(connection, self.now())

    def unpool(self, connection: UpstreamConnection) -> None:
        self.pooled.stop(connection)
        idle = connection.line.idle.get(connection.incarnation)
        if idle is not None:
            idle.pop(connection, None)

    # the inside

    def _answer_here(self, client: ClientConnection, asked: RequestHead) -> bool:
        close, head_only = not asked.keep_alive, asked.method == b"HEAD"
        if asked.target == b"/healthz":
            client.reply(encode_json({"status": "ok"}, close=close, head_only=head_only), close=close)
            return True
        if asked.target == b"/v1/models":
            document = model_list(self._table.names)
            client.reply(encode_json(document, close=close, head_only=head_only), close=close)
            return True
        if asked.target.startswith(b"/v1/models/"):
            name = asked.target.removeprefix(b"/v1/models/").decode("latin-1")
            service = self._table.find(name)
            if service is not None:
                client.reply(encode_json(model_entry(name, service), close=close, head_only=head_only), close=close)
                return True
        return False

    def _pump(self, line: ServiceLine) -> None:
        """Give free slots to waiting requests until one of the two runs out."""
        while (exchange := line.queue.pull()) is not None:
            incarnation = exchange.incarnation
            assert incarnation is not None
            idle = line.idle.get(incarnation)
            while idle:
                connection, _ = idle.popitem()
                self.pooled.stop(connection)
                if not connection.transport.is_closing():
                    connection.send(exchange)
                    break
            else:
                self._connect(exchange)

    def _connect(self, exchange: Exchange) -> None:
        incarnation = exchange.incarnation
        assert incarnation is not None
        task = self.loop.create_task(self._open(exchange, incarnation))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _open(self, exchange: Exchange, incarnation: Incarnation) -> None:
        line = exchange.line
        host, _, port = incarnation.address.rpartition(":")
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, connection = await self.loop.create_connection(
                    lambda: UpstreamConnection(self, line, incarnation), host.strip("[]"), int(port)
                )
        except (OSError, TimeoutError, ValueError):  # ValueError: an address without a port
            if exchange.phase is Phase.RUNNING:
                exchange.refreshed = False
                line.queue.give_back(exchange, Fault.UNREACHED, self.now())
                self._pump(line)
            return
        if exchange.phase is Phase.RUNNING:
            connection.send(exchange)
        else:  # its client left meanwhile
            self.pool(connection)

    def _dismiss(self, line: ServiceLine) -> None:
        """The Service is gone: what is queued for it will never be served, what runs may end."""
        line.reroute(Route(service=line.service, models=(), upstreams=(), queue_limit=0))
        for exchange in line.queue.close():
            exchange.client.refuse(
                Refusal(status=503, code="service_removed", message=f"The service {line.service} was taken down.")
            )

    def _tick(self) -> None:
        self._ticking = self.loop.call_later(TICK_S, self._tick)
        now = self.now()
        for service, line in tuple(self._lines.items()):
            for exchange in line.queue.advance(now):
                exchange.client.refuse(
                    Refusal(
                        status=503,
                        code="queue_timeout",
                        message=f"No replica of {service} was free in {now - exchange.arrived_s:.0f} s.",
                        retry_after_s=RETRY_AFTER_LONGEST_S,
                    )
                )
            self._pump(line)
            if service in self._leaving and line.empty:
                line.close_unlisted()
                self._leaving.discard(service)
                del self._lines[service]
        for client in self.heads.expired(now) + self.bodies.expired(now):
            self.malformed += 1
            client.refuse_and_close(
                Refusal(status=408, code="request_timeout", message="The request did not arrive in time.")
            )
        for client in self.idles.expired(now) + self.lingers.expired(now):
            client.transport.close()
        for client in self.stalls.expired(now):
            client.transport.abort()
        for connection in self.pooled.expired(now):
            connection.transport.close()
        if now - self._swept_at >= SILENCE_SWEEP_S:
            self._sweep(now - self._swept_at)
            self._swept_at = now

    def _sweep(self, passed_s: float) -> None:
        """Find upstreams that have said nothing for too long."""
        for upstream in tuple(self.upstreams):
            exchange = upstream.exchange
            if exchange is None or upstream.heard or exchange.client.paused:
                upstream.heard = False
                upstream.silent_s = 0.0
                continue
            upstream.silent_s += passed_s
            if upstream.silent_s < (STREAM_IDLE_TIMEOUT_S if upstream.answering else FIRST_BYTE_TIMEOUT_S):
                continue
            answering, between = upstream.answering, upstream.between_events
            exchange.upstream = None
            upstream.abandon()
            if answering:
                self.broken(exchange, between_events=between)
                continue
            exchange.line.queue.finish(exchange, answered=False)
            exchange.client.refuse(
                Refusal(status=504, code="upstream_silent", message="The replica did not begin to answer in time.")
            )
            self._pump(exchange.line)
