"""What the gateway answers by itself: its health, and the list of models."""

from urllib.parse import unquote

from fleetctl.gateway.downstream import ClientConnection
from fleetctl.gateway.entry import Pass
from fleetctl.gateway.http1_heads import RequestHead
from fleetctl.gateway.replies import encode_json, model_entry, model_list
from fleetctl.gateway.routing import Table

_HEALTH = b"/healthz"
_MODELS = b"/v1/models"


class OwnAnswers:
    """Each method answers if the request is its own, and says whether it was."""

    __slots__ = ()

    def health(self, client: ClientConnection, asked: RequestHead) -> bool:
        """Open to everybody: a load balancer in front has no key, and it tells nothing."""
        if asked.target != _HEALTH or asked.method not in (b"GET", b"HEAD"):
            return False
        self._reply(client, asked, {"status": "ok"})
        return True

    def models(self, client: ClientConnection, asked: RequestHead, table: Table, pass_: Pass) -> bool:
        """What this key may use; a model that it may not use is not there for it."""
        target = asked.target.partition(b"?")[0]
        if not target.startswith(_MODELS):
            return False
        if target == _MODELS:
            self._reply(client, asked, model_list(table.names_for(pass_)))
            return True
        if target[len(_MODELS) : len(_MODELS) + 1] != b"/":
            return False
        name = unquote(target[len(_MODELS) + 1 :].decode())  # clients quote the slash in a name
        service = table.find(name)
        if service is None or not pass_.may_use(service):
            return False
        self._reply(client, asked, model_entry(name, service))
        return True

    def _reply(self, client: ClientConnection, asked: RequestHead, document: object) -> None:
        close = not asked.keep_alive
        client.reply(encode_json(document, close=close, head_only=asked.method == b"HEAD"), close=close)
