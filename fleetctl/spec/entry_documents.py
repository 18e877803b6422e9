"""What the fleet's files say of who may enter and how requests wait, field by field."""

from typing import Annotated, Literal

from pydantic import Field

from fleetctl.spec.document import Document
from fleetctl.spec.fields import Listen, PositiveDuration
from fleetctl.spec.gateway_documents import WORKERS_MAX, LimitsDoc, QueueDoc, TenantDoc, TlsDoc
from fleetctl.spec.gateway_documents import AccessLogDoc as AccessLogDoc


class ServiceQueueDoc(QueueDoc):
    """How requests wait while every slot is taken, or while there is no replica."""

    cold_timeout: PositiveDuration | None = Field(
        default=None,
        description="The same while there is no replica; longer than the slowest cold start.",
    )


class MonthlyLimitsDoc(LimitsDoc):
    """What one tenant may take; what is left out has no limit."""

    tokens_per_month: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Tokens of prompt and answer by the calendar month, UTC."
    )


class TenantFileDoc(TenantDoc):
    """Who asks: a share, a priority and limits. Keys are made for it with: fleetctl keys create --tenant NAME."""

    kind: Literal["tenant"] = Field(description="What this document declares.")
    limits: MonthlyLimitsDoc | None = Field(default=None, description="What it may take; left out: as much as it asks.")


class GatewayDoc(Document):
    """Where requests come in, and whose."""

    listen: Listen | None = Field(
        default=None, description="host:port to listen at; 0.0.0.0:8080 lets other machines in."
    )
    auth: Literal["keys", "none"] | None = Field(
        default=None,
        description="keys: who has a key (fleetctl keys create) may enter; none: everybody who reaches the gateway.",
    )
    workers: Annotated[int, Field(ge=1, le=WORKERS_MAX)] | None = Field(
        default=None, description="Processes that carry requests; one core each."
    )
    tls: TlsDoc | None = Field(default=None, description="The certificate that clients see; left out: plain HTTP.")
    access_log: AccessLogDoc | None = Field(default=None, description="A line per request; left out: none.")
    metrics_listen: Listen | None = Field(
        default=None, description="host:port that serves /metrics and /healthz alone; left out: no port does."
    )
