"""One document against its class: the document, or every problem with it in words."""

import re
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from fleetctl.spec.document import Document
from fleetctl.spec.problems import Problem, path_text
from fleetctl.spec.suggestions import did_you_mean, nearest, snake_case, write_one_of
from fleetctl.spec.trees import Items, Mapping, Node, Scalar, faults, line_at, plain
from fleetctl.spec.units import shown, sort_of

ELSEWHERE = {
    "api_version": "the file is flat: kind, name, engine, model, gpu stand at its top",
    "metadata": "the file is flat: name and labels stand at its top",
    "annotations": "write labels: {team: search}",
    "tags": "write labels: {team: search}",
    "spec": "the file is flat: what stands in spec stands at its top",
    "autoscaling": "write scaling",
    "min_replicas": "write scaling: {min: …}",
    "max_replicas": "write scaling: {max: …}",
    "resources": "write gpu: L40S:1",
    "accelerators": "write gpu: L40S:1",
    "command_args": "write args",
    "container_concurrency": "write concurrency",
    "target_concurrency": "write concurrency, and scaling: {target: 70%} for the share of it",
    "scale_to_zero": "write scaling: {min: 0, idle: 5m}",
}
"""Names that people bring from elsewhere, in snake_case, and what they are here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a document stands, and what it is called in messages."""

    file: str
    line: int
    subject: str
    node: Node

    def problem(self, path: Sequence[str | int], message: str, fix: str) -> Problem:
        """A problem with the value at `path`, at its line."""
        return Problem(
            file=self.file,
            line=line_at(self.node, path),
            subject=self.subject,
            path=path_text(path),
            message=message,
            fix=fix,
        )


_D = typing.TypeVar("_D", bound=Document)


def validated(kind: type[_D], source: Source) -> tuple[_D | None, tuple[Problem, ...]]:
    """The document as `kind`, or None and everything that is wrong with it."""
    found = [
        Problem(
            file=source.file,
            line=fault.line,
            subject=source.subject,
            path=path_text(fault.path),
            message=fault.message,
            fix=fault.fix,
        )
        for fault in faults(source.node)
    ]
    said = {problem.path for problem in found}
    document: _D | None = None
    try:
        document = kind.model_validate(plain(source.node))
    except ValidationError as error:
        details = error.errors(include_url=False)
        misspelt = set(_misspelt(details, kind))
        for detail in details:
            path = _path(detail, source.node)
            known = said | misspelt if detail["type"] == "missing" else said
            if path_text(path) not in known:
                message, fix = _sentence(detail, path, kind)
                found.append(source.problem(path, message, fix))
    return (None, tuple(found)) if found else (document, ())


def _misspelt(details: Sequence[ErrorDetails], kind: type[Document]) -> Iterator[str]:
    """Paths of fields that seem to be there under a wrong name: they are not missing as well."""
    for detail in details:
        if detail["type"] == "extra_forbidden":
            *above, word = detail["loc"]
            if better := nearest(str(word), _fields(_document_at(kind, above))):
                yield path_text((*above, better))


def _path(detail: ErrorDetails, node: Node) -> tuple[str | int, ...]:
    """Where it is in the file: one text that was read as a list of one has no [0]."""
    path: list[str | int] = []
    for part in detail["loc"]:
        if part == "[key]" or (isinstance(part, int) and isinstance(node, Scalar)):
            continue
        path.append(part)
        match node:
            case Mapping() if isinstance(part, str) and (entry := node.get(part)) is not None:
                node = entry.node
            case Items() if isinstance(part, int):
                node = node.items[part]
            case _:
                pass
    return tuple(path)


