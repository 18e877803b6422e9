"""What `fleetctl` promises to those who import it, as text: names, signatures, fields."""

import dataclasses
import enum
import inspect
import re
import typing
from collections.abc import Iterator

import fleetctl


def face() -> str:
    """Every public name with its signature, its fields and its methods; a line each."""
    names = [name for name in fleetctl.__all__ if name != "__version__"]
    return "".join(f"{_short(line)}\n" for name in sorted(names) for line in _lines(name, getattr(fleetctl, name)))


def _short(line: str) -> str:
    """Types by their names: where one is kept, and how this Python writes it, is no part of the promise."""
    line = re.sub(r"\b(?:fleetctl|collections|pathlib|datetime|typing)(?:\.[a-z_]+)*\.(?=[A-Z]|datetime\b)", "", line)
    line = re.sub(r"Optional\[(Literal\[[^]]*\])\]", r"\1 | None", line)
    return re.sub(r"""(?<=: |> )(['"])([^'"]*)\1(?=[,)]|$)""", r"\2", line)


def _lines(name: str, found: object) -> Iterator[str]:
    if isinstance(found, typing.NewType):
        yield f"{name} = {found.__supertype__.__name__}"
        return
    if not isinstance(found, type):
        assert callable(found), name
        yield f"{name}{inspect.signature(found)}"
        return
    bases = [base.__name__ for base in found.__bases__ if base is not object]
    yield f"class {name}({', '.join(bases)})" if bases else f"class {name}"
    if issubclass(found, enum.Enum):
        yield from (f"    {one.name} = {one.value!r}" for one in found)
        return
    if dataclasses.is_dataclass(found):
        yield from (f"    {_field(one)}" for one in dataclasses.fields(found))
    elif not issubclass(found, Exception) and "__init__" in vars(found):
        yield f"    __init__{inspect.signature(found.__init__)}"
    for key, value in sorted(vars(found).items()):
        if key.startswith("_"):
            continue
        if isinstance(value, property):
            assert value.fget is not None
            yield f"    {key}: {inspect.formatannotation(inspect.signature(value.fget).return_annotation)}"
        elif inspect.isfunction(value):
            yield f"    {key}{inspect.signature(value)}"
    if issubclass(found, Exception):
        yield f"    code = {vars(found).get('code', getattr(found, 'code', ''))!r}"


def _field(one: "dataclasses.Field[object]") -> str:
    optional = one.default is not dataclasses.MISSING or one.default_factory is not dataclasses.MISSING
    return f"{one.name}: {inspect.formatannotation(one.type)}{' = …' if optional else ''}"


if __name__ == "__main__":
    print(face(), end="")  # noqa: T201 - to make tests/golden/library.txt anew
