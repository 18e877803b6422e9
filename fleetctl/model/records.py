"""Dataclasses whose methods are not compiled before they are wanted; to readers and type checkers they are the same.

The library's decorator writes and compiles the source of up to eight methods of each class when its module is imported:
half a millisecond for each of more than a hundred nouns, five times what it takes Python to start. A command that looks
at a fleet makes a few kinds of noun, and reads them from documents without calling `__init__` at all.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    import inspect
    import operator
    from collections.abc import Callable
    from dataclasses import MISSING, Field, FrozenInstanceError, InitVar, field, fields, make_dataclass
    from dataclasses import dataclass as compiled
    from typing import ClassVar, Generic, get_origin

    _PLAIN_CALLS = 2
    """Of a class, made value by value: its default in another noun, mostly. What is made more often is compiled."""

    @compiled(frozen=True)
    class _Sample:
        """What the library says of a frozen one, and of a field."""

        field: int

    @compiled(frozen=True, order=True)
    class _OrderedSample:
        """And of one with an order."""

    _PARAMS, _ORDERED_PARAMS = _Sample.__dataclass_params__, _OrderedSample.__dataclass_params__
    _FIELD_TYPE = fields(_Sample)[0]._field_type

    def dataclass(cls: type | None = None, /, **wanted: bool) -> Any:
        """The library's decorator; what is not done here (not frozen, derived, …), the library does."""
        if cls is None:
            return lambda cls: dataclass(cls, **wanted)
        ours = wanted.get("frozen") and set(wanted) <= {"frozen", "slots", "kw_only", "order"} and _plain(cls)
        return _record(cls, **wanted) if ours else compiled(cls, **wanted)

    def _plain(cls: type) -> bool:
        kinds = inspect.get_annotations(cls).values()
        return set(cls.__bases__) <= {object, Generic} and not any(
            isinstance(kind, str | InitVar) or kind is InitVar for kind in kinds
        )

    class _Fields:
        """`__dataclass_fields__` of a record, made when somebody asks for it."""

        def __init__(self, kinds: dict[str, Any], given: dict[str, Any], *, kw_only: bool) -> None:
            self._kinds, self._given, self._kw_only = kinds, given, kw_only

        def __get__(self, _: object, made: type) -> dict[str, Field[Any]]:
            made.__dataclass_fields__ = {name: self._field(name, kind) for name, kind in self._kinds.items()}
            return made.__dataclass_fields__

        def _field(self, name: str, kind: Any) -> Field[Any]:
            found = self._given.get(name, MISSING)
            one = found if isinstance(found, Field) else field(default=found)
            one.name, one.type, one._field_type = name, kind, _FIELD_TYPE
            if one.kw_only is MISSING:
                one.kw_only = self._kw_only
            return one

    def _record(cls: type, *, frozen: bool, slots: bool = False, kw_only: bool = False, order: bool = False) -> type:
        del frozen  # always
        kinds = inspect.get_annotations(cls)
        names = [name for name, kind in kinds.items() if kind is not ClassVar and get_origin(kind) is not ClassVar]
        given = {name: cls.__dict__[name] for name in names if name in cls.__dict__}
        special = {name: one for name, one in given.items() if isinstance(one, Field)}
        made = _slotted(cls, names) if slots else _cleared(cls, special)
        made.__dataclass_fields__ = _Fields({name: kinds[name] for name in names}, given, kw_only=kw_only)
        made.__dataclass_params__ = _ORDERED_PARAMS if order else _PARAMS
        made.__match_args__ = () if kw_only else tuple(names)
        _give_methods(made, names, special, slots=slots)
        if order:
            _give_order(made, names, special)
        return made

    def _slotted(cls: type, names: list[str]) -> type:
        """The class made anew: only a new one can have slots."""
        body = {name: one for name, one in cls.__dict__.items() if name not in names}
        body.pop("__dict__", None)
        body.pop("__weakref__", None)
        made = type(cls)(cls.__name__, cls.__bases__, {**body, "__slots__": tuple(names)})
        made.__qualname__ = cls.__qualname__
        return made

    def _cleared(cls: type, special: dict[str, Field[Any]]) -> type:
        """The class itself, in which a field's default is its attribute."""
        for name, one in special.items():
            if one.default is MISSING:
                delattr(cls, name)
            else:
                setattr(cls, name, one.default)
        return cls

    def _give_methods(made: type, names: list[str], special: dict[str, Field[Any]], *, slots: bool) -> None:
        all_names = frozenset(names)
        shown = [name for name in names if name not in special or special[name].repr]
        compared = _values([name for name in names if name not in special or special[name].compare])
        hashed = _values(
            [
                name
                for name in names
                if name not in special or (special[name].compare if special[name].hash is None else special[name].hash)
            ]
        )
        calls = 0

        def __init__(self: Any, *given: Any, **named: Any) -> None:
            nonlocal calls
            calls += 1
            if calls > _PLAIN_CALLS or given or not _set(self, made, named):
                made.__init__ = _init(made)
                made.__init__(self, *given, **named)

        def __repr__(self: Any) -> str:
            inside = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
            return f"{self.__class__.__qualname__}({inside})"

        def __eq__(self: Any, other: object) -> bool:
            return compared(self) == compared(other) if other.__class__ is self.__class__ else NotImplemented

        def __hash__(self: Any) -> int:
            return hash(hashed(self))

        def __setattr__(self: Any, name: str, value: object) -> None:
            if type(self) is made or name in all_names:
                raise FrozenInstanceError(f"cannot assign to field {name!r}")
            object.__setattr__(self, name, value)

        def __delattr__(self: Any, name: str) -> None:
            if type(self) is made or name in all_names:
                raise FrozenInstanceError(f"cannot delete field {name!r}")
            object.__delattr__(self, name)

        methods = [__init__, __repr__, __eq__, __hash__, __setattr__, __delattr__]
        for method in [*methods, __getstate__, __setstate__] if slots else methods:
            if made.__dict__.get(method.__name__) is None:  # where `__eq__` is of its own, `__hash__` is None
                setattr(made, method.__name__, method)

    def _give_order(made: type, names: list[str], special: dict[str, Field[Any]]) -> None:
        """By the values of its fields, one after the other."""
        compared = _values([name for name in names if name not in special or special[name].compare])

        def method(name: str, compare: Callable[[object, object], bool]) -> None:
            def ordered(self: Any, other: object) -> bool:
                return compare(compared(self), compared(other)) if other.__class__ is self.__class__ else NotImplemented

            ordered.__name__ = name
            setattr(made, name, ordered)

        for name in ("__lt__", "__le__", "__gt__", "__ge__"):
            method(name, getattr(operator, name))

    def _values(names: list[str]) -> Callable[[Any], object]:
        return operator.attrgetter(*names) if names else lambda _: ()

    def _set(self: Any, made: type, named: dict[str, Any]) -> bool:
        """Make it value by value; False, and nothing done: the compiled one must, or say what is wrong."""
        values = {}
        for one in fields(made):
            if not one.init:
                return False
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

    def _init(made: type) -> Callable[..., None]:
        """As the library would have written it."""
        methods = {"__post_init__": made.__post_init__} if hasattr(made, "__post_init__") else {}
        alike = make_dataclass(
            made.__name__,
            [(one.name, one.type, _again(one)) for one in fields(made)],
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
        return field(**default, **factory, init=one.init, kw_only=one.kw_only)

    def __getstate__(self: Any) -> list[object]:
        return [getattr(self, one.name) for one in fields(self)]

    def __setstate__(self: Any, state: list[object]) -> None:
        for one, value in zip(fields(self), state, strict=True):
            object.__setattr__(self, one.name, value)
