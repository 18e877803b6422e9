"""Signals from outside as a user writes them: where a number is found, and what is aimed at."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from fleetctl.spec.document import Document
from fleetctl.spec.fields import (
    LIST_MAX,
    EnvName,
    Only,
    PositiveDuration,
    Text,
    Word,
    Words,
    problem,
    reading,
    text_schema,
)
from fleetctl.spec.signal_words import json_path, signal_name, signal_policies, signal_policy, url

Url = Annotated[str, PlainValidator(reading(url)), WithJsonSchema(text_schema(r"^https?://[^\s@]+$"))]
"""Of HTTP, without credentials."""
JsonPath = Annotated[str, PlainValidator(reading(json_path)), WithJsonSchema(text_schema(r"^[$/]"))]
SignalName = Annotated[str, PlainValidator(reading(signal_name)), WithJsonSchema(text_schema())]
SignalPolicy = Annotated[str, PlainValidator(reading(signal_policy)), Only(lambda: {"enum": list(signal_policies())})]
PositiveAmount = Annotated[float, Field(gt=0, le=1e15, allow_inf_nan=False)]


class SecretDoc(Document):
    """Where a secret is found; the secret itself never stands in a file of the fleet."""

    env: EnvName | None = Field(
        default=None, description="Name of the controller's environment variable that holds it."
    )
    file: Word | None = Field(default=None, description="Path of a file that holds it, read anew each time.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise problem("needs one of env and file", "write {env: NAME}, or {file: /path}")
        return self


def _named(value: object) -> object:
    if isinstance(value, str):
        raise problem("a secret must not stand here", "write {env: NAME} or {file: /path}, and put it there")
    return value


Secret = Annotated[SecretDoc, BeforeValidator(_named)]


class _AccessDoc(Document):
    """How the source is told who asks."""

    token: Secret | None = Field(default=None, description="Bearer token: {env: NAME} or {file: /path}.")
    user: Word | None = Field(default=None, description="User name of HTTP basic authentication.")
    password: Secret | None = Field(default=None, description="Its password: {env: NAME} or {file: /path}.")

    @model_validator(mode="after")
    def _access(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise problem("user and password go together", "write both, or token")
        if self.token is not None and self.user is not None:
            raise problem("token and user cannot both be given", "keep one of the two")
        return self


class PrometheusDoc(_AccessDoc):
    """An instant query to Prometheus, or to what speaks like it."""

    url: Url = Field(description="The server, such as http://prometheus:9090.")
    query: Annotated[Text, Field(min_length=1)] = Field(description="PromQL whose answer is one number.")


class HttpDoc(_AccessDoc):
    """A number in a JSON document."""

    url: Url = Field(description="Where the document is.")
    path: JsonPath | None = Field(
        default=None,
        description="$.queue.length, or a JSON pointer such as /queue/length. Not written: it is the number itself.",
    )


class SqsDoc(Document):
    """Messages of an Amazon SQS queue; needs the extra `aws`. Credentials are found as Amazon's own tools do."""

    queue_url: Url = Field(description="Address of the queue.")
    region: Word = Field(description="Its region, such as eu-central-1.")
    in_flight: bool | None = Field(default=None, description="Count messages that are being worked on, too.")
    endpoint: Url | None = Field(default=None, description="Another server than Amazon's.")


class AzureQueueDoc(Document):
    """Messages of an Azure Storage queue; needs the extra `azure`, or a token."""

    account: Word = Field(description="The storage account.")
    queue: Word = Field(description="The queue's name.")
    endpoint: Url | None = Field(default=None, description="Another server than the account's own.")
    token: Secret | None = Field(default=None, description="Bearer token: {env: NAME} or {file: /path}.")


class PubSubDoc(Document):
    """Undelivered messages of a Google Pub/Sub subscription, as Cloud Monitoring counts them, minutes late; needs the
    extra `gcp`, or a token."""

    subscription: Word = Field(description="Its name, or projects/PROJECT/subscriptions/NAME.")
    project: Word | None = Field(default=None, description="The project, where the subscription does not say it.")
    endpoint: Url | None = Field(default=None, description="Another server than Cloud Monitoring's.")
    token: Secret | None = Field(default=None, description="Bearer token: {env: NAME} or {file: /path}.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        parts = self.subscription.split("/")
        whole = len(parts) == 4 and (parts[0], parts[2]) == ("projects", "subscriptions") and all(parts)
        if "/" in self.subscription and not whole:
            raise problem("subscription is no path of a subscription", "write projects/PROJECT/subscriptions/NAME")
        if whole == (self.project is not None):
            raise problem(
                "names no project" if not whole else "names its project twice",
                "write project: NAME" if not whole else "remove project",
            )
        return self


SOURCES = ("prometheus", "http", "command", "sqs", "azure_queue", "pubsub", "policy")


class SignalDoc(Document):
    """One more signal: replicas are added if any wants them, and removed only when all agree."""

    name: SignalName | None = Field(
        default=None, description="What it is called in decisions. Not written: the kind of source."
    )
    target: PositiveAmount | None = Field(
        default=None, description="What one replica is to carry of it; with `per: service`, the value to keep."
    )
    per: Literal["replica", "service"] | None = Field(
        default=None,
        description="replica: replicas = value ÷ target (KEDA's AverageValue). service: replicas × value ÷ target, "
        "for what does not add up, such as a latency (KEDA's Value).",
    )
    interval: PositiveDuration | None = Field(default=None, description="How often it is read.")
    timeout: PositiveDuration | None = Field(default=None, description="A reading that takes longer has failed.")
    max_age: PositiveDuration | None = Field(
        default=None, description="A value measured longer ago is unknown; 10m for pubsub, which is always late."
    )
    prometheus: PrometheusDoc | None = Field(default=None, description="A PromQL query.")
    http: HttpDoc | None = Field(default=None, description="A number in a JSON document.")
    command: Annotated[Words, Field(min_length=1, max_length=LIST_MAX)] | None = Field(
        default=None, description="A command of the controller's machine that prints a number; no shell is used."
    )
    sqs: SqsDoc | None = Field(default=None, description="Messages of an Amazon SQS queue.")
    azure_queue: AzureQueueDoc | None = Field(default=None, description="Messages of an Azure Storage queue.")
    pubsub: PubSubDoc | None = Field(default=None, description="Messages of a Google Pub/Sub subscription.")
    policy: SignalPolicy | None = Field(
        default=None,
        description="A further rule of fleetctl's own, its parameters in `scaling`; gpu_utilization only confirms.",
    )

    @property
    def source(self) -> str:
        return next(name for name in SOURCES if getattr(self, name) is not None)

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            what = f"has {' and '.join(given)}" if given else "has no source"
            raise problem(f"{what}; a signal has one", f"write one of: {', '.join(SOURCES)}")
        if given == ["policy"]:
            for name in ("target", "per", "interval", "timeout", "max_age"):
                if getattr(self, name) is not None:
                    raise problem(
                        f"{name} is of signals from outside", f"remove {name}: a policy's own stand in scaling"
                    )
        elif self.target is None:
            raise problem("has no target", "add target: 30, what one replica is to carry")
        if self.timeout is not None and self.max_age is not None and self.max_age <= self.timeout:
            raise problem("max_age is not longer than timeout", "write a longer max_age")
        return self
