"""The part of Google's filter language that fleetctl uses, read as its documentation has it. Ours, judged by nobody.

`(field = value) (field != value)` is both, `OR` between two is either; a field may be nested, as in `labels.owner`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from gcp_discovery import Refused

Test = Callable[[Mapping[str, Any]], bool]
_TERM = re.compile(r"\s*\(?\s*([A-Za-z][A-Za-z0-9_.-]*)\s*(!=|=)\s*\"?([A-Za-z0-9_./-]+)\"?\s*\)?\s*")


def reader(text: str) -> Test:
    """What the filter lets through. Raises `Refused` for one that it cannot read."""
    if not text:
        return lambda _: True
    either = [[_term(term) for term in _terms(part)] for part in text.split(" OR ")]
    return lambda thing: any(all(term(thing) for term in both) for both in either)


def _terms(part: str) -> list[re.Match[str]]:
    found, at = [], 0
    while at < len(part):
        term = _TERM.match(part, at)
        if term is None:
            raise Refused(f"Invalid value for field 'filter': '{part}'. Invalid list filter expression.")
        found.append(term)
        at = term.end()
    return found


def _term(term: re.Match[str]) -> Test:
    name, sign, wanted = term.groups()

    def test(thing: Mapping[str, Any]) -> bool:
        value: Any = thing
        head, _, rest = name.partition(".")
        value = thing.get(head, "")
        if rest:
            value = value.get(rest, "") if isinstance(value, Mapping) else ""
        return (str(value) == wanted) is (sign == "=")

    return test
