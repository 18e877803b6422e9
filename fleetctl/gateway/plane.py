"""The data plane: joins clients, the arbiter and replicas. Everything runs on one event loop; nothing here waits."""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial

from fleetctl.gateway.access_log import AccessLog
from fleetctl.gateway.arbitration import Arbiter, Bearer
from fleetctl.gateway.downstream import ClientConnection
from fleetctl.gateway.entry import Pass
from fleetctl.gateway.exchange import Exchange
from fleetctl.gateway.http1_heads import RequestHead
from fleetctl.gateway.limits import (
    BODY_TIMEOUT_S,
    DRAIN_TIMEOUT_S,
    HEAD_TIMEOUT_S,
    HEADS_REMEMBERED_MAX,
    HELD_LIMIT_BYTES,
    IDLE_TIMEOUT_S,
    LINGER_TIMEOUT_S,
    PIPELINED_TIMEOUT_S,
    STALL_TIMEOUT_S,
    TICK_S,
)
from fleetctl.gateway.outgoing import Outgoing
from fleetctl.gateway.own_answers import OwnAnswers
from fleetctl.gateway.prefixes import chain
from fleetctl.gateway.probes import Probes
from fleetctl.gateway.refusals import SILENT, shutting_down
from fleetctl.gateway.replies import LAST_CHUNK, Refusal, error_event
from fleetctl.gateway.scheduler.arbiter import FairArbiter
from fleetctl.gateway.scheduler.ticket import Fault, Phase, Seat
from fleetctl.gateway.starvation import Starvation
from fleetctl.gateway.steered import SteeredPlane
from fleetctl.gateway.timeouts import Timeouts
from fleetctl.gateway.tracing import TraceIds
from fleetctl.gateway.upstream import UpstreamConnection
from fleetctl.gateway.waits import Idles, Waits
from fleetctl.gateway.wishes import apply_wishes, look_into
from fleetctl.model.names import ServiceName

_log = logging.getLogger("fleetctl.gateway")

_LOST_MIDWAY = "The replica that was answering was lost; the answer is incomplete."


