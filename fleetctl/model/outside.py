"""Signals from outside that a Service may name besides its policy: where a number is found and what is aimed at."""

import re
from typing import Literal

from fleetctl.model.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """Where a secret is, never the secret itself: the name of a variable, or the path of a file."""

    env: str | None = None
    file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How a source over HTTP is told who asks: a bearer token, or a user and a password. Neither: it is not told."""

    token: Secret | None = None
    user: str | None = None
    password: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusSource:
    """One instant query; its answer has to be one number."""

    url: str
    """Of the server, without `/api/v1/query`."""
    query: str
    access: Access = Access()


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSource:
    """A number in a JSON document."""

    url: str
    path: str = ""
    """`$.queue.length`, or a JSON pointer such as `/queue/length`; empty: the document is the number."""
    access: Access = Access()


@dataclass(frozen=True, slots=True, kw_only=True)
class SqsSource:
    """Messages of an Amazon SQS queue."""

    queue_url: str
    region: str
    in_flight: bool = True
    """Count those that are being worked on, too."""
    endpoint: str | None = None
    """Instead of Amazon's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureQueueSource:
    """Messages of an Azure Storage queue."""

    account: str
    queue: str
    endpoint: str | None = None
    """Instead of `https://ACCOUNT.queue.core.windows.net`."""
    token: Secret | None = None
    """A bearer token; None: Azure's own tools find the credentials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PubSubSource:
    """Undelivered messages of a Google Pub/Sub subscription, as Cloud Monitoring counts them."""

    project: str
    subscription: str
    endpoint: str | None = None
    """Instead of `https://monitoring.googleapis.com`."""
    token: Secret | None = None
    """A bearer token; None: Google's own tools find the credentials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One more opinion of how many Replicas are wanted. Exactly one of the sources is set."""

    name: str
    """The stage that it is in Decisions."""
    target: float | None = None
    """What one Replica is to carry of it; with `per: service`, the value that the Service is kept at."""
    per: Literal["replica", "service"] = "replica"
    """As KEDA's AverageValue (`replica`) and Value (`service`)."""
    interval_s: float = 15.0
    timeout_s: float = 5.0
    max_age_s: float = 60.0
    """A value read longer ago says nothing of now."""
    policy: str | None = None
    """A further rule of `decide/policies`, over the fleet's own signals."""
    prometheus: PrometheusSource | None = None
    http: HttpSource | None = None
    command: tuple[str, ...] = ()
    """It prints the number."""
    sqs: SqsSource | None = None
    azure_queue: AzureQueueSource | None = None
    pubsub: PubSubSource | None = None


# As text: compiled when a path is read, and not when a fleet is looked at.
_STEP = r"\.([A-Za-z_][A-Za-z0-9_-]*)|\[(\d{1,9})\]|\['([^']*)'\]|\[\"([^\"]*)\"\]"


def path_steps(path: str) -> tuple[str | int, ...]:
    """The names and places that lead to a value: of `$.queue.items[0]`, or of a JSON pointer (RFC 6901).

    Of a pointer all are texts; a number among them is a place where it meets a list. Raises `ValueError`.
    """
    if path in ("", "$"):
        return ()
    if path.startswith("/"):
        return tuple(part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/"))
    if not path.startswith("$"):
        raise ValueError("a path begins with $ or /")
    steps: list[str | int] = []
    place = 1
    while place < len(path):
        found = re.compile(_STEP).match(path, place)
        if found is None:
            raise ValueError(f"nothing that can be read at {path[place:]!r}")
        name, index, single, double = found.groups()
        steps.append(int(index) if index is not None else next(t for t in (name, single, double) if t is not None))
        place = found.end()
    return tuple(steps)
