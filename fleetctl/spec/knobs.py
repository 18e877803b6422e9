"""A Service with some of its values written anew, as `scaling.target=0.6`: for trying what another file would do."""

from collections.abc import Mapping as Texts
from dataclasses import replace
from pathlib import Path

from pydantic import Field

from fleetctl.errors import UsageError
from fleetctl.model.services import Scaling, Service
from fleetctl.spec import nouns
from fleetctl.spec.checks import scaling_problems
from fleetctl.spec.document import Document
from fleetctl.spec.parameters import NEEDED, lacking_problems
from fleetctl.spec.pool_documents import Standby
from fleetctl.spec.presets import preset
from fleetctl.spec.scaling_documents import ScalingDoc
from fleetctl.spec.trees import Entry, Malformed, Mapping, Node, Scalar, documents
from fleetctl.spec.validation import Source, validated


class KnobsDoc(Document):
    """What may be written anew: what an autoscaler is tuned by, and not what it serves."""

    scaling: ScalingDoc | None = Field(default=None, description="How many replicas, and how their number moves.")
    standby: Standby | None = Field(default=None, description="Free capacity kept ready.")


def with_preset(service: Service, name: str, *, folder: Path = Path()) -> Service:
    """The Service under a preset, a name or the path of a YAML file: its own min, max and step stay, the rest goes.

    What one replica can do stays too: presets cannot know it. Raises `NotFound`, and `FilesError` with everything that
    is wrong with the file, at its lines.
    """
    scaling = service.scaling
    chosen = preset(name, folder=folder).scaling
    kept = {name: getattr(scaling, name) for name in ("min", "max", "step", *NEEDED)}
    own = {name: value for name, value in kept.items() if value is not None}
    return replace(service, scaling=replace(chosen, **own))


def with_knobs(service: Service, knobs: Texts[str, str]) -> Service:
    """The Service with each of `knobs` (path in the file → value as the file would have it) over its own values.

    `scaling.policy` is a preset, and comes first. Raises `UsageError` for a knob that is none and for a value that the
    file could not have.
    """
    # The words of the knobs stand in the order given; a wrong one is named with its value.
    root: Node = Mapping(line=1, entries=())
    for path, text in knobs.items():
        root = _written(root, path.split("."), _value(path, text))
    shown = " ".join(f"{path}={text}" for path, text in knobs.items())
    source = Source(file=shown, line=1, subject="", node=root)
    doc, problems = validated(KnobsDoc, source)
    if doc is None:
        raise UsageError(f"{shown}: {problems[0].path}: {problems[0].message}", hint=problems[0].fix)
    if doc.scaling is not None:
        if doc.scaling.policy is not None:
            service = with_preset(service, doc.scaling.policy)
        service = replace(service, scaling=nouns.scaling(doc.scaling, service.scaling))
        _check(service.scaling, source, shown)
    if doc.standby is not None:
        service = replace(service, standby=nouns.standby(doc.standby))
    for problem in lacking_problems(service.scaling, source, ("scaling",)):
        raise UsageError(f"{service.name}: {problem.path}: {problem.message}", hint=problem.fix)
    return service


def _check(scaling: Scaling, source: Source, shown: str) -> None:
    for problem in scaling_problems(scaling, source, ("scaling",)):
        raise UsageError(f"{shown}: {problem.path}: {problem.message}", hint=problem.fix)
    if not scaling.min <= scaling.max >= scaling.step:
        raise UsageError(
            f"{shown}: min is {scaling.min}, step {scaling.step} and max {scaling.max}",
            hint="keep min and step at most max",
        )


def _value(path: str, text: str) -> Node:
    """The text as YAML would have it."""
    try:
        found = documents(text)
    except Malformed as error:
        raise UsageError(f"{path}={text}: {error.message}", hint=error.fix) from None
    if len(found) != 1 or not isinstance(found[0], Scalar):
        raise UsageError(f"{path}={text!r} is not one value", hint="write it as in the file: 0.6, 70%, 5m, auto")
    return found[0]


def _written(node: Node, path: list[str], value: Node) -> Node:
    """The tree with `value` at `path`."""
    if not path:
        return value
    kept = tuple(entry for entry in node.entries if entry.key != path[0]) if isinstance(node, Mapping) else ()
    below = node.get(path[0]) if isinstance(node, Mapping) else None
    inner = _written(below.node if below else Mapping(line=1, entries=()), path[1:], value)
    return Mapping(line=1, entries=(*kept, Entry(line=1, key=path[0], node=inner)))
