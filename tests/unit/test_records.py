"""Records are the library's dataclasses, but for when their methods are made."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any, ClassVar, Generic, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.model import records
from fleetctl.model.services import Scaling

T = TypeVar("T")
OFTEN = 300
"""Calls after which `__init__` is compiled."""


def kinds(decorator: Callable[..., Any]) -> dict[str, Any]:
    """The same classes, each made by this decorator."""

    @decorator(frozen=True, slots=True, kw_only=True)
    class Noun:
        """A noun."""

        LIMIT: ClassVar[int] = 3
        name: str
        count: int = 0
        parts: tuple[str, ...] = ()
        beside: dict[str, int] = field(default_factory=dict, compare=False)
        hidden: str = field(default="x", repr=False)

        @property
        def double(self) -> int:
            return 2 * self.count

    @decorator(frozen=True)
    class Place:
        row: int
        column: int = 1

    @decorator(frozen=True, slots=True)
    class Checked:
        value: int

        def __post_init__(self) -> None:
            if self.value < 0:
                raise ValueError("negative")

        def __eq__(self, other: object) -> bool:
            return isinstance(other, type(self))

    @decorator(frozen=True, slots=True, kw_only=True)
    class Box(Generic[T]):
        inside: T

    @decorator(frozen=True, slots=True)
    class Nothing:
        pass

    @decorator(frozen=True, slots=True, kw_only=True, order=True)
    class Rank:
        level: int
        name: str = ""
        note: str = field(default="", compare=False)

    return {one.__name__: one for one in (Noun, Place, Checked, Box, Nothing, Rank)}


OURS, LIBRARY = kinds(records.dataclass), kinds(dataclass)
MADE: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("Noun", (), {"name": "a"}),
    ("Noun", (), {"name": "a", "count": 2, "parts": ("b",), "beside": {"c": 1}, "hidden": "y"}),
    ("Noun", (), {}),
    ("Noun", (), {"name": "a", "other": 1}),
    ("Noun", ("a",), {}),
    ("Place", (1,), {}),
    ("Place", (1, 2), {}),
    ("Place", (1,), {"row": 2}),
    ("Place", (), {"row": 1}),
    ("Checked", (1,), {}),
    ("Checked", (), {"value": -1}),
    ("Box", (), {"inside": [1]}),
    ("Nothing", (), {}),
]


def outcome(cls: Any, given: tuple[Any, ...], named: dict[str, Any]) -> object:
    try:
        made = cls(*given, **named)
    except (TypeError, ValueError) as error:
        return type(error), str(error).rpartition(".")[2]
    return repr(made).rpartition(".")[2], [getattr(made, one.name) for one in fields(made)]


@pytest.mark.parametrize(("kind", "given", "named"), MADE)
def test_a_record_is_made_as_the_library_makes_it(kind: str, given: tuple[Any, ...], named: dict[str, Any]) -> None:
    wanted = outcome(LIBRARY[kind], given, named)

    fresh = kinds(records.dataclass)[kind]

    assert [outcome(fresh, given, named) for _ in range(OFTEN)] == [wanted] * OFTEN, "before and after it is compiled"
    assert fresh.__init__.__code__.co_filename == "<string>", "by now it is"


@pytest.mark.parametrize("kind", OURS)
def test_a_record_tells_of_itself_what_the_library_would(kind: str) -> None:
    ours, library = OURS[kind], LIBRARY[kind]

    assert is_dataclass(ours)
    assert [(one.name, one.type, one.kw_only, one.default, one.compare) for one in fields(ours)] == [
        (one.name, one.type, one.kw_only, one.default, one.compare) for one in fields(library)
    ]
    assert ours.__match_args__ == library.__match_args__
    assert hasattr(ours, "__slots__") == hasattr(library, "__slots__")
    assert getattr(ours, "__slots__", None) == getattr(library, "__slots__", None)
    assert (ours.__hash__ is None) == (library.__hash__ is None)


def test_records_are_compared_hashed_and_frozen() -> None:
    noun = OURS["Noun"]
    one, same, other = noun(name="a", beside={"x": 1}), noun(name="a"), noun(name="b")

    assert one == same, "what is not compared makes no difference"
    assert hash(one) == hash(same)
    assert one != other
    assert one != LIBRARY["Noun"](name="a")
    assert one.double == 0
    assert noun.LIMIT == 3
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'name'"):
        one.name = "c"
    with pytest.raises(FrozenInstanceError, match="cannot delete field 'name'"):
        del one.name
    assert not hasattr(one, "__dict__")


@given(st.tuples(st.integers(0, 2), st.text(max_size=1)), st.tuples(st.integers(0, 2), st.text(max_size=1)))
def test_ordered_records_are_in_the_order_of_their_values(one: tuple[int, str], other: tuple[int, str]) -> None:
    rank = OURS["Rank"]
    mine, theirs = rank(level=one[0], name=one[1], note="z"), rank(level=other[0], name=other[1])

    assert (mine < theirs, mine <= theirs, mine > theirs, mine >= theirs) == (
        one < other,
        one <= other,
        one > other,
        one >= other,
    )
    with pytest.raises(TypeError):
        assert mine < OURS["Place"](1)


def test_defaults_made_by_a_factory_are_not_shared() -> None:
    noun = kinds(records.dataclass)["Noun"]

    made = [noun(name="a") for _ in range(OFTEN)]

    assert len({id(one.beside) for one in made}) == OFTEN


def test_records_are_replaced_copied_pickled_and_taken_apart() -> None:
    scaling = Scaling(min=1, max=3)

    assert replace(scaling, max=4) == Scaling(min=1, max=4)
    assert copy.deepcopy(scaling) == scaling
    assert pickle.loads(pickle.dumps(scaling)) == scaling
    assert asdict(scaling)["max"] == 3


def test_records_are_read_from_documents() -> None:
    scaling = Scaling(min=1, max=3)

    read = msgspec.json.decode(msgspec.json.encode(scaling), type=Scaling)

    assert read == scaling
    with pytest.raises(msgspec.ValidationError, match=r"\$\.max"):
        msgspec.json.decode(b'{"max": "many"}', type=Scaling)


def test_a_class_that_the_library_derives_from_a_record_is_frozen_too() -> None:
    @dataclass(frozen=True)
    class More(OURS["Place"]):  # type: ignore[misc]
        depth: int = 0

    assert More(1, 2, 3) == More(1, 2, depth=3)
    with pytest.raises(FrozenInstanceError):
        More(1).depth = 2  # type: ignore[misc]


@given(st.integers(), st.integers(), st.integers(), st.integers())
def test_equality_and_hash_are_those_of_the_values(row: int, column: int, other_row: int, other_column: int) -> None:
    place = OURS["Place"]

    assert (place(row, column) == place(other_row, other_column)) == ((row, column) == (other_row, other_column))
    assert hash(place(row, column)) == hash(place(row, column))
