"""Which starts of an engine compile exactly the same, so that one can use what another compiled."""

import fnmatch
import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict

from fleetctl.engines import Engine, command, engine, environment
from fleetctl.model.images import image_name, pinned
from fleetctl.model.nodes import Artifact, CacheFolder, EngineCache, NodeStatus
from fleetctl.model.records import dataclass
from fleetctl.model.services import Service

FORMAT = 1
"""Of a cache's files on a Node; another number makes other names, so that no agent meets a tree that it cannot read."""

ASIDE = ("--host", "--port", "--api-key", "--root-path", "--ssl-keyfile", "--ssl-certfile", "--ssl-ca-certs")
"""Options of every engine that change nothing of what it compiles: where it listens, and who may ask."""

ASIDE_ENV = (
    *("AWS_*", "AZURE_*", "GOOGLE_*", "HF_*", "HUGGING_FACE_HUB_TOKEN", "RUNAI_STREAMER_*"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("DO_NOT_TRACK", "LANG", "LC_*", "OTEL_*", "TZ"),
)
"""Variables likewise: where files come from and with which credentials, how dates and logs are written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheKey:
    """All that compiled code depends on. A start that differs in one of these compiles for itself."""

    built: str
    """The image's digest, which covers the engine, torch, Triton and CUDA's libraries; else engine and version."""
    gpu: str
    gpus: int
    driver: str
    cuda: str
    instructions: str
    """Of the CPU: torch compiles for the one it runs on."""
    model: str
    """With its revision."""
    arguments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """What the Artifact is called."""
        text = json.dumps([FORMAT, asdict(self)], sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


def engine_cache(
    service: Service, status: NodeStatus, gpus: Sequence[int], *, sleepable: bool, pins: Mapping[str, str]
) -> EngineCache | None:
    """The cache of an engine that is started like this on this Node; None: it compiles nothing that we know where to
    find, or something that its code depends on is not known."""
    kind = engine(service.engine)
    folders = _folders(kind, service)
    key = cache_key(service, status, gpus, sleepable=sleepable, pins=pins) if folders else None
    return EngineCache(artifact=Artifact(kind="cache", name=key.name), folders=folders) if key is not None else None


def cache_key(
    service: Service, status: NodeStatus, gpus: Sequence[int], *, sleepable: bool, pins: Mapping[str, str]
) -> CacheKey | None:
    """None: not all of it is known."""
    kind = engine(service.engine)
    built = _built(kind, service, status, pins)
    products = {one.index: one.name for one in status.gpus}
    taken = {products.get(index, "") for index in gpus}
    if not built or len(taken) != 1 or "" in taken or not status.instructions or not _driver_known(status):
        return None
    aside = (*ASIDE, *kind.aside, *((kind.name_argument,) if kind.name_argument is not None else ()))
    return CacheKey(
        built=built,
        gpu=taken.pop(),
        gpus=len(gpus),
        driver=status.driver or "",
        cuda=status.cuda,
        instructions=status.instructions,
        model=service.model,
        arguments=tuple(_without(command(kind, service, sleepable=sleepable), aside)),
        environment=tuple(_matter(environment(kind, service, sleepable=sleepable), (*ASIDE_ENV, *kind.aside_env))),
    )


def _folders(kind: Engine, service: Service) -> tuple[CacheFolder, ...]:
    """Those that can be ours: not what the Service moves elsewhere, nor, without an image, what nothing moves."""
    moved = {name for name, _ in service.env}
    return tuple(
        CacheFolder(path=cache.path, env=cache.env)
        for cache in kind.caches
        if cache.holds == "compiled" and cache.env not in moved and (cache.env is not None or service.image is not None)
    )


def _built(kind: Engine, service: Service, status: NodeStatus, pins: Mapping[str, str]) -> str:
    """Which build of the engine runs; empty: nobody knows yet."""
    if service.image is not None:
        return image_name(pinned(service.image, pins)).digest
    version = dict(status.engines).get(kind.name, "")
    return f"{kind.name} {version}" if version else ""


def _driver_known(status: NodeStatus) -> bool:
    """GPUs that are only declared have none."""
    return bool(status.driver) or (status.driver is not None and not status.gpus_listed)


def _without(words: Iterable[str], aside: Collection[str]) -> Iterator[str]:
    """The words but those options, each with its values: all that follows until the next option."""
    dropping = False
    for word in words:
        if word.startswith("--"):
            dropping = word.partition("=")[0] in aside
        if not dropping:
            yield word


def _matter(variables: Iterable[tuple[str, str]], aside: Collection[str]) -> Iterator[tuple[str, str]]:
    for name, value in sorted(variables):
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in aside):
            yield name, value