def _sentence(detail: ErrorDetails, path: tuple[str | int, ...], kind: type[Document]) -> tuple[str, str]:
    """What is wrong, and what to write instead."""
    value = detail["input"]
    context = detail.get("ctx", {})
    match detail["type"]:
        case "unfit":
            return context["message"], context["fix"]
        case "missing":
            name = str(path[-1])
            return "is missing", f"add {name}: {_example(name)}"
        case "extra_forbidden":
            return _unknown(str(path[-1]), path[:-1], kind)
        case "literal_error":
            choices = re.findall(r"'([^']*)'", context["expected"])
            if not isinstance(value, str):
                return f"must be one of {', '.join(choices)}, not {sort_of(value)}", f"write {choices[0]}"
            better = did_you_mean(value, choices)
            return f"{shown(value)} is not one of {', '.join(choices)}{better}", write_one_of(value, choices)
        case "int_type" | "float_type" | "int_from_float":
            what = "a whole number" if detail["type"].startswith("int") else "a number"
            return f"must be {what}, not {_value(value)}", _number_fix(value, whole=what == "a whole number")
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            words = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}
            key = next(key for key in words if key in context)
            return f"must be {words[key]} {context[key]:g}, not {value:g}", f"write {words[key]} {context[key]:g}"
        case "finite_number":
            return "must be a finite number", "write a smaller number"
        case "list_type":
            fix = (
                f"write [{value}]"
                if isinstance(value, str | int | float)
                else "put - before each entry, or [ ] around them"
            )
            return f"must be a list, not {sort_of(value)}", fix
        case "model_type" | "dict_type":
            return f"must be a mapping, not {_value(value)}", "write {field: value, …}, or indented lines"
        case "too_short":
            return "is empty", "write at least one entry, or remove the field"
        case "too_long":
            return f"has {context['actual_length']} entries", f"write at most {context['max_length']}"
        case "string_too_short":
            return "is empty", "write it, or remove the field"
        case _:
            return detail["msg"], "mend the value"


def _unknown(word: str, above: Sequence[str | int], kind: type[Document]) -> tuple[str, str]:
    """What an unknown field may have meant: a name from elsewhere, a field here, a field at another level."""
    if hint := ELSEWHERE.get(snake_case(word)):
        return "unknown field", hint
    fields = tuple(_fields(_document_at(kind, above)))
    if better := nearest(word, fields):
        return f"unknown field; did you mean {better!r}?", f"write {better}"
    if above and (better := nearest(word, kind.model_fields)):
        return f"unknown field; did you mean {better!r} at the top?", f"write {better} at the top, beside name"
    leaves = dict(_leaves(kind))
    if better := nearest(word, leaves):
        return f"unknown field; did you mean {leaves[better]!r}?", f"write it at {leaves[better]}"
    return "unknown field", f"remove it; the fields here are {', '.join(fields)}"


def _fields(kind: type[Document]) -> Iterator[str]:
    for name, info in kind.model_fields.items():
        yield info.alias or name


def _document_at(kind: type[Document], path: Sequence[str | int]) -> type[Document]:
    """The class of the mapping at `path`."""
    for part in path:
        for name, info in kind.model_fields.items():
            if part == (info.alias or name):
                kind = next(_documents_in(info.annotation), kind)
                break
    return kind


def _leaves(kind: type[Document], above: str = "") -> Iterator[tuple[str, str]]:
    """Every field below the top, with its path."""
    for name, info in kind.model_fields.items():
        field = info.alias or name
        if above:
            yield field, f"{above}.{field}"
        for inner in _documents_in(info.annotation):
            yield from _leaves(inner, f"{above}.{field}" if above else field)


def _documents_in(annotation: object) -> Iterator[type[Document]]:
    if isinstance(annotation, type) and issubclass(annotation, Document):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _documents_in(argument)


def _value(value: object) -> str:
    return shown(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else sort_of(value)


def _number_fix(value: object, *, whole: bool) -> str:
    if isinstance(value, float) and whole and value.is_integer():
        return f"write {value:.0f}"
    if isinstance(value, str) and (found := re.fullmatch(r"[^0-9.-]*(-?[0-9]+(?:\.[0-9]+)?).*", value)):
        number = found[1]
        if not whole or "." not in number:
            return f"write {number}" + (", without quotes" if number == value else "")
    return "write a whole number" if whole else "write a number"


def _example(name: str) -> str:
    return {
        "name": "chat",
        "engine": "vllm",
        "model": "hf://organisation/name@revision",
        "gpu": "L40S:1",
        "running": "the_metric_of_running_requests",
        "cron": '"0 8 * * mon-fri"',
        "for": "10h",
        "period": "15s",
        "ttft": "5s",
        "policy": "target_concurrency",
        "why": "one line",
    }.get(name, "…")
