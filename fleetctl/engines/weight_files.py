"""Which of the files that a Node fetched its engine is pointed at."""

import re
from collections.abc import Iterable

from fleetctl.engines.engine import Engine
from fleetctl.errors import AgentFailure

_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf", re.IGNORECASE)
"""A part of a GGUF file that was split (ggml-org/llama.cpp `tools/gguf-split/README.md`)."""
_BESIDE = re.compile(r"(?:^|[-_./])(?:mmproj|imatrix)", re.IGNORECASE)
"""What stands beside a model and is none: a projector for pictures, what quantisation was measured with."""
_SHOWN = 5
"""Names in one message; repositories of quantised models hold thirty."""


def weight_file(engine: Engine, paths: Iterable[str], model: str) -> str:
    """The path below the folder of its files that the engine is given; empty: the folder itself.

    `paths` are relative to that folder. Raises `AgentFailure` where it wants one file and there is none, or several.
    """
    if engine.weights != "file":
        return ""
    found = sorted(path for path in paths if path.lower().endswith(".gguf") and not _BESIDE.search(path))
    parts = {path: part for path in found if (part := _PART.fullmatch(path))}
    starts = [path for path in found if path not in parts or int(parts[path][2]) == 1]
    if len(starts) == 1:
        return starts[0]
    if not starts:
        raise AgentFailure(
            f"{engine.name} loads a .gguf file, and {model} has none",
            hint="name a repository or folder that has one, or another engine",
        )
    shown = ", ".join(starts[:_SHOWN]) + (" …" if len(starts) > _SHOWN else "")
    raise AgentFailure(
        f"{engine.name} loads one .gguf file, and {model} has {len(starts)}: {shown}",
        hint=f"write which in model:, such as {_with(model, starts[0])}",
    )


def _with(model: str, path: str) -> str:
    """The address of that one file of it."""
    where, at, revision = model.partition("@") if model.startswith("hf://") else (model, "", "")
    return f"{where.rstrip('/')}/{path}{at}{revision}"
