"""Sources over HTTP: Prometheus, JSON documents, Azure's queue service and Google's Cloud Monitoring."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fleetctl.model.outside import AzureQueueSource, HttpSource, PrometheusSource, PubSubSource, path_steps
from fleetctl.scrape.outside.numbers import at, document, number
from fleetctl.scrape.outside.secrets import authorization, secret
from fleetctl.scrape.outside.tokens import Tokens
from fleetctl.scrape.outside.unread import Unread, shown

if TYPE_CHECKING:
    import aiohttp

BODY_BYTES_MAX = 1024 * 1024
"""An answer with one number in it has some hundred bytes; a page of a status document some thousands."""
AZURE_VERSION = "2021-12-02"
"""Of the queue service's API; tokens of Azure AD need 2017-11-09 or later."""
MONITORING_WINDOW_S = 600.0
"""How far back the newest point is looked for: it is up to five minutes old when it is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A value and when it was measured, in unix seconds; None: now."""

    value: float
    at: float | None = None


class HttpSources:
    """One session for all of them. Every method raises `Unread` and may be cancelled."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._session: aiohttp.ClientSession | None = None

    async def prometheus(self, source: PrometheusSource) -> Measured:
        answer = await self._get(
            f"{source.url.rstrip('/')}/api/v1/query",
            params={"query": source.query},
            headers=authorization(source.access),
        )
        data = at(document(answer.body), ("data",))
        kind, result = at(data, ("resultType",)), at(data, ("result",))
        if kind == "scalar":
            return Measured(value=number(at(result, (1,)), "the query's answer"))
        if kind != "vector" or not isinstance(result, list):
            raise Unread(f"the query's answer is a {kind}, and not one number")
        if len(result) != 1:
            hint = "; sum() makes one of them" if result else ""
            raise Unread(f"the query's answer has {len(result) or 'no'} series{hint}")
        return Measured(value=number(at(result[0], ("value", 1)), "the query's answer"))

    async def json(self, source: HttpSource) -> Measured:
        answer = await self._get(source.url, headers=authorization(source.access))
        value = at(document(answer.body), path_steps(source.path))
        return Measured(value=number(value, f"what stands at {source.path or 'its top'}"))

    async def azure_queue(self, source: AzureQueueSource) -> Measured:
        """Get Queue Metadata of Azure's REST API, with a token of Azure AD."""
        token = await self._tokens.azure() if source.token is None else secret(source.token)
        base = (source.endpoint or f"https://{source.account}.queue.core.windows.net").rstrip("/")
        answer = await self._get(
            f"{base}/{source.queue}",
            params={"comp": "metadata"},
            headers={
                "Authorization": f"Bearer {token}",
                "x-ms-version": AZURE_VERSION,
                "x-ms-date": datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"),
            },
        )
        name = "x-ms-approximate-messages-count"
        if name not in answer.headers:
            raise Unread(f"the answer has no {name}")
        return Measured(value=number(answer.headers[name], name))

    async def pubsub(self, source: PubSubSource, *, now: float) -> Measured:
        """Cloud Monitoring's `num_undelivered_messages`: Pub/Sub itself does not tell."""
        token = await self._tokens.google() if source.token is None else secret(source.token)
        base = (source.endpoint or "https://monitoring.googleapis.com").rstrip("/")
        answer = await self._get(
            f"{base}/v3/projects/{source.project}/timeSeries",
            params={
                "filter": 'metric.type="pubsub.googleapis.com/subscription/num_undelivered_messages"'
                f' AND resource.labels.subscription_id="{source.subscription}"',
                "interval.startTime": _timestamp(now - MONITORING_WINDOW_S),
                "interval.endTime": _timestamp(now),
                "view": "FULL",
                "pageSize": "1",
            },
            headers={"Authorization": f"Bearer {token}"},
        )
        found = document(answer.body)
        if not isinstance(found, dict) or not found.get("timeSeries"):
            raise Unread(
                f"Cloud Monitoring has no point of {source.subscription} in {MONITORING_WINDOW_S / 60:.0f} min"
            )
        point = at(found, ("timeSeries", 0, "points", 0))
        value = at(point, ("value",))
        amount = value.get("int64Value", value.get("doubleValue")) if isinstance(value, dict) else None
        ended = at(point, ("interval", "endTime"))
        try:
            measured_at = datetime.fromisoformat(str(ended)).timestamp()
        except ValueError:
            raise Unread("the point's time cannot be read") from None
        return Measured(value=number(amount, "the point's value"), at=measured_at)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _get(self, url: str, *, headers: Mapping[str, str], params: Mapping[str, str] | None = None) -> Answer:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                # Every source has its own time limit and none waits for another's connection.
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(),
            )
        try:
            # A redirect would carry the secret elsewhere.
            async with self._session.get(url, params=params, headers=headers, allow_redirects=False) as response:
                body = await response.content.read(BODY_BYTES_MAX + 1)
                while len(body) <= BODY_BYTES_MAX and (more := await response.content.read(BODY_BYTES_MAX)):
                    body += more
                if len(body) > BODY_BYTES_MAX:
                    response.close()
                    raise Unread(f"{shown(url)} answers with more than {BODY_BYTES_MAX} bytes")
                if response.status != 200:
                    raise Unread(f"HTTP {response.status} from {shown(url)}")
                return Answer(body=body, headers=response.headers)
        except aiohttp.ClientConnectorError as error:
            raise Unread(f"cannot connect to {shown(url)}: {error.strerror or type(error).__name__}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unread(f"cannot read {shown(url)}: {type(error).__name__}") from None


def _timestamp(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
