"""One request on its way: what was asked, by which client, and how far it is."""

from typing import TYPE_CHECKING

from fleetctl.gateway.queue import Ticket

if TYPE_CHECKING:
    from fleetctl.gateway.downstream import ClientConnection
    from fleetctl.gateway.http1_heads import RequestHead
    from fleetctl.gateway.lines import ServiceLine
    from fleetctl.gateway.upstream import UpstreamConnection


class Exchange(Ticket):
    """A Ticket that knows its client and its bytes. They are kept until the answer begins, for a second attempt."""

    __slots__ = ("body", "client", "close", "head", "head_only", "http10", "line", "refreshed", "upstream")

    def __init__(
        self, client: "ClientConnection", line: "ServiceLine", asked: "RequestHead", target: bytes, body: bytes
    ):
        super().__init__()
        self.client = client
        self.line = line
        framing = b"Content-Length: %d\r\n\r\n" % len(body) if asked.chunked else b"\r\n"
        self.head = b"%b %b HTTP/1.1\r\n%b%b" % (asked.method, target, asked.lines, framing)
        self.body = body
        self.head_only = asked.method == b"HEAD"
        self.http10 = asked.http10
        self.close = not asked.keep_alive
        self.upstream: UpstreamConnection | None = None
        self.refreshed = False
        """It was sent again because a kept-alive connection had gone stale; once per attempt at a replica."""
