"""What differs between two nouns, field by field, as people write the fields in a file."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum

from fleetctl.model.records import dataclass

SECRET = frozenset({"env", "secret", "token", "password", "key", "credential", "credentials"})
"""A field that is called so, or lies below one, is shown by its name only: its value may be somebody's secret."""
_WORDS = re.compile(r"[^a-z0-9]+")
_PASSWORD = re.compile(r"(?<=://)([^/@:\s]*:)[^@/\s]+(?=@)|([?&]password=)[^&\s]+")
"""What comes before a password in an address, and the password."""
_WRITTEN = {
    "gateway_listen": "gateway.listen",
    "gateway_auth": "gateway.auth",
    "gateway_workers": "gateway.workers",
    "gateway_certificate": "gateway.tls.certificate",
    "gateway_key": "gateway.tls.key",
    "gateway_access_log": "gateway.access_log.file",
    "gateway_access_log_sample": "gateway.access_log.sample",
    "gateway_metrics_listen": "gateway.metrics_listen",
    "daemon_metrics_listen": "daemon.metrics_listen",
    "period_s": "period",
    "store_url": "store",
}
"""The fleet's settings that have another name in a file."""
HIDDEN = "(hidden)"
NOTHING = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One field that is not the same."""

    subject: str
    """`service/chat`"""
    field: str
    """`scaling.max`; empty: the whole of it is new, or gone."""
    before: str
    after: str


def differences(subject: str, before: object | None, after: object | None) -> tuple[Difference, ...]:
    """Every field that differs, in the order of the fields. One that is there on one side only differs as a whole."""
    if before is None or after is None:
        if before is after:
            return ()
        there, gone = ("declared", NOTHING) if before is None else (NOTHING, "declared")
        return (Difference(subject=subject, field="", before=gone, after=there),)
    left, right = dict(_leaves(before)), dict(_leaves(after))
    return tuple(
        Difference(
            subject=subject, field=_WRITTEN.get(path, path), before=_shown(path, left), after=_shown(path, right)
        )
        for path in dict.fromkeys((*left, *right))
        if left.get(path, NOTHING) != right.get(path, NOTHING)
    )


def plain_values(noun: object) -> tuple[tuple[str, str], ...]:
    """(field, value) of every field of a noun; what may be a secret is hidden."""
    leaves = dict(_leaves(noun))
    return tuple((path, _shown(path, leaves)) for path in leaves)


def _shown(path: str, leaves: Mapping[str, str]) -> str:
    text = leaves.get(path)
    if text is None:
        return NOTHING
    hidden = text != NOTHING and SECRET.intersection(_WORDS.split(path.lower()))
    return HIDDEN if hidden else without_password(text)


def without_password(text: str) -> str:
    """An address without the password in it; any other text as it is."""
    return _PASSWORD.sub(rf"\1\2{HIDDEN}", text) if "://" in text else text


def _leaves(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """(path, text) of each plain value. A list of plain values is one; pairs and mappings are by their name."""
    if is_dataclass(value) and not isinstance(value, type):
        plain = str(value) if type(value).__str__ is not object.__str__ else None
        if plain is not None and path:
            yield path, plain
            return
        for one in fields(value):
            yield from _leaves(getattr(value, one.name), f"{path}.{one.name}" if path else one.name)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}")
    elif isinstance(value, tuple | list) and value and all(_is_pair(one) for one in value):
        for name, inner in value:
            yield from _leaves(inner, f"{path}.{name}")
    elif isinstance(value, tuple | list) and any(is_dataclass(one) and not _is_plain(one) for one in value):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{index}]")
    elif isinstance(value, tuple | list):
        yield path, ", ".join(str(one) for one in value) or NOTHING
    elif isinstance(value, Enum):
        yield path, str(value.value)
    else:
        yield path, NOTHING if value is None else str(value)


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str)


def _is_plain(value: object) -> bool:
    return type(value).__str__ is not object.__str__
