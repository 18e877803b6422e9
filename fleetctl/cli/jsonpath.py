"""`-o jsonpath=TEMPLATE`: the part of kubectl's that scripts use, and a clear word about the rest.

`{.items[*].name}`, `{.a['b c'].d[0]}`, `{"\\n"}`, `{range .items[*]}{.name}{"\\t"}{.state}{"\\n"}{end}`; text outside
of braces stands for itself. A field that there is not is an error, with the nearest name.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fleetctl.errors import UsageError

HINT = "what is understood: fleetctl help output"
_STEP = re.compile(r"\.(?P<field>[A-Za-z_][\w-]*)|\[(?:(?P<index>-?\d+)|(?P<every>\*)|'(?P<quoted>[^']*)')\]")
_ESCAPES = {"\\n": "\n", "\\t": "\t", '\\"': '"', "\\\\": "\\"}
EVERY = "*"
"""The step into all items of a list."""

Step = str | int
Path = tuple[Step, ...]


class Text(NamedTuple):
    text: str


class Value(NamedTuple):
    path: Path


class Each(NamedTuple):
    """`{range PATH}…{end}`."""

    path: Path
    inside: "list[Part]"


Part = Text | Value | Each


def parsed(template: str) -> list[Part]:
    """The template, taken apart. Raises `UsageError`."""
    if not template.strip():
        raise UsageError("jsonpath= needs a template, as in -o jsonpath='{.items[*].name}'", hint=HINT)
    tokens = _tokens(template)
    return _parts(tokens, until_end=False)


def rendered(template: str, body: object) -> str:
    """What the template makes of a document of mappings, lists and scalars. Raises `UsageError`."""
    return "".join(_written(parsed(template), body))


def _tokens(template: str) -> Iterator[tuple[str, str]]:
    """(`text` or `braces`, what stands there) one after the other."""
    at = 0
    while at < len(template):
        opens = template.find("{", at)
        if opens < 0:
            yield "text", template[at:]
            return
        if opens > at:
            yield "text", template[at:opens]
        closes = _closing(template, opens + 1)
        yield "braces", template[opens + 1 : closes].strip()
        at = closes + 1


def _closing(template: str, at: int) -> int:
    quote = ""
    while at < len(template):
        letter = template[at]
        if quote:
            at += letter == "\\"
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter == "}":
            return at
        at += 1
    raise UsageError(f"jsonpath: a brace is open: {template}", hint=HINT)


def _parts(tokens: Iterator[tuple[str, str]], *, until_end: bool) -> list[Part]:
    parts: list[Part] = []
    for kind, text in tokens:
        if kind == "text":
            parts.append(Text(text))
        elif text == "end":
            if until_end:
                return parts
            raise UsageError("jsonpath: {end} without {range …}", hint=HINT)
        elif text.startswith("range "):
            parts.append(Each(_path(text.removeprefix("range ").strip()), _parts(tokens, until_end=True)))
        elif text[:1] == '"' and text[-1:] == '"' and len(text) > 1:
            parts.append(Text(re.sub(r"\\.", lambda found: _ESCAPES.get(found[0], found[0]), text[1:-1])))
        else:
            parts.append(Value(_path(text)))
    if until_end:
        raise UsageError("jsonpath: {range …} without {end}", hint=HINT)
    return parts


def _path(text: str) -> Path:
    steps: list[Step] = []
    rest = text.removeprefix("$").removeprefix("@")
    if rest == ".":
        rest = ""
    at = 0
    while at < len(rest):
        found = _STEP.match(rest, at)
        if found is None:
            raise UsageError(f"jsonpath: {rest[at:]!r} in {{{text}}} is not understood", hint=HINT)
        if found["index"] is not None:
            steps.append(int(found["index"]))
        else:
            steps.append(EVERY if found["every"] else found["field"] or found["quoted"])
        at = found.end()
    return tuple(steps)


def _written(parts: Sequence[Part], body: object) -> Iterator[str]:
    for part in parts:
        match part:
            case Text(text):
                yield text
            case Value(path):
                yield " ".join(_shown(value) for value in _values(body, path))
            case Each(path, inside):
                for value in _values(body, path):
                    yield from _written(inside, value)


def _values(body: object, path: Path) -> list[object]:
    found = [body]
    walked = ""
    for step in path:
        found = [value for one in found for value in _step(one, step, walked)]
        walked += f"[{step}]" if isinstance(step, int) or step == EVERY else f".{step}"
    return found


def _step(value: object, step: Step, walked: str) -> list[object]:
    where = walked or "the document"
    match value:
        case dict() if step == EVERY:
            return list(value.values())
        case dict():
            if step not in value:
                from fleetctl.spec.suggestions import did_you_mean

                raise UsageError(
                    f"jsonpath: {where} has no {step!r}{did_you_mean(str(step), map(str, value))}",
                    hint=f"it has {', '.join(map(str, value)) or 'nothing'}",
                )
            return [value[step]]
        case list() if step == EVERY:
            return value
        case list() if isinstance(step, int):
            if not -len(value) <= step < len(value):
                raise UsageError(f"jsonpath: {where} has {len(value)} items, so none is [{step}]", hint=HINT)
            return [value[step]]
        case list():
            raise UsageError(f"jsonpath: {where} is a list: {where}[*].{step}, or one by its number", hint=HINT)
        case _:
            raise UsageError(f"jsonpath: {where} is {_shown(value)!r}, which has no {step!r}", hint=HINT)


def _shown(value: object) -> str:
    match value:
        case None:
            return ""
        case bool() | dict() | list():
            import json

            return json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)
