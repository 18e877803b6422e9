"""One request on its way: what was asked, by which client, and how far it is."""

from typing import TYPE_CHECKING

from fleetctl.gateway.entry import Pass
from fleetctl.gateway.http1_heads import RequestHead
from fleetctl.gateway.scheduler.ticket import Ticket
from fleetctl.gateway.tracing import forwarded
from fleetctl.gateway.usage import NO_USAGE
from fleetctl.model.names import ServiceName

if TYPE_CHECKING:
    from fleetctl.gateway.downstream import ClientConnection
    from fleetctl.gateway.lines import ServiceLine
    from fleetctl.gateway.upstream import UpstreamConnection


class Exchange(Ticket):
    """A Ticket that knows its client and its bytes. They are kept until the answer begins, for a second attempt."""

    __slots__ = (
        "asked", "begun", "body", "client", "close", "first_s", "gone", "head", "line", "pass_", "request_id",
        "seated_s", "status", "trace_id", "upstream", "usage",
    )  # fmt: skip

    def __init__(
        self,
        service: ServiceName,
        client: "ClientConnection",
        line: "ServiceLine",
        asked: RequestHead,
        pass_: Pass,
        body: bytes,
        ids: bytes,
    ) -> None:
        Ticket.__init__(self, service)  # a third of the cost of super()
        self.client = client
        self.line = line
        self.asked = asked
        self.pass_ = pass_
        self.body = body
        self.close = not asked.keep_alive
        self.upstream: UpstreamConnection | None = None
        self.head = b""
        self.request_id = self.trace_id = ids[:32]
        self.tenant = pass_.tenant
        self.band = pass_.band
        self.seated_s = 0.0
        """When it was given its slot; 0: not yet."""
        self.first_s = 0.0
        """When the first byte of the answer's body came; 0: not yet."""
        self.status = 0
        """Of the answer that the client sees; 0: none yet."""
        self.usage = NO_USAGE
        self.gone = False
        """Its client has left."""
        self.begun = False
        """A replica had it and broke off without a word: it may have begun it, so it is sent once more at most."""

    def write_head(self, target: bytes, ids: bytes, *, credentials: bool) -> None:
        """Make the head for the replica. `credentials`: the client's are meant for the replica, not for us."""
        asked = self.asked
        body = self.body
        if target is asked.target and not (credentials and asked.credentials) and asked.usual:
            trace = self.trace_id
            self.head = b"%b%d%b%b-%b-00\r\nx-request-id: %b\r\n\r\n" % (
                asked.start, len(body), asked.finish, trace, ids[32:], trace,
            )  # fmt: skip
            return
        secrets = asked.credentials if credentials else b""
        if asked.traceparent or asked.request_id:
            names, self.request_id, self.trace_id = forwarded(ids, asked.traceparent, asked.request_id)
        else:
            trace = ids[:32]
            names = b"traceparent: 00-%b-%b-00\r\nx-request-id: %b\r\n" % (trace, ids[32:], trace)
        if asked.after:
            self.head = b"%b %b HTTP/1.1\r\n%b%d%b%b%b\r\n" % (
                asked.method, target, asked.before, len(body), asked.after, secrets, names,
            )  # fmt: skip
        else:
            framing = b"Content-Length: %d\r\n" % len(body) if asked.chunked else b""
            self.head = b"%b %b HTTP/1.1\r\n%b%b%b%b\r\n" % (
                asked.method, target, asked.before, framing, secrets, names,
            )  # fmt: skip
