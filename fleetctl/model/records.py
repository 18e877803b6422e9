"""Dataclasses whose methods are not compiled before they are wanted; to readers and type checkers they are the same.

The library's decorator writes and compiles the source of up to eight methods of each class when its module is imported:
half a millisecond for each of more than a hundred nouns, half of the CPU time of `fleetctl ps`. A command that looks at
a fleet makes a few kinds of noun, and reads them from documents without calling `__init__` at all.

Here the library is asked for a class without those methods: it still reads the fields, keeps their order, refuses a
mutable default and makes the slots. What it would have compiled is given as plain functions, slower by less than a
microsecond; and the library compiles `__init__`, too, once a class is made often.

What differs: a record without a docstring has its name for one; a field without a default after one with a default is
refused when the class is first called, not when it is declared (mypy says it before either); and `inspect.signature`
knows the parameters once `__init__` is compiled.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    import operator
    from collections.abc import Callable, Sequence
    from dataclasses import MISSING, Field, FrozenInstanceError, InitVar, field, fields, make_dataclass
    from dataclasses import dataclass as compiled
    from reprlib import recursive_repr
    from typing import Generic

    _PLAIN_CALLS = 256
    """Of a class, made value by value: the rows of a look, mostly. To compile takes as long as some three hundred calls
    save by it, so that what is made more often than this is compiled, and never costs more than twice of what it must.
    """
    _OPTIONS = {"frozen", "slots", "kw_only", "order"}
    """What is done here; a class that asks for more is the library's."""
    _COMPARISONS = ("__lt__", "__le__", "__gt__", "__ge__")
    _PLAIN_BASES = frozenset((object, Generic))
    _LATER = (str, InitVar)
    """Annotations that are no types: words to be read later, and what goes into `__init__` and is not kept."""
    _REFUSED = frozenset(("__setattr__", "__delattr__"))
    _REFUSED_IN_ORDER = _REFUSED.union(_COMPARISONS)

    def _noted(*, order: bool) -> Any:
        """What the library notes of a frozen class, by which it refuses one derived from it that is not."""

        @compiled(init=False, repr=False, eq=False)
        class Noted:
            """It has none of the methods that are noted, so that none is compiled."""

        noted: Any = Noted.__dataclass_params__
        noted.init = noted.repr = noted.eq = noted.frozen = True
        noted.order = order
        return noted

    _NOTED, _NOTED_IN_ORDER = _noted(order=False), _noted(order=True)

    def dataclass(cls: type | None = None, /, **wanted: bool) -> Any:
        """The library's decorator; what is not done here (not frozen, derived, …), the library does."""
        if cls is None:
            return lambda cls: dataclass(cls, **wanted)
        ours = wanted.get("frozen") and wanted.keys() <= _OPTIONS and _plain(cls, order=wanted.get("order", False))
        return _record(cls, **wanted) if ours else compiled(cls, **wanted)

    def _plain(cls: type, *, order: bool) -> bool:
        """Derived from nothing, annotated with types, all of it given to `__init__`, no method the library refuses."""
        refused = _REFUSED_IN_ORDER if order else _REFUSED
        return (
            _PLAIN_BASES.issuperset(cls.__bases__)
            and not any(kind is InitVar or isinstance(kind, _LATER) for kind in cls.__annotations__.values())
            and all(one.init for one in cls.__dict__.values() if isinstance(one, Field))
            and refused.isdisjoint(cls.__dict__)
        )

    def _record(cls: type, *, frozen: bool, slots: bool = False, kw_only: bool = False, order: bool = False) -> type:
        del frozen  # always
        # Without one the library would write a signature there, of an `__init__` that is not made yet.
        cls.__doc__ = cls.__doc__ or cls.__name__
        own = {name for name in cls.__dict__ if name != "__hash__" or _hashes(cls)}
        made = compiled(init=False, repr=False, eq=False, slots=slots, kw_only=kw_only)(cls)
        made.__dataclass_params__ = _NOTED_IN_ORDER if order else _NOTED
        for name, method in _methods(made, fields(made), slots=slots, order=order).items():
            if name not in own:
                setattr(made, name, method)
        return made

    def _hashes(cls: type) -> bool:
        """Whether it has a `__hash__` of its own: with an `__eq__` of its own Python sets it to None by itself."""
        return cls.__dict__["__hash__"] is not None or "__eq__" not in cls.__dict__

    def _methods(made: type, parts: Sequence[Field[Any]], *, slots: bool, order: bool) -> dict[str, Callable[..., Any]]:
        names = frozenset([one.name for one in parts])
        shown = [one.name for one in parts if one.repr]
        compared = _values([one.name for one in parts if one.compare])
        hashed = _values([one.name for one in parts if (one.compare if one.hash is None else one.hash)])
        calls = 0

        def __init__(self: Any, *given: Any, **named: Any) -> None:
            nonlocal calls
            calls += 1
            if calls > _PLAIN_CALLS or given or not _fill(self, made, parts, named):
                if made.__init__ is __init__:
                    made.__init__ = _compiled_init(made, parts)
                made.__init__(self, *given, **named)

        @recursive_repr()
        def __repr__(self: Any) -> str:
            inside = ", ".join([f"{name}={getattr(self, name)!r}" for name in shown])
            return f"{self.__class__.__qualname__}({inside})"

        def __eq__(self: Any, other: object) -> bool:
            return compared(self) == compared(other) if other.__class__ is self.__class__ else NotImplemented

        def __hash__(self: Any) -> int:
            return hash(hashed(self))

        def __setattr__(self: Any, name: str, value: object) -> None:
            if type(self) is made or name in names:
                raise FrozenInstanceError(f"cannot assign to field {name!r}")
            super(made, self).__setattr__(name, value)

        def __delattr__(self: Any, name: str) -> None:
            if type(self) is made or name in names:
                raise FrozenInstanceError(f"cannot delete field {name!r}")
            super(made, self).__delattr__(name)

        found = [__init__, __repr__, __eq__, __hash__, __setattr__, __delattr__]
        if slots:
            found += [__getstate__, __setstate__]
        if order:
            found += [_comparison(name, compared) for name in _COMPARISONS]
        return {one.__name__: one for one in found}

    def _comparison(name: str, compared: Callable[[Any], object]) -> Callable[..., bool]:
        compare = getattr(operator, name)

        def ordered(self: Any, other: object) -> bool:
            return compare(compared(self), compared(other)) if other.__class__ is self.__class__ else NotImplemented

        ordered.__name__ = name
        return ordered

    def _values(names: list[str]) -> Callable[[Any], object]:
        """As a tuple, which `attrgetter` gives of two and more."""
        if len(names) > 1:
            return operator.attrgetter(*names)
        return lambda one: tuple([getattr(one, name) for name in names])

    def _fill(self: Any, made: type, parts: Sequence[Field[Any]], named: dict[str, Any]) -> bool:
        """Set value by value; False, and nothing done: the compiled one must, or say what is wrong."""
        values = {}
        for one in parts:
            if one.name in named:
                values[one.name] = named[one.name]
            elif one.default is not MISSING:
                values[one.name] = one.default
            elif one.default_factory is not MISSING:
                values[one.name] = one.default_factory()
            else:
                return False
        if named.keys() - values.keys():
            return False
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if hasattr(made, "__post_init__"):
            self.__post_init__()
        return True

    def _compiled_init(made: type, parts: Sequence[Field[Any]]) -> Callable[..., None]:
        """As the library would have written it."""
        methods = {"__post_init__": made.__post_init__} if hasattr(made, "__post_init__") else {}
        alike = make_dataclass(
            made.__name__,
            [(one.name, one.type, _again(one)) for one in parts],
            namespace={"__doc__": made.__name__, **methods},
            frozen=True,
            repr=False,
            eq=False,
        )
        alike.__init__.__qualname__ = f"{made.__qualname__}.__init__"
        return alike.__init__

    def _again(one: Field[Any]) -> Any:
        default = {} if one.default is MISSING else {"default": one.default}
        factory = {} if one.default_factory is MISSING else {"default_factory": one.default_factory}
        return field(**default, **factory, kw_only=one.kw_only)

    def __getstate__(self: Any) -> list[object]:
        return [getattr(self, one.name) for one in fields(self)]

    def __setstate__(self: Any, state: list[object]) -> None:
        for one, value in zip(fields(self), state, strict=True):
            object.__setattr__(self, one.name, value)
