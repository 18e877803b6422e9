"""YAML as a tree in which every value knows its line. Built from the parser's events, bounded, without surprises.

Plain scalars are read as YAML 1.2's core schema says, so `on`, `yes`, `no`, `1:30` and `2026-01-01` are text. Anchors,
aliases and tags are refused: what stands in the file is what is meant, and no file can grow while it is read.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import yaml
import yaml.reader

from fleetctl.spec.problems import Unfit

DEPTH_MAX = 16
"""Levels of nesting; the deepest field of a Service stands at six."""
NODES_MAX = 50_000
"""Values in one file: about two thousand Services, each with every field written."""
NUMBER_CHARS_MAX = 20
"""Longer digits are text: no field wants such a number, and converting them costs the square of their length."""

_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NULLS = ("", "~", "null", "Null", "NULL")
_TRUE = ("true", "True", "TRUE")
_FALSE = ("false", "False", "FALSE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    line: int
    value: str | int | float | bool | None
    text: str
    """As written, without quotes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    line: int
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    line: int
    """Of the key."""
    key: str
    node: "Node"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    line: int
    entries: tuple[Entry, ...]

    def get(self, key: str) -> Entry | None:
        return next((entry for entry in self.entries if entry.key == key), None)


Node = Scalar | Items | Mapping


class Malformed(Unfit):
    """Text that is no YAML, or YAML that is not read here."""

    def __init__(self, line: int, message: str, fix: str) -> None:
        super().__init__(message, fix)
        self.line = line


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something wrong with the tree itself, whatever it is about."""

    line: int
    path: tuple[str | int, ...]
    message: str
    fix: str


@dataclass(slots=True)
class _Open:
    """A list or mapping that is still being read."""

    line: int
    keys: bool
    children: list[Node] = field(default_factory=list)

    def close(self) -> Node:
        if not self.keys:
            return Items(line=self.line, items=tuple(self.children))
        entries = []
        for key, node in zip(self.children[::2], self.children[1::2], strict=True):
            if not isinstance(key, Scalar):
                raise Malformed(key.line, "a field's name must be text", "write `field: value`")
            entries.append(Entry(line=key.line, key=key.text, node=node))
        return Mapping(line=self.line, entries=tuple(entries))


def documents(text: str) -> tuple[Node, ...]:
    """Every document of a YAML text that is not empty. Raises `Malformed`."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # PyYAML may be built without libyaml
    found: list[Node] = []
    stack: list[_Open] = []
    nodes = 0
    try:
        for event in yaml.parse(text, Loader=loader):
            line = event.start_mark.line + 1 if event.start_mark else 1
            match event:
                case yaml.AliasEvent():
                    raise Malformed(
                        line,
                        f"the alias *{event.anchor} is not read here",
                        "write the value out, or put text in quotes",
                    )
                case yaml.NodeEvent() if event.anchor is not None:
                    raise Malformed(
                        line, f"the anchor &{event.anchor} is not read here", "remove it, or put text in quotes"
                    )
                case yaml.ScalarEvent() | yaml.SequenceStartEvent() | yaml.MappingStartEvent() if event.tag is not None:
                    raise Malformed(line, f"the tag {event.tag} is not read here", "remove it, or put text in quotes")
                case yaml.ScalarEvent():
                    nodes += 1
                    _put(_scalar(event, line), stack, found)
                case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                    nodes += 1
                    stack.append(_Open(line=line, keys=isinstance(event, yaml.MappingStartEvent)))
                    if len(stack) > DEPTH_MAX:
                        raise Malformed(
                            line, f"nested deeper than {DEPTH_MAX} levels", "flatten it: no field is so deep"
                        )
                case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                    _put(stack.pop().close(), stack, found)
            if nodes > NODES_MAX:
                raise Malformed(line, f"more than {NODES_MAX} values in one file", "split it into several files")
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(error, text) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise Malformed(line, f"not YAML: {error.reason}", "remove the control character") from error
    return tuple(node for node in found if not (isinstance(node, Scalar) and node.value is None))


def plain(node: Node) -> object:
    """The tree as lists, dicts and scalars; fields without a value and repeats of a field are left out."""
    match node:
        case Scalar():
            return node.value
        case Items():
            return [plain(item) for item in node.items]
        case Mapping():
            values: dict[str, object] = {}
            for entry in node.entries:
                if entry.key not in values and not _is_null(entry.node):
                    values[entry.key] = plain(entry.node)
            return values


def faults(node: Node, path: tuple[str | int, ...] = ()) -> Iterator[Fault]:
    """Fields without a value, fields written twice, and text with a NUL in it."""
    match node:
        case Scalar():
            if "\0" in node.text:
                yield Fault(line=node.line, path=path, message="text with a NUL in it", fix="remove the \\0")
        case Items():
            for index, item in enumerate(node.items):
                if _is_null(item):
                    yield _no_value(item.line, (*path, index))
                yield from faults(item, (*path, index))
        case Mapping():
            lines: dict[str, int] = {}
            for entry in node.entries:
                here = (*path, entry.key)
                if entry.key in lines:
                    yield Fault(
                        line=entry.line,
                        path=here,
                        message=f"written twice, first on line {lines[entry.key]}",
                        fix="remove one of the two",
                    )
                    continue
                lines[entry.key] = entry.line
                if _is_null(entry.node):
                    yield _no_value(entry.line, here)
                yield from faults(entry.node, here)


def line_at(node: Node, path: Sequence[str | int]) -> int:
    """The line of the value at `path`, or of what is nearest above it."""
    line = node.line
    for part in path:
        match node:
            case Mapping() if isinstance(part, str) and (entry := node.get(part)) is not None:
                node, line = entry.node, entry.line
            case Items() if isinstance(part, int) and 0 <= part < len(node.items):
                node = node.items[part]
                line = node.line
            case _:
                break
    return line


def _put(node: Node, stack: list[_Open], found: list[Node]) -> None:
    if stack:
        stack[-1].children.append(node)
    else:
        found.append(node)


def _scalar(event: "yaml.ScalarEvent", line: int) -> Scalar:
    text: str = event.value
    quoted = not event.implicit[0]
    return Scalar(line=line, value=text if quoted else _resolved(text), text=text)


def _resolved(text: str) -> str | int | float | bool | None:
    if text in _NULLS:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if len(text) <= NUMBER_CHARS_MAX:
        if _INT.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
    return text


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is None


def _no_value(line: int, path: tuple[str | int, ...]) -> Fault:
    return Fault(line=line, path=path, message="has no value", fix="give it one, or remove the line")


def _not_yaml(error: yaml.MarkedYAMLError, text: str) -> Malformed:
    # Of a bracket or quote that is never closed, the line to mend is where it opens, not where the file ends.
    opened = error.context is not None and ("flow" in error.context or "quoted" in error.context)
    mark = error.context_mark if opened else error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    lines = text.splitlines()
    shown = lines[line - 1] if line <= len(lines) else ""
    indent = shown[: len(shown) - len(shown.lstrip())]
    problem = ", ".join(part for part in (error.context, error.problem) if part)
    if "\t" in indent:
        return Malformed(line, "indented with a tab", "indent with spaces: YAML takes no tabs there")
    if re.search(r"[:,\[-]\s*[*&!%@`]", shown):
        return Malformed(line, f"not YAML: {problem}", "put text that begins with * & ! % @ or ` in quotes")
    if "mapping values are not allowed" in problem:
        return Malformed(line, f"not YAML: {problem}", "put text with `: ` in it in quotes, or mend the indentation")
    return Malformed(line, f"not YAML: {problem}", "mend the brackets, quotes or indentation there")
