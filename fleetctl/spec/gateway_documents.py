"""The document of a gateway that runs alone, field by field: who serves, who may enter, where it listens."""

from typing import Annotated, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from fleetctl.spec.document import Document
from fleetctl.spec.fields import (
    CONCURRENCY_MAX,
    LIST_MAX,
    EnvName,
    Listen,
    Name,
    Path,
    PositiveDuration,
    Share,
    Text,
    Word,
    reading,
    text_schema,
)
from fleetctl.spec.gateway_words import (
    EXPIRES_PATTERN,
    HOST_PATTERN,
    SHA256_PATTERN,
    SIZE_PATTERN,
    URL_PATTERN,
    host,
    moment,
    replica_address,
    sha256,
    size,
)

SERVICES_MAX = 256
REPLICAS_MAX = 1024
"""Of one Service; the scheduler is measured with 256."""
TENANTS_MAX = 10_000
KEYS_MAX = 10_000
"""Each is a line or two: more do not fit into a file that is read whole."""
WORKERS_MAX = 64
"""The one scheduler is full with four; the rest is room to be wrong in."""
QUEUE_MAX = 1_000_000
"""Requests: at a kilobyte each more than a file's worth of memory."""
WEIGHT_MAX = 1000.0
CONNECTIONS_MAX = 1_000_000

Url = Annotated[str, PlainValidator(reading(replica_address)), WithJsonSchema(text_schema(URL_PATTERN))]
Sha256 = Annotated[str, PlainValidator(reading(sha256)), WithJsonSchema(text_schema(SHA256_PATTERN))]
Host = Annotated[str, PlainValidator(reading(host)), WithJsonSchema(text_schema(HOST_PATTERN))]
Size = Annotated[int, PlainValidator(reading(size)), WithJsonSchema(text_schema(SIZE_PATTERN))]
Moment = Annotated[float, PlainValidator(reading(moment)), WithJsonSchema(text_schema(EXPIRES_PATTERN))]
Priority = Literal["high", "normal", "low"]
Words = Annotated[list[Word], Field(max_length=LIST_MAX)]
Names = Annotated[list[Name], Field(max_length=SERVICES_MAX)]
Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class TlsDoc(Document):
    """The certificate that clients see."""

    certificate: Text = Field(description="PEM file: the server's certificate, then those above it.")
    key: Text | None = Field(default=None, description="PEM file of its key; left out: it is in the same file.")


class AccessLogDoc(Document):
    """A line of JSON per request; never a prompt, never a key."""

    file: Text = Field(description="The file, beside this one if relative.")
    sample: Share | None = Field(
        default=None, description="Share of the answered requests in it; refusals and failures always are."
    )


class QueueDoc(Document):
    """How requests wait while every slot is taken."""

    timeout: PositiveDuration | None = Field(
        default=None, description="The longest that a request waits; what would wait longer is refused at once."
    )
    limit: Annotated[int, Field(ge=0, le=QUEUE_MAX)] | None = Field(
        default=None, description="Requests that may wait at once; 0: none waits."
    )
    memory: Size | None = Field(default=None, description="What their bodies may take together, such as 256MB.")
    shed: bool | None = Field(
        default=None, description="false: refuse only when the time is over, not when it is known that it will not do."
    )


class ReplicaDoc(Document):
    """One engine."""

    url: Url = Field(description="http://host:port of the engine; paths are the client's.")
    slots: Annotated[int, Field(ge=0, le=CONCURRENCY_MAX)] = Field(
        description="Requests it serves at once: the engine's batch limit. 0: no new ones, those that run end."
    )
    adapters: Words | None = Field(default=None, description="LoRA adapters that it has loaded already.")


