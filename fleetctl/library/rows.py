"""Lists of nouns that turn into plain dicts, as tables of a notebook take them."""

from typing import Any, TypeVar

Row = TypeVar("Row", covariant=True)


class Rows(tuple[Row, ...]):
    """A tuple of nouns, oldest or worst first as its maker says.

    `pandas.DataFrame(rows.to_dicts())` makes a table of it.
    """

    __slots__ = ()

    def to_dicts(self) -> list[dict[str, Any]]:
        """Each as a dict of its fields: text, numbers, lists and dicts, and nothing that JSON could not hold.

        Times stay Unix seconds, and what is unknown stays None. The dicts are the caller's own.
        """
        import msgspec

        return [msgspec.json.decode(msgspec.json.encode(one)) for one in self]