class DataPlane(SteeredPlane):
    """The state of one process that carries bytes, and an `arbitration.Bearer`. Give it Routes and an Identity, and
    connections through `client`.

    Without `arbiter_of` it decides by itself, with a FairArbiter; else capacity is the business of whoever hosts the
    arbiter, and of the Routes it gets only the names count.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        arbiter_of: Callable[[Bearer[Exchange]], Arbiter[Exchange]] | None = None,
        *,
        connections_max: int,
        held_max_bytes: int = HELD_LIMIT_BYTES,
        access_log: AccessLog | None = None,
    ) -> None:
        super().__init__(loop, access_log)
        self.held_max_bytes = held_max_bytes
        self.outgoing = Outgoing(loop)
        self.starvation = Starvation()
        self.heads: Waits[ClientConnection] = Waits(HEAD_TIMEOUT_S)
        self.idles: Idles[ClientConnection] = Idles(IDLE_TIMEOUT_S)
        self.bodies: Waits[ClientConnection] = Waits(BODY_TIMEOUT_S)
        self.stalls: Waits[ClientConnection] = Waits(STALL_TIMEOUT_S)
        self.crowds: Waits[ClientConnection] = Waits(PIPELINED_TIMEOUT_S)
        self.lingers: Waits[ClientConnection] = Waits(LINGER_TIMEOUT_S)
        self.probes = Probes(loop)
        self.timeouts = Timeouts(self)
        self.arbiter: Arbiter[Exchange]
        if arbiter_of is None:
            self.arbiter = self.local = FairArbiter(self)
        else:
            self.arbiter = arbiter_of(self)
        self._connections_max = connections_max
        self._own = OwnAnswers()
        self._known_heads: dict[bytes, RequestHead] = {}
        self._trace_ids = TraceIds()
        self._ticking = loop.call_later(TICK_S, self._tick)

    # what its host says

    def client(self) -> ClientConnection:
        return ClientConnection(self)

    @property
    def running(self) -> int:
        """Requests that hold a slot. Looks at every client."""
        return sum(1 for one in self.clients if one.exchange is not None and one.exchange.phase is Phase.RUNNING)

    @property
    def unfinished(self) -> bool:
        """Whether a client waits for an answer, or has not taken all of one. Looks at every client."""
        return any(one.exchange is not None or one.transport.get_write_buffer_size() for one in self.clients)

    def stop_accepting(self, *, timeout_s: float = DRAIN_TIMEOUT_S) -> None:
        """Refuse what is queued and what comes; what runs goes on, for `timeout_s` at most. Each connection ends with
        its next answer.
        """
        self.stopping = True
        self.shut = refusal = shutting_down(timeout_s)
        _log.info("no more requests are taken; %d run, and have %g s to end", self.running, timeout_s)
        now = self.now()
        for client in tuple(self.clients):
            exchange = client.exchange
            if exchange is None:
                continue
            exchange.close = True  # and where its answer has not begun, it says so
            if exchange.phase is Phase.QUEUED:
                self.arbiter.cancel(exchange, now)
                self.refused(exchange, refusal)

    def close(self) -> None:
        """End every connection at once."""
        self.stopping = True
        self._ticking.cancel()
        self.pools.close()
        self.probes.close()
        for client in tuple(self.clients):
            client.transport.abort()
        for upstream in tuple(self.upstreams):
            upstream.transport.abort()
        self.records.flush()

    # what client connections say

    def admit_client(self, client: ClientConnection) -> int:
        """By how many there are more now than may be."""
        self.clients.add(client)
        return len(self.clients) - self._connections_max

    def remember(self, head: RequestHead) -> RequestHead:
        """The one object for all heads like this one."""
        known = self._known_heads
        if len(known) >= HEADS_REMEMBERED_MAX:
            known.clear()
        return known.setdefault(head.judged + b"\0" + head.ending, head)

    def accept(self, client: ClientConnection, asked: RequestHead, body: bytes) -> None:
        """A whole request has come."""
        ids = self._trace_ids.begin()
        if self.shut is not None:
            self._refuse_unasked(client, asked, self.shut, ids)
            return
        entry = self.entry
        pass_ = asked.admitted
        if asked.admitted_in != entry.generation or not isinstance(pass_, Pass):
            if entry.known and self._own.health(client, asked):  # a load balancer waits until there is more to say
                return
            admitted = self._admit(asked)
            if isinstance(admitted, Refusal):
                self._refuse_unasked(client, asked, admitted, ids)
                return
            pass_ = admitted
        if asked.method in (b"GET", b"HEAD") and self._own.models(client, asked, self._table, pass_):
            return
        table = self._table
        choice = asked.alone
        if choice is None or asked.chosen_by is not table or pass_.services is not None:
            found = table.choose(asked, body, pass_)
            if isinstance(found, Refusal):
                self.records.unrouted += 1
                self._refuse_unasked(client, asked, found, ids, pass_)
                return
            choice = found
        service = choice.service
        exchange = Exchange(service, client, self._lines[service], asked, pass_, body, ids)
        exchange.adapter = choice.adapter
        exchange.prefix = chain(body, choice.seed)
        look_into(exchange, body)
        if asked.priority or asked.timeout:
            refusal = apply_wishes(exchange, asked)
            if refusal is not None:
                self._refuse_unasked(client, asked, refusal, ids, pass_)
                return
        exchange.write_head(choice.target, ids, credentials=not entry.required)
        client.exchange = exchange
        self.arbiter.ask(exchange, self.now())

    def turns_away(self, asked: RequestHead) -> Refusal | None:
        """Whether a request may not enter, known from its head: the body of a stranger is not worth holding."""
        if self.stopping:
            return self.shut
        admitted = self._admit(asked)
        return admitted if isinstance(admitted, Refusal) else None

    def client_gone(self, exchange: Exchange) -> None:
        upstream = exchange.upstream
        exchange.gone = True
        if upstream is not None:
            exchange.upstream = None
            upstream.abandon()
        self.records.ended(exchange, "cancelled")
        self.arbiter.cancel(exchange, self.now())

    # what the arbiter says

    def granted(self, ticket: Exchange) -> None:
        seat = ticket.seat
        assert seat is not None
        ticket.seated_s = self.now()
        # One that may have been begun gets a connection that is no longer kept: it must not meet a stale one as well.
        connection = self.pools.take(seat) if not ticket.begun else None
        if connection is not None:
            connection.send(ticket)
        else:
            self._connect(ticket, seat)

    def refused(self, ticket: Exchange, refusal: Refusal) -> None:
        if ticket.client.exchange is ticket:
            ticket.client.refuse(refusal, ticket.request_id)
            self.records.ended(ticket, "refused", refusal)

    def probe(self, seat: Seat) -> None:
        line = self._lines.get(seat.service)
        path = line.probe_path if line is not None else ""
        self.probes.start(seat.address, path, partial(self._probed, seat))

    def starved(self, service: ServiceName) -> None:
        self.starvation.note(service)

    # what upstream connections say

    def answer_begins(self, exchange: Exchange, status: int) -> None:
        """The head of its answer has come."""
        exchange.status = status
        exchange.body = exchange.head = b""
        exchange.client.begins_answer()

    def answered_whole(self, exchange: Exchange, connection: UpstreamConnection, *, reusable: bool) -> None:
        """Its answer came in one piece and has gone to the client: all that the other calls do, at one time."""
        exchange.status = 200
        exchange.first_s = now = self.now()
        if reusable:
            self.pools.keep(connection, now)
        arrived, usage = exchange.arrived_s, exchange.usage
        exchange.line.measures.observe_whole(exchange.seated_s - arrived, now - arrived, usage)
        if self.records.log is not None:
            self.records.answered(exchange)
        exchange.client.served(now, close=exchange.close)
        self.arbiter.finish(exchange, now, answered=True, input_tokens=usage[0], output_tokens=usage[1])

    def hears(self, exchange: Exchange) -> None:
        """The first byte of its answer's body has come."""
        exchange.first_s = now = self.now()
        measures = exchange.line.measures
        measures.wait.observe(exchange.seated_s - exchange.arrived_s)
        measures.ttft.observe(now - exchange.arrived_s)
        self.arbiter.hears(exchange, now)

    def answered(self, exchange: Exchange, stream_tokens: int, reusable: UpstreamConnection | None) -> None:
        """Its answer has gone to the client, whole; as a stream of so many tokens, or 0. `reusable`: for the next."""
        if not exchange.first_s:
            self.hears(exchange)
        now = self.now()
        if reusable is not None:
            self.pools.keep(reusable, now)
        line = exchange.line
        line.observe(exchange, now)
        if stream_tokens:
            line.observe_stream(exchange, stream_tokens, now)
        self.records.answered(exchange)
        exchange.client.served(now, close=exchange.close)
        self.arbiter.finish(
            exchange, now,
            answered=True, input_tokens=exchange.usage[0], output_tokens=exchange.usage[1],
        )  # fmt: skip

    def give_back(self, exchange: Exchange, fault: Fault) -> None:
        """The replica failed it before the client saw a byte, and another may try."""
        self.arbiter.give_back(exchange, fault, self.now())

    def failed(self, exchange: Exchange, why: str) -> None:
        """The replica broke off before the client saw a byte."""
        if exchange.retriable and not exchange.begun:
            exchange.begun = True
            self.give_back(exchange, Fault.BROKEN)
            return
        failed = "failed twice; the second time" if exchange.begun or exchange.retried else "failed"
        self._lose(exchange, Refusal(status=502, code="upstream_failed", message=f"The request {failed}: {why}."))

    def silent(self, exchange: Exchange) -> None:
        self._lose(exchange, SILENT)

    def broken(self, exchange: Exchange, *, between_events: bool, until_close: bool) -> None:
        """The replica failed it after the client saw a byte: the client must not take it for complete.

        `until_close`: the client knows the answer's end only by the end of the connection.
        """
        self.records.ended(exchange, "failed")
        client = exchange.client
        if between_events:
            # Ended as framed, the connection is kept: one that closes now would take the client's next request with it.
            client.write(error_event(_LOST_MIDWAY) + LAST_CHUNK)
            client.served(self.now(), close=exchange.close)
        elif until_close:
            client.reset()
        else:
            client.cut()
        self.arbiter.finish(exchange, self.now(), answered=False)

    def send_afresh(self, exchange: Exchange, *, unsent: bool) -> None:
        """A kept-alive connection was closed without a word: it had probably gone stale, and the slot is kept.

        `unsent`: for sure, as nothing had gone out. Else the request may just have killed its replica, and counts as
        tried: one that kills whoever gets it must not go round them all.
        """
        seat = exchange.seat
        assert seat is not None
        if not unsent:
            exchange.begun = True
        self._connect(exchange, seat)

    # the inside

    def _lose(self, exchange: Exchange, refusal: Refusal) -> None:
        """It is over, without an answer."""
        exchange.client.refuse(refusal, exchange.request_id)
        self.records.ended(exchange, "failed", refusal)
        self.arbiter.finish(exchange, self.now(), answered=False)

    def _admit(self, asked: RequestHead) -> Pass | Refusal:
        admitted = self.entry.admit(asked.authorization, asked.api_key)
        if not isinstance(admitted, Refusal):
            asked.admitted = admitted
            asked.admitted_in = self.entry.generation
        return admitted

    def _refuse_unasked(
        self, client: ClientConnection, asked: RequestHead, refusal: Refusal, ids: bytes, pass_: Pass | None = None
    ) -> None:
        """Of this request the arbiter never hears."""
        client.refuse(refusal, ids[:32])
        self.records.refused(asked, refusal, ids[:32], pass_)

    def _connect(self, exchange: Exchange, seat: Seat) -> None:
        self.pools.connect(
            seat,
            lambda: UpstreamConnection(self, seat),
            lambda connection: self._connected(exchange, connection),
            lambda: self._unreached(exchange),
        )

    def _connected(self, exchange: Exchange, connection: UpstreamConnection) -> None:
        if exchange.gone:
            self.pools.keep(connection, self.now())
        else:
            connection.send(exchange)

    def _unreached(self, exchange: Exchange) -> None:
        if not exchange.gone:
            self.give_back(exchange, Fault.UNREACHED)

    def _probed(self, seat: Seat, well: bool) -> None:
        self.arbiter.probed(seat, self.now(), well=well)

    def _tick(self) -> None:
        self._ticking = self.loop.call_later(TICK_S, self._tick)
        now = self.now()
        self.entry.advance(time.time())
        if self.local is not None:
            self.local.advance(now)
        self.timeouts.advance(now)
        self.records.flush()
