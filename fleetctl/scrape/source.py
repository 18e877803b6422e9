"""Expositions in, Readings out: many engines at once, each on its own clock, none able to hold up the others."""

import asyncio
import math
import resource
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fleetctl.engines import engine
from fleetctl.engines.engine import Load, Metric
from fleetctl.errors import UsageError
from fleetctl.model.names import ReplicaId
from fleetctl.model.signals import Reading, Target, Unknown
from fleetctl.ports import Clock
from fleetctl.scrape.exposition import read_load
from fleetctl.scrape.gpus import read_gpus
from fleetctl.scrape.histograms import with_latencies

if TYPE_CHECKING:
    import aiohttp

LANES = 128
"""Scrapes under way at once: as many engines may hang before the others wait, and few enough for the sockets of a
process that may open 1,024."""

TARGET_TIMEOUT_S = 2.0
"""For one engine, connecting included. vLLM renders its 50 kB in milliseconds; one that takes longer is in trouble."""

SWEEP_TIMEOUT_S = 10.0
"""For one call of `read`; who was not reached by then is Unknown. Four rounds of hanging engines fit in."""

BODY_LIMIT_BYTES = 4 * 1024 * 1024
"""Eighty times vLLM's exposition. A larger one is not an engine's."""

KEEP_ALIVE_SHARE = 0.5
"""Of the files this process may open, how many may be connections kept between two reads; the others need the rest.
Engines beyond it are dialled anew each time, which costs about twice the CPU."""

KEEP_ALIVE_S = 75.0
"""Longer than the time between two ticks. An engine that closes earlier (uvicorn after 5 s) is simply dialled again."""

_BUFFER_BYTES = 256 * 1024
"""Read ahead of one body, so that vLLM's arrives in one piece."""

