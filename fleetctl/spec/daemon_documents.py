"""What `kind: fleet` says of the controller's own process."""

from pydantic import Field

from fleetctl.spec.document import Document
from fleetctl.spec.fields import Listen


class DaemonDoc(Document):
    """The controller's own process."""

    metrics_listen: Listen | None = Field(
        default=None,
        description="host:port of the controller's own /metrics and /healthz, best on 127.0.0.1; left out: they are on "
        "a Unix socket in fleetctl's home alone.",
    )
