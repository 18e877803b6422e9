"""Whatever is declared, a record is what the library's dataclass would be: over declarations that Hypothesis makes."""

import copy
import threading
from collections.abc import Callable
from dataclasses import KW_ONLY, MISSING, asdict, astuple, dataclass, field, fields, replace
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetctl.model import records

OFTEN = 300
"""Calls after which `__init__` is compiled."""
NAMES = ("a", "b", "c", "d")
VALUES: dict[type, st.SearchStrategy[Any]] = {
    int: st.integers(0, 3),
    float: st.floats(),
    str: st.text("xy", max_size=2),
    tuple: st.tuples(st.integers(0, 1)),
}
FACTORIES: dict[type, Callable[[], Any]] = {int: int, float: float, str: str, tuple: tuple}


@st.composite
def a_field(draw: st.DrawFn) -> tuple[type, Any]:
    """A type, and what stands behind it in the class: nothing, a value, or `field(...)`."""
    kind = draw(st.sampled_from(list(VALUES)))
    match draw(st.sampled_from(("bare", "value", "field"))):
        case "bare":
            return kind, MISSING
        case "value":
            return kind, draw(VALUES[kind])
    given_to: dict[str, Any] = {
        "repr": draw(st.booleans()),
        "compare": draw(st.booleans()),
        "hash": draw(st.sampled_from((None, True, False))),
    }
    match draw(st.sampled_from(("none", "default", "factory"))):
        case "default":
            given_to |= {"default": draw(VALUES[kind]), "init": draw(st.booleans())}
        case "factory":
            given_to |= {"default_factory": FACTORIES[kind], "init": draw(st.booleans())}
    if draw(st.booleans()):
        given_to["kw_only"] = draw(st.booleans())
    return kind, given_to


Declared = tuple[dict[str, tuple[type, Any]], dict[str, bool], bool]


@st.composite
def declarations(draw: st.DrawFn) -> Declared:
    """Fields by name, the decorator's options, and whether a marker stands before the last field."""
    parts = {name: draw(a_field()) for name in NAMES[: draw(st.integers(0, len(NAMES)))]}
    options = {name: draw(st.booleans()) for name in ("slots", "kw_only", "order")}
    return parts, {"frozen": True, **options}, draw(st.booleans())


def declared(decorator: Callable[..., Any], declaration: Declared) -> Any:
    """The class, made by this decorator; each one has its own `field(...)`, which the library writes into."""
    parts, options, marked = declaration
    kinds: dict[str, Any] = {"LIMIT": ClassVar[int]}
    body: dict[str, Any] = {"__doc__": "A noun.", "__module__": __name__, "LIMIT": 7}
    for number, (name, (kind, behind)) in enumerate(parts.items()):
        if marked and number == len(parts) - 1:
            kinds["_"] = KW_ONLY
        kinds[name] = kind
        if behind is not MISSING:
            body[name] = field(**behind) if isinstance(behind, dict) else behind
    return decorator(**options)(type("Noun", (), {**body, "__annotations__": kinds}))


def told(do: Callable[[], object]) -> object:
    """What comes of it, or which error with which words."""
    try:
        return do()
    except (TypeError, AttributeError, ValueError) as error:
        return type(error).__name__, str(error)


def looked_at(made: Any) -> object:
    """All that can be seen of one object; NaN is unequal to itself, so floats are told by their words."""
    return (
        repr(made),
        told(lambda: repr(asdict(made))),
        told(lambda: repr(astuple(made))),
        told(lambda: hash(made)),
        told(lambda: repr(copy.copy(made))),
        told(lambda: repr(copy.deepcopy(made))),
        told(lambda: copy.copy(made) == made),
        told(lambda: repr(replace(made))),
        [told(lambda one=one: setattr(made, one.name, 1)) for one in fields(made)],  # type: ignore[misc]
        [told(lambda one=one: delattr(made, one.name)) for one in fields(made)],  # type: ignore[misc]
        told(lambda: msgspec.json.encode(made)),
        hasattr(made, "__dict__"),
        made.LIMIT,
    )


@settings(max_examples=50)  # each makes two classes and compiles their methods: 50 take two seconds
@given(declarations(), st.data())
def test_what_is_declared_is_what_the_library_makes_of_it(declaration: Declared, data: st.DataObject) -> None:
    theirs = told(lambda: declared(dataclass, declaration))
    if isinstance(theirs, tuple):  # a field without a default after one with a default: said when it is called
        assert told(lambda: declared(records.dataclass, declaration)(1, 1, 1, 1, 1)) == theirs
        return
    ours, theirs = declared(records.dataclass, declaration), declared(dataclass, declaration)
    calls = data.draw(st.lists(arguments(declaration), min_size=3, max_size=5))

    mine = [told(lambda call=call: ours(*call[0], **call[1])) for call in calls]  # type: ignore[misc]
    other = [told(lambda call=call: theirs(*call[0], **call[1])) for call in calls]  # type: ignore[misc]

    assert [one[1] if isinstance(one, tuple) else looked_at(one) for one in mine] == [
        one[1] if isinstance(one, tuple) else looked_at(one) for one in other
    ]
    assert among(mine) == among(other), "equal and in order alike"
    assert [str(one) for one in fields(ours)] == [str(one) for one in fields(theirs)]
    assert ours.__match_args__ == theirs.__match_args__
    assert getattr(ours, "__slots__", None) == getattr(theirs, "__slots__", None)
    assert (ours.__name__, ours.__doc__, ours.__module__) == (theirs.__name__, theirs.__doc__, theirs.__module__)
    assert str(ours.__dataclass_params__) == str(theirs.__dataclass_params__)


