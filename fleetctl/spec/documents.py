"""The documents a user writes, field by field: what each means and what it may be.

Only what is written is set; every default is the model's own. The descriptions here are the ones that the JSON Schema,
and with it the user's editor, shows. Each kind has a module of its own; the fleet's stands here, with the list of all.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from fleetctl.spec.daemon_documents import DaemonDoc
from fleetctl.spec.document import Document
from fleetctl.spec.entry_documents import GatewayDoc, TenantFileDoc
from fleetctl.spec.fields import LIST_MAX, Mirrors, Name, PositiveDuration, PositivePrice, Setting, Store
from fleetctl.spec.pool_documents import PoolDoc
from fleetctl.spec.service_documents import ServiceDoc


class FleetDoc(Document):
    """What holds for the whole fleet; at most one document."""

    kind: Literal["fleet"] = Field(description="What this document declares.")
    name: Name | None = Field(default=None, description="The fleet's name; machines are tagged with it.")
    gateway: GatewayDoc | None = Field(default=None, description="Where requests come in, and whose.")
    daemon: DaemonDoc | None = Field(default=None, description="The controller's own process.")
    period: PositiveDuration | None = Field(default=None, description="How often the controller looks and decides.")
    store: Store | None = Field(
        default=None,
        description="Where the fleet's memory is kept: a file beside this one, or postgresql://user@host/database "
        "without a password. Not written: fleet.db in fleetctl's home.",
    )
    max_cost_per_hour: PositivePrice | None = Field(
        default=None, description="US dollars per hour that the whole fleet may cost; nothing is launched above it."
    )
    registry_mirrors: Mirrors | None = Field(
        default=None,
        description="Mirrors of docker.io that the Docker of rented machines asks first, as http(s)://host:port.",
    )
    providers: Annotated[dict[Name, dict[Setting, Any]], Field(max_length=LIST_MAX)] | None = Field(
        default=None,
        description="Clouds to rent from, each with its own settings, such as aws: {regions: [us-east-1]}. "
        "Credentials never belong here: each cloud's own tools find them. `local` needs no mention.",
    )


DOCUMENTS: dict[str, type[Document]] = {
    "service": ServiceDoc,
    "pool": PoolDoc,
    "fleet": FleetDoc,
    "tenant": TenantFileDoc,
}
"""By `kind`."""
