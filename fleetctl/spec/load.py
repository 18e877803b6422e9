"""Files in, model out: everything they declare, complete; or everything that is wrong with them, at once."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fleetctl.errors import NotFound
from fleetctl.model.abilities import Abilities
from fleetctl.model.routes import TenantEntry
from fleetctl.model.services import Pool, Scaling, Service, Standby
from fleetctl.spec import nouns
from fleetctl.spec.checks import (
    ALWAYS,
    fleet_problems,
    pool_problems,
    provider_problems,
    service_problems,
    service_warnings,
    sharing_problems,
)
from fleetctl.spec.documents import DOCUMENTS, FleetDoc
from fleetctl.spec.entry_checks import metrics_warnings, naming_problems, open_warnings, tenant_problems
from fleetctl.spec.entry_documents import TenantFileDoc
from fleetctl.spec.files import read, yaml_files
from fleetctl.spec.fleet import Fleet, FleetConfig, Place
from fleetctl.spec.model_checks import model_warnings
from fleetctl.spec.placement_checks import beside_problems, beside_warnings, gpu_warnings
from fleetctl.spec.pool_documents import PoolDoc
from fleetctl.spec.presets import preset
from fleetctl.spec.problems import FilesError, Problem
from fleetctl.spec.schedule_checks import schedule_warnings
from fleetctl.spec.service_documents import ServiceDoc
from fleetctl.spec.standby_checks import (
    TellAbilities,
    pool_of,
    pool_standby_problems,
    standby_problems,
    stopping_problems,
    stopping_warnings,
)
from fleetctl.spec.suggestions import nearest
from fleetctl.spec.trees import Entry, Mapping, Node, Scalar
from fleetctl.spec.units import shown, sort_of
from fleetctl.spec.validation import Source, validated


def load(
    paths: Sequence[Path] = (),
    *,
    providers: Collection[str] | None = None,
    abilities: TellAbilities = lambda name, settings: Abilities(),
    warnings: bool = False,
) -> Fleet:
    """What the files declare. A folder means its YAML files, sorted; none given, the folder `fleet`.

    `providers` are those there are: the files may name no other; None: whatever they name is taken. `abilities`
    tells, from a provider's name and settings, what its machines can do. With `warnings`
    years of Schedules are looked through for what is hardly meant, which takes its time. Raises `NotFound` for a file
    or folder that is not there, and `FilesError` with every problem of every file.
    """
    reading = _Reading(providers, abilities)
    for file in yaml_files(paths):
        nodes, problems = read(file)
        reading.problems.extend(problems)
        for node in nodes:
            reading.take(file, node)
    reading.join()
    if reading.problems:
        raise FilesError(reading.problems)
    return Fleet(
        config=reading.config,
        services=tuple(found.service for found in reading.services),
        pools=tuple(reading.pools.values()),
        tenants=tuple(tenant for tenant, _ in reading.tenants),
        places=reading.places,
        warnings=tuple(sorted(reading.warnings())) if warnings else (),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A Service that is right by itself, and where it stands."""

    service: Service
    doc: ServiceDoc
    source: Source


