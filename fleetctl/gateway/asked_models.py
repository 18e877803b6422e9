"""Which model a request asks for. Apart from the routing, for msgspec reads only into classes of Python's own."""

from typing import Final

import msgspec


class _Asked(msgspec.Struct, frozen=True, gc=False):
    """A body, of which only this is read; duplicates: the last one counts, as in the engines' own JSON parsers."""

    model: str | None = None


_BODY: Final = msgspec.json.Decoder(_Asked)


def model_in(body: bytes) -> str | None:
    """None: it names none. Raises `ValueError` for one that is no JSON, or whose `model` is no string."""
    try:
        return _BODY.decode(body).model
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # the last: brackets, a thousand deep
        raise ValueError(str(error)) from None