@st.composite
def arguments(draw: st.DrawFn, declaration: Declared) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Mostly right: values for most fields, some by place; now and then one too many or too few."""
    parts = declaration[0]
    place = draw(st.integers(0, len(parts))) if draw(st.booleans()) else 0
    by_place = tuple(draw(VALUES[kind]) for kind, _ in list(parts.values())[:place])
    named = {name: draw(VALUES[kind]) for name, (kind, _) in list(parts.items())[place:] if draw(st.integers(0, 3))}
    return by_place, named | ({"e": 1} if draw(st.integers(0, 9)) == 0 else {})


def among(made: list[Any]) -> list[object]:
    """How each stands to each."""
    whole = [one for one in made if not isinstance(one, tuple)]
    return [
        told(lambda one=one, other=other: (one == other, one < other, one <= other, one > other, one >= other))  # type: ignore[misc]
        for one in whole
        for other in whole
    ]


@settings(max_examples=50)
@given(declarations())
def test_a_class_derived_from_a_record_is_what_it_would_be_of_the_librarys(declaration: Declared) -> None:
    def derived(decorator: Callable[..., Any]) -> Any:
        base = declared(decorator, declaration)
        body = {"__annotations__": {"more": int}, "more": 5, "__module__": __name__, "__doc__": "More."}
        return decorator(frozen=True, kw_only=True)(type("More", (base,), body))

    theirs = told(lambda: derived(dataclass))
    if isinstance(theirs, tuple):
        return
    ours = derived(records.dataclass)
    values = {name: kind() for name, (kind, _) in declaration[0].items()}

    mine, other = told(lambda: ours(**values, more=6)), told(lambda: derived(dataclass)(**values, more=6))

    assert repr(mine) == repr(other)
    assert [str(one) for one in fields(ours)] == [str(one) for one in fields(theirs)]
    if not isinstance(mine, tuple):
        assert told(lambda: setattr(mine, "more", 7)) == told(lambda: setattr(other, "more", 7))
        assert told(lambda: hash(mine)) == told(lambda: hash(other))


@pytest.mark.parametrize(
    "wanted", [{}, {"frozen": True, "eq": False}, {"slots": True}, {"frozen": True, "init": False}]
)
def test_what_is_not_done_here_the_library_does(wanted: dict[str, bool]) -> None:
    made = records.dataclass(**wanted)(type("Noun", (), {"__annotations__": {"a": int}, "__doc__": "A noun."}))
    library = dataclass(**wanted)(type("Noun", (), {"__annotations__": {"a": int}, "__doc__": "A noun."}))

    assert sorted(vars(made)) == sorted(vars(library))
    assert str(made.__dataclass_params__) == str(library.__dataclass_params__)


@pytest.mark.parametrize("name", ["__setattr__", "__lt__"])
def test_a_method_that_the_library_would_have_to_replace_is_refused(name: str) -> None:
    body = {"__annotations__": {"a": int}, "__doc__": "A noun.", name: lambda *_: None}

    with pytest.raises(TypeError, match=name):
        records.dataclass(frozen=True, order=True)(type("Noun", (), dict(body)))


def test_a_mutable_default_is_refused_when_it_is_declared() -> None:
    with pytest.raises(ValueError, match="use default_factory"):
        records.dataclass(frozen=True)(type("Noun", (), {"__annotations__": {"a": list}, "a": []}))


def test_a_record_that_holds_itself_can_be_looked_at() -> None:
    @records.dataclass(frozen=True, slots=True, kw_only=True)
    class Noun:
        """A noun."""

        parts: list[Any]

    noun = Noun(parts=[])
    noun.parts.append(noun)

    assert repr(noun).endswith("Noun(parts=[...])")


def test_many_threads_may_be_the_first_to_make_one() -> None:
    for _ in range(20):
        kind = declared(
            records.dataclass, ({"a": (int, MISSING), "b": (int, 3)}, {"frozen": True, "slots": True}, False)
        )
        made: list[object] = []
        at_once = threading.Barrier(8)

        def make(kind: Any = kind, made: list[object] = made, at_once: threading.Barrier = at_once) -> None:
            at_once.wait(10.0)
            made.extend([kind(a=number) for number in range(OFTEN // 4)])

        threads = [threading.Thread(target=make) for _ in range(8)]
        for one in threads:
            one.start()
        for one in threads:
            one.join(10.0)

        assert sorted(made, key=repr) == sorted([kind(number) for number in range(OFTEN // 4)] * 8, key=repr)


def test_the_plain_init_that_somebody_kept_does_not_compile_again() -> None:
    kind = declared(records.dataclass, ({"a": (int, MISSING)}, {"frozen": True}, False))
    kept = kind.__init__
    for number in range(OFTEN):
        kind(a=number)
    compiled = kind.__init__
    made = kind.__new__(kind)
    assert compiled is not kept

    kept(made, a=9)

    assert made == kind(9)
    assert kind.__init__ is compiled
