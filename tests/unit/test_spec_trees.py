"""YAML as a tree with lines: YAML 1.2's scalars, and a bound on everything."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fleetctl.spec.trees import DEPTH_MAX, NODES_MAX, Malformed, documents, faults, line_at, plain


@pytest.mark.parametrize(
    ("written", "value", "why"),
    [
        ("on", "on", "YAML 1.1 says true"),
        ("yes", "yes", "YAML 1.1 says true"),
        ("No", "No", "YAML 1.1 says false, and it is a country"),
        ("1:30", "1:30", "YAML 1.1 says 90"),
        ("2026-01-01", "2026-01-01", "YAML 1.1 says a date"),
        ("1_000", "1_000", "YAML 1.1 says 1000"),
        ("0o17", "0o17", "an octal number is nobody's replica count"),
        ("010", 10, "YAML 1.1 says 8"),
        ("1e3", 1000.0, "YAML 1.1 says text"),
        (".5", 0.5, "a fraction"),
        ("-3", -3, "negative"),
        (".inf", ".inf", "no number here"),
        ("true", True, "the core schema's truth"),
        ("'true'", "true", "quoted is text"),
        ('"5"', "5", "quoted is text"),
        ("9" * 5000, "9" * 5000, "Python refuses to convert it"),
        ("<<", "<<", "no merging"),
        ("|\n  a\n  b", "a\nb", "a block"),
    ],
)
def test_scalars(written: str, value: object, why: str) -> None:
    (tree,) = documents(f"a: {written}")

    assert plain(tree) == {"a": value}, why


@pytest.mark.parametrize(
    ("text", "line", "message", "why"),
    [
        ("a: 1\nb: *x", 2, "the alias *x is not read here", "no aliases, so no bombs"),
        ("a: 1\nb: &x 1", 2, "the anchor &x is not read here", "nor anchors"),
        ("a: !!python/object:os.system x", 1, "the tag tag:yaml.org,2002:python/object:os.system is not read here", ""),
        ("a: !!str 1", 1, "the tag tag:yaml.org,2002:str is not read here", "harmless ones likewise"),
        ("a:\n\tb: 1", 2, "indented with a tab", "tabs"),
        ("a: {b: 1\n\n\n", 1, "not YAML: while parsing a flow mapping", "an open bracket, where it opens"),
        ("a: 1\nb: 'x\n\nc: 1", 2, "not YAML: while scanning a quoted scalar", "an open quote, where it opens"),
        ("a: * * * * *", 1, "not YAML: while scanning an alias", "a cron expression without quotes"),
        ("a: 1\nb: c: d", 2, "not YAML: mapping values are not allowed", "text with a colon"),
        ("? [a]\n: b", 1, "a field's name must be text", "a list as a name"),
        ("a: 1\nb: \x01", 2, "not YAML: ", "a control character"),
        ("a: " + "[" * 10_000, 1, f"nested deeper than {DEPTH_MAX} levels", "deep, before it costs the stack"),
        ("a: [" + "1," * (NODES_MAX + 10) + "]", 1, f"more than {NODES_MAX} values in one file", "wide"),
    ],
)
def test_refused(text: str, line: int, message: str, why: str) -> None:
    with pytest.raises(Malformed) as caught:
        documents(text)

    assert caught.value.message.startswith(message), why
    assert caught.value.line == line
    assert caught.value.fix


def test_every_value_knows_its_line() -> None:
    (_, tree) = documents(
        "a: 1\n---\nkind: x\nscaling:\n  min: 1\n  behavior: {up: {policies: [\n    {percent: 1}]}}\n"
    )

    assert line_at(tree, ()) == 3
    assert line_at(tree, ("scaling", "min")) == 5
    assert line_at(tree, ("scaling", "behavior", "up", "policies", 0, "percent")) == 7
    assert line_at(tree, ("scaling", "max")) == 4, "what is missing is told at what lacks it"
    assert line_at(tree, ("scaling", "min", 3, "x")) == 5


def test_faults_of_the_tree_itself() -> None:
    (tree,) = documents('a:\nb: [1, ~]\nc: {d: 1, d: 2}\ne: "x\\0y"\n')

    found = {(fault.line, fault.path): fault.message for fault in faults(tree)}

    assert found == {
        (1, ("a",)): "has no value",
        (2, ("b", 1)): "has no value",
        (3, ("c", "d")): "written twice, first on line 3",
        (4, ("e",)): "text with a NUL in it",
    }


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n---\n", "null", "~"])
def test_nothing_declares_nothing(text: str) -> None:
    assert documents(text) == ()


@given(st.text(alphabet=st.sampled_from("ab: -[]{},\n\t'\"|>#&*!%@`~?0.\0é")) | st.text())
@example("a: &a [*a]")
@example("%YAML 1.1\n---\na")
@example("\ufeffa: 1")
def test_any_text_is_a_tree_or_malformed(text: str) -> None:
    try:
        found = documents(text)
    except Malformed as error:
        assert error.line >= 1
        return

    for node in found:
        plain(node)
        list(faults(node))