class _Reading:
    """What has been read so far."""

    def __init__(self, providers: Collection[str] | None, tell: TellAbilities) -> None:
        self.providers = providers
        self._tell = tell
        self.problems: list[Problem] = []
        self.places: dict[str, Place] = {}
        self.config = FleetConfig()
        self.services: list[_Found] = []
        self.pools: dict[str, Pool] = {}
        self.tenants: list[tuple[TenantEntry, Source]] = []
        self._docs: list[tuple[ServiceDoc | PoolDoc | FleetDoc, Source]] = []
        self._presets: dict[Path | str, Scaling | None] = {}
        """By file; None: it is wrong, and that has been said."""

    def take(self, file: Path, node: Node) -> None:
        """Read one document."""
        source = self._source(file, node)
        if source is None:
            return
        kind = DOCUMENTS[source.subject.partition("/")[0]]
        doc, problems = validated(kind, source)
        self.problems.extend(problems)
        if not self._is_first(source):
            return
        if isinstance(doc, ServiceDoc | PoolDoc | FleetDoc):
            self._docs.append((doc, source))
        match doc:
            case ServiceDoc():
                scaling = self._scaling(doc, source, file.parent)
                if scaling is not None:
                    service = nouns.service(doc, scaling)
                    self.problems.extend(service_problems(service, doc, source))
                    self.services.append(_Found(service=service, doc=doc, source=source))
            case PoolDoc():
                self.pools[doc.name] = nouns.pool(doc)
                self.problems.extend(pool_problems(self.pools[doc.name], doc, source))
                self.problems.extend(pool_standby_problems(self.pools[doc.name], doc, source))
            case FleetDoc():
                self.config = nouns.config(doc, file.parent)
                self.problems.extend(fleet_problems(doc, source))
            case TenantFileDoc():
                self.tenants.append((nouns.tenant(doc), source))
            case _:
                pass  # it is wrong, and that has been said

    def join(self) -> None:
        """Look at what the documents say of each other."""
        declared = frozenset(subject.removeprefix("pool/") for subject in self.places if subject.startswith("pool/"))
        for found in self.services:
            self.problems.extend(sharing_problems(found.service, found.doc, found.source, self.pools, declared))
            self.problems.extend(standby_problems(found.service, found.doc, found.source, self.pools))
        services = [found.service for found in self.services]
        for doc, source in self._docs:
            self.problems.extend(beside_problems(doc, source, services))
        self.problems.extend(naming_problems([(found.service, found.source) for found in self.services]))
        declared = frozenset(
            subject.removeprefix("service/") for subject in self.places if subject.startswith("service/")
        )
        for tenant, source in self.tenants:
            self.problems.extend(tenant_problems(tenant, source, declared))
        for standby, pool, source in self._standing_by():
            self.problems.extend(stopping_problems(standby, pool, source, self._configured, self._abilities))
        if self.providers is not None:
            for doc, source in self._docs:
                self.problems.extend(provider_problems(doc, source, self.providers, self.config.providers))

    @property
    def _configured(self) -> tuple[str, ...]:
        return (ALWAYS, *self.config.providers)

    def _abilities(self, name: str) -> Abilities:
        """Of a provider that does not exist: it can do everything, and is a problem already."""
        known = self.providers is None or name in self.providers
        return self._tell(name, self.config.providers.get(name, {})) if known else Abilities()

    def _standing_by(self) -> Iterator[tuple[Standby, Pool, Source]]:
        """Every Standby that is written down, with the Pool whose machines it is of."""
        for found in self.services:
            if found.service.standby is not None:
                yield found.service.standby, pool_of(found.service, self.pools), found.source
        for doc, source in self._docs:
            if isinstance(doc, PoolDoc) and doc.standby is not None:
                yield self.pools[doc.name].standby, self.pools[doc.name], source

    def warnings(self) -> Iterator[Problem]:
        """What is allowed and hardly meant, in files that are right."""
        services = [found.service for found in self.services]
        for found in self.services:
            yield from service_warnings(found.service, found.doc, found.source)
            yield from schedule_warnings(found.service, found.source)
            yield from model_warnings(found.service, found.source, self.pools, self.config.providers)
        for doc, source in self._docs:
            yield from beside_warnings(doc, source, services)
            yield from gpu_warnings(doc, source, self.config.providers)
            if isinstance(doc, FleetDoc):
                yield from open_warnings(self.config.gateway_auth, self.config.gateway_listen, source)
                yield from metrics_warnings(
                    self.config.daemon_metrics_listen, self.config.gateway_metrics_listen, source
                )
        for standby, pool, source in self._standing_by():
            yield from stopping_warnings(standby, pool, source, self._configured, self._abilities)

    def _source(self, file: Path, node: Node) -> Source | None:
        """Where and what the document is; None once it is said why that cannot be told."""
        bare = Source(file=str(file), line=node.line, subject="", node=node)
        if not isinstance(node, Mapping):
            given = sort_of(node.value) if isinstance(node, Scalar) else "a list"
            self.problems.append(
                bare.problem((), f"a document must be a mapping, not {given}", "begin it with kind: service")
            )
            return None
        kind = node.get("kind")
        value = kind.node.value if kind is not None and isinstance(kind.node, Scalar) else None
        if kind is None:
            self.problems.append(bare.problem((), "kind is missing", "begin the document with kind: service"))
            return None
        if not isinstance(value, str) or value not in DOCUMENTS:
            text = shown(value) if isinstance(value, str | int | float) else "this"
            better = nearest(value, DOCUMENTS) if isinstance(value, str) else None
            self.problems.append(
                bare.problem(
                    ("kind",),
                    f"{text} is no kind" + (f"; did you mean {better!r}?" if better else ""),
                    f"write kind: {better}" if better else f"write one of: {', '.join(DOCUMENTS)}",
                )
            )
            return None
        match node.get("name"):
            case Entry(node=Scalar(value=str(name))) if name and value != "fleet":
                return replace(bare, subject=f"{value}/{name}")
            case _:
                return replace(bare, subject=value)

    def _is_first(self, source: Source) -> bool:
        """Whether nothing of this kind and name was declared before."""
        first = self.places.get(source.subject)
        if source.subject in ("service", "pool", "tenant"):  # without a name, which has been said
            return True
        if first is None:
            self.places[source.subject] = Place(file=source.file, line=source.line)
            return True
        self.problems.append(
            source.problem(
                () if source.subject == "fleet" else ("name",),
                f"{source.subject} is declared twice, first at {first}",
                "keep one fleet document" if source.subject == "fleet" else "rename or remove one of the two",
            )
        )
        return False

    def _scaling(self, doc: ServiceDoc, source: Source, folder: Path) -> Scaling | None:
        """The preset that the Service names. Each is read once; what is wrong with it is said once."""
        name = doc.scaling.policy if doc.scaling is not None and doc.scaling.policy is not None else Scaling().preset
        key: Path | str = folder / name if "/" in name or "." in name else name
        if key not in self._presets:
            try:
                self._presets[key] = preset(name, folder=folder).scaling
            except NotFound as error:
                fix = error.hint
                self.problems.append(source.problem(("scaling", "policy"), error.message, fix))
                return None  # said again at every Service that names it: each is a place to mend
            except FilesError as error:
                self.problems.extend(error.problems)
                self._presets[key] = None
        return self._presets[key]
