"""Files of other tools made into ours: every field is carried over, or named with why it is not."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fleetctl.errors import SpecError, UsageError
from fleetctl.spec.imports.dstack import convert as from_dstack
from fleetctl.spec.imports.fields import Converted
from fleetctl.spec.imports.knative import convert as from_knative
from fleetctl.spec.imports.pod_scalers import convert as from_pod_scaler
from fleetctl.spec.imports.sky import convert as from_sky
from fleetctl.spec.imports.sorts import sources_of, strange_version
from fleetctl.spec.suggestions import nearest

SOURCES: Mapping[str, Callable[[Sequence[Mapping[str, Any]]], Converted]] = {
    "sky": from_sky,
    "dstack": from_dstack,
    "knative": from_knative,
    "hpa": from_pod_scaler,
    "keda": from_pod_scaler,
}
ALIASES = {"skypilot": "sky", "skyserve": "sky", "scaledobject": "keda", "kserve": "knative"}
DOCUMENTS_MAX = 64
"""Of one file: a whole namespace's objects fit."""


def known_source(word: str) -> str:
    """The one of SOURCES that is meant. Raises `UsageError` with the nearest."""
    name = ALIASES.get(word.lower(), word.lower())
    if name in SOURCES:
        return name
    near = nearest(name, [*SOURCES, *ALIASES])
    hint = f"did you mean {near}?" if near else f"one of: {', '.join(SOURCES)}"
    raise UsageError(f"nothing is imported from {word!r}", hint=hint)


def convert(source: str, text: str, file: str) -> Converted:
    """A file of one of the SOURCES as a document of ours.

    Raises `UsageError` for a source that there is not, and `SpecError` for a file, or a field of it, that is not known.
    """
    import yaml

    name = known_source(source)
    try:
        found = [one for one in yaml.safe_load_all(text) if one is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        raise SpecError(f"{file}{line}: this is no YAML", hint="mend it there, then import it again") from error
    if not found or len(found) > DOCUMENTS_MAX or not all(isinstance(one, dict) for one in found):
        raise SpecError(f"{file}: holds no document that could be one of {name}", hint="give the file of one service")
    _check_source(name, found, file)
    try:
        return SOURCES[name](found)
    except SpecError as error:
        raise SpecError(f"{file}: {error.message}", hint=error.hint) from None


def _check_source(name: str, documents: Sequence[Mapping[str, Any]], file: str) -> None:
    """Raises `SpecError` for a file of another tool than the one that was named, with the command that takes it."""
    if strange := strange_version(documents):
        raise SpecError(f"{file}: is {strange}", hint="export it again, as kubectl get -o yaml prints it")
    found = sources_of(documents)
    if not found or name in found:
        return
    meant, what = next(iter(found.items()))
    if meant == "fleetctl":
        raise SpecError(f"{file}: is {what}, so there is nothing to import", hint=f"fleetctl validate {file}")
    raise SpecError(f"{file}: is {what}, and no file for {name}", hint=f"fleetctl import {meant} {file}")
