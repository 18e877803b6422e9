"""`{weights}` in what an engine is started with: where this Node holds them."""

from dataclasses import replace
from pathlib import Path

from fleetctl.engines import engine
from fleetctl.errors import AgentFailure, UsageError
from fleetctl.model.nodes import ReplicaSpec

_OPEN = "{weights}"
_ENDING = ".gguf"
"""Of the one kind of file that engines load alone; its parts are numbered, and the first one names the others."""


def placed(spec: ReplicaSpec, where: str) -> ReplicaSpec:
    """The spec with the weights' folder, or their one file, filled in. `where`: the folder or file; empty: none.

    Raises `AgentFailure`.
    """
    values = (*spec.command, *(value for _, value in spec.env))
    if not any(_OPEN in value for value in values):
        return spec
    if not where:
        raise AgentFailure(
            f"{spec.engine} is to load {spec.model} from this node, which does not hold it",
            hint="write {model} instead of {weights} in command: where the engine fetches it by itself",
        )
    path = _loaded(spec, Path(where))
    return replace(
        spec,
        command=tuple(word.replace(_OPEN, path) for word in spec.command),
        env=tuple((name, value.replace(_OPEN, path)) for name, value in spec.env),
    )


def _loaded(spec: ReplicaSpec, where: Path) -> str:
    """What the engine is given: the folder, or the one file that it loads."""
    try:
        alone = engine(spec.engine).weights == "file"
    except UsageError:
        alone = False  # an engine that this node does not know is started as it is told
    if not alone or where.is_file():
        return str(where)
    files = sorted(file for file in where.rglob("*") if file.suffix == _ENDING)
    firsts = [file for file in files if "-of-" not in file.name or "-00001-of-" in file.name]
    if len(firsts) != 1:
        found = ", ".join(file.name for file in firsts[:5]) or "none"
        raise AgentFailure(
            f"{spec.engine} loads one {_ENDING} file, and {spec.model} holds {len(firsts)}: {found}",
            hint="name the file itself in model:",
        )
    return str(firsts[0])