class RoutedDoc(Document):
    """One model, and the engines that serve it."""

    name: Name = Field(description="What it is called in metrics, and by clients in `model` or as /NAME/v1/….")
    models: Words | None = Field(
        default=None,
        description="Values of `model` that mean this service; left out: what its replicas list at /v1/models.",
    )
    adapters: Words | None = Field(default=None, description="LoRA adapters that may be asked of it by name.")
    hosts: Annotated[list[Host], Field(max_length=LIST_MAX)] | None = Field(
        default=None, description="Values of the Host header that mean this service; *.example.org for all below it."
    )
    queue: QueueDoc | None = Field(default=None, description="How requests wait while every slot is taken.")
    probe: Path | None = Field(
        default=None, description="Asked of a replica that failed before it gets requests again, such as /health."
    )
    replicas: Annotated[list[ReplicaDoc], Field(min_length=1, max_length=REPLICAS_MAX)] = Field(
        description="The engines that serve it."
    )


class LimitsDoc(Document):
    """What one tenant may take; what is left out has no limit."""

    in_flight: Annotated[int, Field(ge=1)] | None = Field(default=None, description="Requests that wait or run.")
    requests_per_minute: Amount | None = Field(default=None, description="Requests that may begin in a minute.")
    tokens_per_minute: Amount | None = Field(default=None, description="Tokens of prompt and answer in a minute.")
    tokens_per_month: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Tokens by the calendar month, UTC; counted since the gateway started."
    )


class TenantDoc(Document):
    """Who asks: a share, a priority and limits."""

    name: Name = Field(description="The tenant's name; it is shown in metrics.")
    weight: Annotated[float, Field(gt=0, le=WEIGHT_MAX, allow_inf_nan=False)] | None = Field(
        default=None, description="Its share while slots are scarce, relative to the others'."
    )
    priority: Priority | None = Field(default=None, description="high goes before normal, normal before low.")
    services: Names | None = Field(default=None, description="The services it may use; left out: all.")
    limits: LimitsDoc | None = Field(default=None, description="What it may take.")


class KeyDoc(Document):
    """One API key, by its hash. One of sha256, env and file says it."""

    name: Name = Field(description="What the key is called in logs; never the key itself.")
    tenant: Name | None = Field(default=None, description="Whose it is; left out: a tenant of the key's own name.")
    sha256: Sha256 | None = Field(default=None, description="The key's hash: fleetctl gateway --hash-key < FILE.")
    env: EnvName | None = Field(default=None, description="The environment variable that holds the key.")
    file: Text | None = Field(default=None, description="The file that holds the key; beside this file if relative.")
    priority: Priority | None = Field(default=None, description="Later than its tenant's, never earlier.")
    services: Names | None = Field(default=None, description="Fewer than its tenant's.")
    expires: Moment | None = Field(
        default=None, description="When it is refused from: a date (its first moment, UTC), or a moment."
    )


class GatewayFileDoc(Document):
    """A gateway alone, without a fleet."""

    kind: Literal["gateway"] = Field(description="What this document declares.")
    listen: Listen | None = Field(default=None, description="host:port; 0.0.0.0:8080 lets other machines in.")
    auth: Literal["keys", "none"] | None = Field(
        default=None, description="keys: who has one of them may enter; none: everybody may."
    )
    keys: Annotated[list[KeyDoc], Field(max_length=KEYS_MAX)] | None = Field(
        default=None, description="The API keys that are let in."
    )
    tenants: Annotated[list[TenantDoc], Field(max_length=TENANTS_MAX)] | None = Field(
        default=None, description="Who asks, with their shares and limits."
    )
    services: Annotated[list[RoutedDoc], Field(min_length=1, max_length=SERVICES_MAX)] = Field(
        description="The models, and the engines that serve them."
    )
    tls: TlsDoc | None = Field(default=None, description="The certificate that clients see; left out: plain HTTP.")
    workers: Annotated[int, Field(ge=1, le=WORKERS_MAX)] | None = Field(
        default=None, description="Processes that carry requests; one core each."
    )
    connections: Annotated[int, Field(ge=1, le=CONNECTIONS_MAX)] | None = Field(
        default=None, description="Clients at once; left out: as many as there may be open files for."
    )
    access_log: AccessLogDoc | None = Field(
        default=None, description="A line per request, to a file, or to stdout as file: -; left out: none."
    )
    metrics_listen: Listen | None = Field(
        default=None, description="host:port that serves /metrics and /healthz alone; left out: no port does."
    )
