"""A foreign document, field by field: what was taken, and what is left and why."""

import copy
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fleetctl.errors import SpecError
from fleetctl.spec.suggestions import nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A document of ours, and what to say about it."""

    document: Mapping[str, Any]
    left: tuple[tuple[str, str], ...] = ()
    """Fields that are not carried over, with why."""
    notes: tuple[str, ...] = ()
    """What a person must look at."""

    def text(self, source: str) -> str:
        """As YAML, the comments first."""
        from fleetctl.spec.rendering import to_yaml

        lines = [f"# Imported from {source}; check it with: fleetctl validate"]
        lines += [f"# TO CHECK: {note}" for note in self.notes]
        if self.left:
            lines.append("# Not carried over:")
            lines += [f"#   {name}: {why}" for name, why in self.left]
        return "\n".join(lines) + "\n" + to_yaml(dict(self.document))


@dataclass(slots=True)
class Fields:
    """What is left of one document while its fields are taken out of it."""

    body: dict[str, Any]
    taken: set[str] = field(default_factory=set)
    """Paths that were asked for, known or not: what a slip may have meant."""

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "Fields":
        return cls(copy.deepcopy(dict(body)))

    def take(self, path: str, default: Any = None) -> Any:
        """The value at `a.b.c`, taken out of the document."""
        self.taken.add(path)
        *above, last = path.split(".")
        chain = [self.body]
        for name in above:
            below = chain[-1].get(name)
            if not isinstance(below, dict):
                return default
            chain.append(below)
        if last not in chain[-1]:
            return default
        value = chain[-1].pop(last)
        for parent, name in zip(reversed(chain[:-1]), reversed(above), strict=True):
            if parent[name] == {}:
                del parent[name]
        return value

    def text(self, path: str) -> str | None:
        """The same, as one text."""
        value = self.take(path)
        if value is None:
            return None
        if isinstance(value, dict | list):
            raise SpecError(
                f"{path}: must be one text, not a {_sort(value)}", hint="mend it there, then import it again"
            )
        return str(value)

    def count(self, path: str) -> int | None:
        """The same, as a whole number of at least 0."""
        value = self.take(path)
        if value is None:
            return None
        if isinstance(value, bool) or not re.fullmatch(r"\d+", str(value)):
            raise SpecError(f"{path}: {value!r} is no whole number", hint="mend it there, then import it again")
        return int(value)

    def number(self, path: str) -> float | None:
        value = self.take(path)
        if value is None:
            return None
        try:
            return float(value)
        except (TypeError, ValueError):
            raise SpecError(f"{path}: {value!r} is no number", hint="mend it there, then import it again") from None

    def table(self, path: str) -> dict[str, Any]:
        """The mapping there, whole; empty where there is none."""
        value = self.take(path)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise SpecError(
                f"{path}: must be a mapping, not a {_sort(value)}", hint="mend it there, then import it again"
            )
        return value

    def rest(self, whys: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """Every field that was not taken, with why not: `whys` are by path, for it and all below it.

        Raises `SpecError` for one that nobody knows, with what may have been meant.
        """
        for path in _leaves(self.body, "") if self.body else ():
            plain = re.sub(r"\[\d+\]", "", path)
            known = [one for one in whys if plain == one or plain.startswith((f"{one}.", f"{one}/"))]
            if not known:
                choices = {*whys, *self.taken}
                near = nearest(plain, choices)
                hint = f"did you mean {near}?" if near else "take it out: it means nothing that is known here"
                raise SpecError(f"{path}: this field is not known", hint=hint)
            yield path, whys[max(known, key=len)]


def _leaves(value: Any, path: str) -> Iterable[str]:
    if isinstance(value, dict) and value:
        for name, below in value.items():
            yield from _leaves(below, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list) and value and any(isinstance(one, dict) for one in value):
        for index, below in enumerate(value):
            yield from _leaves(below, f"{path}[{index}]")
    else:
        yield path


def _sort(value: object) -> str:
    return "mapping" if isinstance(value, dict) else "list" if isinstance(value, list) else type(value).__name__


def plain_name(text: str | None, default: str) -> str:
    """A name of ours, made of one of theirs."""
    better = re.sub(r"[^a-z0-9]+", "-", (text or default).lower()).strip("-").lstrip("0123456789-")
    return better[:40].strip("-") or default


def seconds(value: object, path: str) -> str:
    """A duration of ours: of a number of seconds, or of `5m`, `1h30m`, `2d`."""
    text = str(value).strip()
    units = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
    if re.fullmatch(r"\d+(\.\d+)?", text):
        total = float(text)
    elif re.fullmatch(r"(\d+(\.\d+)?[smhdw])+", text):
        total = sum(float(count) * units[unit] for count, unit in re.findall(r"([\d.]+)([smhdw])", text))
    else:
        raise SpecError(f"{path}: {value!r} is no duration", hint="write it as 300, 5m or 1h30m")
    return f"{total:g}s" if total < 1e6 else f"{total / 86_400:g}d"


def clean(document: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is None or empty; keys in their order."""
    found = {}
    for name, value in document.items():
        kept = clean(value) if isinstance(value, dict) else value
        if kept is not None and kept not in ({}, [], ()):
            found[name] = kept
    return found


def scaled_by(*, least: int | None, most: int | None, fixed: int | None = None) -> dict[str, Any]:
    """`scaling` of a count, or of a least and a most."""
    if fixed is not None:
        return {"policy": "fixed", "replicas": fixed, "min": fixed, "max": max(1, fixed)}
    low = 1 if least is None else least
    return {"min": low, "max": max(1, low if most is None else most)}


def environment(value: object, path: str) -> dict[str, str]:
    """Of `{K: V}`, `[K=V]` or `[{name, value}]`. What has no value here is left to the caller."""
    if isinstance(value, Mapping):
        return {str(name): "" if one is None else str(one) for name, one in value.items()}
    found: dict[str, str] = {}
    for one in value if isinstance(value, Sequence) and not isinstance(value, str) else ():
        if isinstance(one, Mapping):
            found[str(one.get("name"))] = str(one.get("value", ""))
        else:
            name, _, text = str(one).partition("=")
            found[name] = text
    if value is not None and not found and value != []:
        raise SpecError(f"{path}: this is no environment", hint="write it as {NAME: value}")
    return found