_HEADERS = {"Accept": "text/plain;version=0.0.4", "Accept-Encoding": "identity"}
_HEADERS_ONCE = {**_HEADERS, "Connection": "close"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sweep:
    """One call of `read`, shared by its lanes."""

    queue: Iterator[tuple[int, Target]]
    """With its place among the targets as they were given."""
    deadline: float
    """On the event loop's clock."""
    results: dict[ReplicaId, Reading | Unknown]
    failed: set[ReplicaId]
    """Those that were tried in vain; who was not reached is not one of them, and comes first next time."""


class HttpSignals:
    """A `ports.SignalSource` over HTTP. Needs a running event loop from the first `read` on; `close` it."""

    def __init__(
        self,
        clock: Clock,
        *,
        timeout_s: float = TARGET_TIMEOUT_S,
        sweep_timeout_s: float = SWEEP_TIMEOUT_S,
        body_limit_bytes: int = BODY_LIMIT_BYTES,
    ) -> None:
        self._clock = clock
        self._timeout_s = timeout_s
        self._sweep_timeout_s = sweep_timeout_s
        self._body_limit_bytes = body_limit_bytes
        self._session: aiohttp.ClientSession | None = None
        self._failed: frozenset[ReplicaId] = frozenset()
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._kept_max = math.inf if files == resource.RLIM_INFINITY else files * KEEP_ALIVE_SHARE

    async def read(self, targets: Sequence[Target]) -> Mapping[ReplicaId, Reading | Unknown]:
        """The load of each target. A target that fails in any way is Unknown and says why."""
        session = self._opened()
        # Those that failed last time go last, so that engines that hang cost the others nothing.
        order = sorted(enumerate(targets), key=lambda numbered: numbered[1].replica in self._failed)
        sweep = _Sweep(
            queue=iter(order),
            deadline=asyncio.get_running_loop().time() + self._sweep_timeout_s,
            results={},
            failed=set(),
        )
        async with asyncio.TaskGroup() as lanes:
            for _ in range(min(LANES, len(order))):
                lanes.create_task(self._lane(session, sweep))
        self._failed = frozenset(sweep.failed)
        return sweep.results

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
            await asyncio.sleep(0)  # transports close on the loop's next turn

    def _opened(self) -> "aiohttp.ClientSession":
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                # Bounded by LANES, not here.
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(),
                read_bufsize=_BUFFER_BYTES,
                auto_decompress=False,
            )
        return self._session

    async def _lane(self, session: "aiohttp.ClientSession", sweep: "_Sweep") -> None:
        time = asyncio.get_running_loop().time
        for place, target in sweep.queue:
            left_s = sweep.deadline - time()
            if left_s <= 0:
                reason = f"not reached within {self._sweep_timeout_s:g} s"
                sweep.results[target.replica] = Unknown(reason=reason, since=self._clock.now())
                continue
            load = await self._one(session, target, min(self._timeout_s, left_s), keep=place < self._kept_max)
            if isinstance(load, str):
                sweep.failed.add(target.replica)
                sweep.results[target.replica] = Unknown(reason=load, since=self._clock.now())
            else:
                sweep.results[target.replica] = load

    async def _one(
        self, session: "aiohttp.ClientSession", target: Target, timeout_s: float, *, keep: bool
    ) -> Reading | str:
        """What it says, or why that is unknown."""
        try:
            loads, path = _loads(target)
        except UsageError as error:
            return error.message
        body = await self._get(session, target.address, path, timeout_s, keep=keep)
        if isinstance(body, str):
            return body
        now = self._clock.now()
        reading = read_load(body, loads, now=now)
        if isinstance(reading, str) or not (target.latencies or target.gpus is not None):
            return reading
        if target.latencies:
            reading = with_latencies(reading, body, loads, now=now)
        if target.gpus is None:
            return reading
        shown: bytes | str = body
        if target.gpu_metrics_port is not None:
            exporter = f"{target.address.rpartition(':')[0]}:{target.gpu_metrics_port}"
            shown = await self._get(session, exporter, "/metrics", timeout_s, keep=keep)
        # An exporter that does not answer leaves that unknown, and nothing else.
        share = None if isinstance(shown, str) else read_gpus(shown, target.gpus, now=now)
        return replace(reading, gpu_utilization=share)

    async def _get(
        self, session: "aiohttp.ClientSession", address: str, path: str, timeout_s: float, *, keep: bool
    ) -> bytes | str:
        """The exposition at the address, or why there is none."""
        import aiohttp

        try:
            async with (
                asyncio.timeout(timeout_s),
                session.get(
                    f"http://{address}{path}",
                    headers=_HEADERS if keep else _HEADERS_ONCE,
                    allow_redirects=False,
                ) as response,
            ):
                if response.status != 200:
                    return f"HTTP {response.status} from {address}{path}"
                encoding = response.headers.get("Content-Encoding", "identity")
                if encoding != "identity":
                    return f"malformed: {address}{path} is encoded as {encoding}"
                body = await self._body(response)
        except TimeoutError:
            return f"no answer from {address} within {timeout_s:g} s"
        except aiohttp.ClientPayloadError:
            return f"partial: {address} broke off its answer"
        except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: an address that is none
            return f"cannot read {address}: {str(error) or type(error).__name__}"
        if body is None:
            return f"malformed: {address}{path} has more than {self._body_limit_bytes} bytes"
        return body

    async def _body(self, response: "aiohttp.ClientResponse") -> bytes | None:
        """The whole body; None: it is larger than the bound, and was not read on."""
        if (response.content_length or 0) > self._body_limit_bytes:
            response.close()
            return None
        pieces: list[bytes] = []
        size_bytes = 0
        while piece := await response.content.readany():
            pieces.append(piece)
            size_bytes += len(piece)
            if size_bytes > self._body_limit_bytes:
                response.close()
                return None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _loads(target: Target) -> tuple[Sequence[Load], str]:
    """The gauges to read and the path they are at. Raises UsageError for an engine that nobody knows."""
    known = engine(target.engine)
    if target.metrics is not None:
        waiting = target.metrics.waiting
        own = Load(
            running=Metric(name=target.metrics.running), waiting=None if waiting is None else Metric(name=waiting)
        )
        return (own,), known.metrics_path
    if not known.loads:
        raise UsageError(
            f"engine {known.name} has no metric names of its own", hint="set `metrics` in the service's file"
        )
    return known.loads, known.metrics_path
