"""Names in files that may mean nothing: services to be beside, and GPUs that no machine is known to have."""

from collections.abc import Collection, Iterator, Sequence

from fleetctl.catalog import load as load_catalog
from fleetctl.model.services import Gpu, Service, same_product
from fleetctl.spec.documents import FleetDoc
from fleetctl.spec.pool_documents import PoolDoc
from fleetctl.spec.problems import Problem
from fleetctl.spec.service_documents import ServiceDoc
from fleetctl.spec.suggestions import did_you_mean, nearest
from fleetctl.spec.validation import Source

Doc = ServiceDoc | PoolDoc | FleetDoc


def beside_problems(doc: Doc, source: Source, services: Sequence[Service]) -> Iterator[Problem]:
    """Machines that are to be beside themselves."""
    own = {str(one.name) for one in services if one.pool_name == doc.name}
    for place, name in _beside(doc):
        if name in own or (isinstance(doc, ServiceDoc) and name == doc.name):
            yield source.problem(
                ("placement", "beside", place),
                f"the machines of {name} are these themselves",
                "remove it: `same` alone keeps them together",
            )


def beside_warnings(doc: Doc, source: Source, services: Sequence[Service]) -> Iterator[Problem]:
    """Services to be beside that these files do not declare: others may, else the name does nothing."""
    names = [str(one.name) for one in services]
    for place, name in _beside(doc):
        if name not in names:
            near = nearest(name, names)
            yield source.problem(
                ("placement", "beside", place),
                f"there is no service {name!r} in these files{did_you_mean(name, names)}",
                f"write {near}" if near else "declare it, or remove it",
            )


def gpu_warnings(doc: Doc, source: Source, providers: Collection[str]) -> Iterator[Problem]:
    """GPUs that no machine of the tables has. `providers`: those the fleet names; one without a table may have any."""
    if isinstance(doc, FleetDoc):
        return
    catalog = load_catalog()
    products = sorted({machine.gpu.name for machine in catalog.types})
    anything = not {machine.provider for machine in catalog.types}.issuperset(providers)
    for place, gpu in enumerate(doc.gpu):
        near = nearest(gpu.name, products)
        if not _known(gpu, products) and (near or not anything):
            yield source.problem(
                ("gpu", place) if len(doc.gpu) > 1 else ("gpu",),
                f"no machine that clouds are known to rent out has a {gpu.name}{did_you_mean(gpu.name, products)}",
                f"write {near or 'one of ' + ', '.join(products)}; or keep it, if machines of your own have it",
            )


def _known(gpu: Gpu, products: Sequence[str]) -> bool:
    return any(same_product(gpu.name, product) for product in products)


def _beside(doc: Doc) -> Iterator[tuple[int, str]]:
    placement = None if isinstance(doc, FleetDoc) else doc.placement
    yield from enumerate(placement.beside or () if placement is not None else ())
