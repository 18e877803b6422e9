"""Rows are documents: our nouns as JSON text, so that a person can read the store with any SQL tool."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from fleetctl.errors import StoreFailure

K = TypeVar("K")
T = TypeVar("T")
_encoder = msgspec.json.Encoder()
_decoders: dict[type[Any], msgspec.json.Decoder[Any]] = {}


def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    if kind not in _decoders:
        _decoders[kind] = msgspec.json.Decoder(kind)
    return _decoders[kind]


def encode(document: Any) -> str:
    """The JSON text of one of our nouns, proved to be readable again. Raises StoreFailure.

    JSON has no NaN, no infinity and no half of a surrogate pair; stored unproved, one such value would make the
    whole store unreadable at the next start. The proof costs about as much as the encoding: microseconds.
    """
    kind = type(document)
    try:
        raw = _encoder.encode(document)
        _decoder(kind).decode(raw)
    except (UnicodeEncodeError, OverflowError, msgspec.MsgspecError) as error:
        raise StoreFailure(
            f"a {kind.__name__} cannot be stored: {error}: {document!r:.500}",
            hint="this is a fault of fleetctl: nothing was stored; report it with this message",
        ) from error
    return raw.decode()


def decode(kind: type[T], text: str) -> T:
    """The noun that `encode` wrote. Raises StoreFailure."""
    try:
        return _decoder(kind).decode(text)
    except msgspec.MsgspecError as error:
        raise StoreFailure(
            f"a stored {kind.__name__} cannot be read: {error}: {text:.500}",
            hint="it was changed by hand, or written by another version of fleetctl: run that one, or restore a backup",
        ) from error


class Memo:
    """What was decoded before, for one who looks at the same rows again and again.

    Nouns are frozen: a document that has not changed is the same object, and who compares by identity sees at once
    what is new. Holds no more than the last look found.
    """

    def __init__(self) -> None:
        self._known: dict[type[Any], tuple[list[tuple[str, str]], dict[str, Any]]] = {}

    def decode(self, kind: type[T], rows: Iterable[tuple[str, str]]) -> dict[str, T]:
        """The nouns of these rows, by key, in their order. Raises StoreFailure."""
        found = list(rows)
        before, nouns = self._known.get(kind, ([], {}))
        if found != before:
            # Tens of thousands of rows of which a few are new: whole rows are compared, and nothing else is done.
            known = dict(before)
            nouns = {key: nouns[key] if known.get(key) == text else decode(kind, text) for key, text in found}
            self._known[kind] = (found, nouns)
        return dict(nouns)


def by_key(
    rows: Iterable[tuple[Any, ...]], key: Callable[[str], K], kind: type[T], memo: Memo | None = None
) -> dict[K, T]:
    """The nouns of rows `(key, document)`; with a `memo` only what changed is decoded. Raises StoreFailure."""
    return {key(name): noun for name, noun in (memo or Memo()).decode(kind, rows).items()}
