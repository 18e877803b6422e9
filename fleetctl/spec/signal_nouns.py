"""From the documents of signals to the model."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fleetctl.engines.gpu_gauges import EXPORTER_PORT
from fleetctl.model.outside import (
    Access,
    AzureQueueSource,
    HttpSource,
    PrometheusSource,
    PubSubSource,
    Secret,
    Signal,
    SqsSource,
)
from fleetctl.model.services import GpuMetrics
from fleetctl.spec.service_documents import GpuMetricsDoc
from fleetctl.spec.signal_documents import (
    AzureQueueDoc,
    HttpDoc,
    PrometheusDoc,
    PubSubDoc,
    SecretDoc,
    SignalDoc,
    SqsDoc,
)

AGE_IN_INTERVALS = 4.0
"""A value is believed for so many intervals where the file does not say: three readings may fail in a row."""
PUBSUB_AGE_S = 600.0
"""Cloud Monitoring samples the backlog every minute and shows it up to four minutes later."""


def signals(docs: Sequence[SignalDoc]) -> tuple[Signal, ...]:
    """The signals, complete, in the order of the file."""
    return tuple(_signal(doc) for doc in docs)


def gpu_metrics(doc: GpuMetricsDoc | None) -> GpuMetrics | None:
    return None if doc is None else GpuMetrics(port=EXPORTER_PORT if doc.port is None else doc.port)


def _signal(doc: SignalDoc) -> Signal:
    default = Signal(name="")
    interval_s = default.interval_s if doc.interval is None else doc.interval
    timeout_s = default.timeout_s if doc.timeout is None else doc.timeout
    least_s = PUBSUB_AGE_S if doc.pubsub is not None else default.max_age_s
    age_s = max(least_s, AGE_IN_INTERVALS * interval_s, 2 * timeout_s) if doc.max_age is None else doc.max_age
    made = Signal(
        name=doc.name or doc.policy or doc.source,
        target=doc.target,
        interval_s=interval_s,
        timeout_s=timeout_s,
        max_age_s=age_s,
        policy=doc.policy,
        prometheus=_prometheus(doc.prometheus) if doc.prometheus else None,
        http=_http(doc.http) if doc.http else None,
        command=tuple(doc.command or ()),
        sqs=_sqs(doc.sqs) if doc.sqs else None,
        azure_queue=_azure_queue(doc.azure_queue) if doc.azure_queue else None,
        pubsub=_pubsub(doc.pubsub) if doc.pubsub else None,
    )
    return made if doc.per is None else replace(made, per=doc.per)


def _secret(doc: SecretDoc | None) -> Secret | None:
    return None if doc is None else Secret(env=doc.env, file=doc.file)


def _access(doc: PrometheusDoc | HttpDoc) -> Access:
    return Access(token=_secret(doc.token), user=doc.user, password=_secret(doc.password))


def _prometheus(doc: PrometheusDoc) -> PrometheusSource:
    return PrometheusSource(url=doc.url, query=doc.query, access=_access(doc))


def _http(doc: HttpDoc) -> HttpSource:
    return HttpSource(url=doc.url, path=doc.path or "", access=_access(doc))


def _sqs(doc: SqsDoc) -> SqsSource:
    given: dict[str, Any] = {} if doc.in_flight is None else {"in_flight": doc.in_flight}
    return SqsSource(queue_url=doc.queue_url, region=doc.region, endpoint=doc.endpoint, **given)


def _azure_queue(doc: AzureQueueDoc) -> AzureQueueSource:
    return AzureQueueSource(account=doc.account, queue=doc.queue, endpoint=doc.endpoint, token=_secret(doc.token))


def _pubsub(doc: PubSubDoc) -> PubSubSource:
    parts = doc.subscription.split("/")
    return PubSubSource(
        project=doc.project or parts[1],
        subscription=parts[-1],
        endpoint=doc.endpoint,
        token=_secret(doc.token),
    )
