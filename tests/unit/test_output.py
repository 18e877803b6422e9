"""The output contract: each form of `-o`, columns, order, changes, colours, and how much is said."""

import contextlib
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleetctl.cli import asked, dispatch, fleet_lists, output
from fleetctl.cli.asked import ASKED, FORMS, ask
from fleetctl.cli.jsonpath import rendered
from fleetctl.cli.options import LINES
from fleetctl.cli.output import Column, Format, Listing, show
from fleetctl.cli.tables import table
from fleetctl.cli.topics import TOPICS
from fleetctl.cli.verbosity import without_secrets
from fleetctl.cli.watching import changes
from fleetctl.errors import UsageError

GOLDEN = Path(__file__).parents[1] / "golden"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    name: str
    state: str
    ready: int
    price: float | None
    age_s: float
    parts: tuple[str, ...] = ()


ROWS = (
    Row(name="chat-8b", state="ready", ready=12, price=21.6, age_s=90.0, parts=("a", "b")),
    Row(name="a-service-of-a-long-name", state="no capacity", ready=2, price=None, age_s=7200.0),
    Row(name='say "hi", all', state="idle", ready=0, price=0.0, age_s=5.0),
)
COLUMNS: tuple[Column[Row], ...] = (
    Column(header="SERVICE", cell=lambda row: row.name),
    Column(header="STATE", cell=lambda row: row.state),
    Column(header="READY", cell=lambda row: str(row.ready), right=True),
    Column(header="$/H", cell=lambda row: "?" if row.price is None else f"${row.price:.2f}", right=True, drop=1),
    Column(header="AGE", cell=lambda row: f"{row.age_s:.0f}s", right=True, drop=2),
    Column(header="PARTS", cell=lambda row: ",".join(row.parts) or "-", wide=True),
)
LISTING = Listing(rows=ROWS, columns=COLUMNS, name=lambda row: f"service/{row.name}", empty="nothing", notes=["a note"])


@pytest.fixture(autouse=True)
def nothing_is_asked() -> Iterator[None]:
    """The answer to one command line is the process's own; what is asked here is forgotten at the end."""
    yield
    ASKED.clear()


def printed(*words: str) -> tuple[str, str]:
    """stdout and stderr of the list, as these words ask for it."""
    ask(words, (), {})
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        show(LISTING, Format(ASKED.made))
    return out.getvalue(), err.getvalue()


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("output_table.txt", ()),
        ("output_wide.txt", ("-o", "wide")),
        ("output_json.txt", ("-o", "json")),
        ("output_yaml.txt", ("-o=yaml",)),
        ("output_name.txt", ("--output=name",)),
        ("output_csv.txt", ("-ocsv",)),
        ("output_jsonpath.txt", ("-o", 'jsonpath={range .items[*]}{.name}{"\\t"}{.price}{"\\n"}{end}')),
        ("output_columns.txt", ("--columns", "ready,Service,parts", "--sort-by=-ready")),
        ("output_csv_columns.txt", ("--columns=price,name", "--sort-by", "age", "-o", "csv")),
        ("output_name.txt", ("-q",)),
    ],
)
def test_each_form_is_as_it_was(file: str, words: tuple[str, ...]) -> None:
    out, err = printed(*words)

    assert out == (GOLDEN / file).read_text(encoding="utf-8")
    assert err == ("a note\n" if ASKED.made == "table" and not ASKED.quiet else "")


def test_topics_are_as_they_were() -> None:
    assert "\n".join(TOPICS.values()) == (GOLDEN / "help_topics.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [200, 80, 60, 59, 40, 20, 1])
def test_a_table_of_any_width_cuts_no_identifier(width: int) -> None:
    columns = [column for column in COLUMNS if not column.wide]

    text = table(ROWS, columns, width=width)

    assert all(row.name in text for row in ROWS)
    assert all(row.state in text for row in ROWS)
    cards = "SERVICE" not in text
    assert cards == (width < 49), "as cards where not even the least columns fit"
    if not cards:
        assert max(map(len, text.splitlines())) <= max(width, 49)


def test_cards_are_as_they_were() -> None:
    columns = [column for column in COLUMNS if not column.wide]

    assert table(ROWS, columns, width=30) == (GOLDEN / "output_cards.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("--columns", "stat"), "there is no column 'stat'", "did you mean 'state'?"),
        (("--sort-by", "redy"), "there is no column or field 'redy'", "did you mean 'ready'?"),
        (("-o", "csv", "--columns", "nam"), "there is no field 'nam'", "did you mean 'name'?"),
        (("-o", "json", "--columns", "name"), "--columns is for tables and csv, and this is json", "-o jsonpath="),
        (("-o", "jso"), "'jso' is no form of output (-o)", "did you mean 'json'?"),
        (("-o", "json=x"), "'json=x' is no form of output (-o)", "did you mean 'json'?"),
        (("--output=tabel",), "'tabel' is no form of output (--output)", "did you mean 'table'?"),
        (("-o", "jsonpath"), "jsonpath= needs a template", "help output"),
        (("-o", "jsonpath={.items"), "jsonpath: a brace is open", "help output"),
        (("-o", "jsonpath={.items[?(@.a)]}"), "jsonpath: '[?(@.a)]' in {.items[?(@.a)]} is not understood", ""),
        (("-o", "jsonpath={range .items[*]}{.name}"), "jsonpath: {range …} without {end}", ""),
        (("-o", "jsonpath={end}"), "jsonpath: {end} without {range …}", ""),
        (("-o", "jsonpath={.items[*].nme}"), "jsonpath: .items[*] has no 'nme'; did you mean 'name'?", "it has name"),
        (("-o", "jsonpath={.items.name}"), "jsonpath: .items is a list", ""),
        (("-o", "jsonpath={.items[7].name}"), "jsonpath: .items has 3 items, so none is [7]", ""),
        (("-o", "jsonpath={.kind.name}"), "jsonpath: .kind is 'List', which has no 'name'", ""),
        (("--columns",), "option '--columns' requires an argument", ""),
    ],
)
def test_what_is_not_understood_is_said_with_what_may_be_meant(words: tuple[str, ...], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as refused:
        printed(*words)

    assert message in refused.value.message
    assert hint in refused.value.hint


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{.a}", "1"),
        ("{.b[*].c}", "x y"),
        ("{.b[-1].c} and {.b[0]['c']}", "y and x"),
        ("{$.a}{@.a}", "11"),
        ("{.b[0]}", '{"c": "x"}'),
        ("{.none}|{.yes}", "|true"),
        ('{"{}\\t\\"\\n"}', '{}\t"\n'),
        ("{.b}", '[{"c": "x"}, {"c": "y"}]'),
        ("{range .b[*]}<{.c}>{end}", "<x><y>"),
        ("{.with-dash}{['with dash']}", "23"),
        ("no braces", "no braces"),
        ("{.empty[*].c}", ""),
    ],
)
def test_templates_are_read_as_kubectl_reads_them(template: str, text: str) -> None:
    body = {
        "a": 1,
        "b": [{"c": "x"}, {"c": "y"}],
        "none": None,
        "yes": True,
        "with-dash": 2,
        "with dash": 3,
        "empty": [],
    }

    assert rendered(template, body) == text


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("before", [True, False])
def test_an_error_comes_in_the_form_that_was_asked_for(
    form: str, before: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["-o", "jsonpath={.error.code}" if form == "jsonpath" else form]

    code = dispatch.run([*given, "nothing"] if before else ["nothing", *given])

    told = capsys.readouterr()
    assert code == 2
    if form in ("table", "wide", "name"):
        assert (told.out, told.err) == (
            "",
            "error: there is no command 'nothing'\nhint: see them all: fleetctl --help\n",
        )
    else:
        assert told.err == ""
        assert (
            told.out
            == {
                "json": '{"error": {"code": "usage", "message": "there is no command \'nothing\'", "hint":'
                ' "see them all: fleetctl --help", "retryable": false}}\n',
                "yaml": "error:\n  code: usage\n  message: there is no command 'nothing'\n"
                "  hint: 'see them all: fleetctl --help'\n  retryable: false\n",
                "csv": "error.code,error.message,error.hint,error.retryable\n"
                "usage,there is no command 'nothing',see them all: fleetctl --help,false\n",
                "jsonpath": "usage\n",
            }[form]
        )


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (["-q", "ps", "-r"], ["ps", "-r"]),
        (["ps", "-vv", "--no-color", "-o", "wide"], ["ps"]),
        (["exec", "chat", "--", "ls", "-v", "-o", "x"], ["exec", "chat", "--", "ls", "-v", "-o", "x"]),
        (["up", "--model", "-q"], ["up", "--model", "-q"]),
        (["ps", "-o"], ["ps", "-o"]),
    ],
)
def test_words_for_every_command_are_taken_wherever_they_stand(arguments: list[str], left: list[str]) -> None:
    assert ask(arguments, ("--model",), {}) == left


@pytest.mark.parametrize(
    ("words", "environment", "terminal", "coloured"),
    [
        ((), {}, True, True),
        ((), {}, False, False),
        ((), {"NO_COLOR": "1"}, True, False),
        ((), {"NO_COLOR": ""}, True, True),
        ((), {"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ((), {"FORCE_COLOR": "1"}, False, True),
        ((), {"FORCE_COLOR": "0"}, False, False),
        ((), {"CLICOLOR": "0"}, True, False),
        ((), {"TERM": "dumb"}, True, False),
        (("--color",), {"NO_COLOR": "1"}, False, True),
        (("--no-color",), {"FORCE_COLOR": "1"}, True, False),
    ],
)
def test_one_place_decides_on_colours(
    words: tuple[str, ...], environment: dict[str, str], terminal: bool, coloured: bool
) -> None:
    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    ask(words, (), environment)

    assert ASKED.coloured(Stream(), environment) is coloured


@pytest.mark.parametrize(
    ("words", "level", "verbosity"),
    [
        ((), "", 0),
        (("-q",), "debug", -1),
        (("-v",), "", 1),
        (("-v", "-v"), "", 2),
        (("--debug",), "", 2),
        ((), "info", 1),
        ((), "ERROR", -1),
    ],
)
def test_flags_say_more_than_the_environment(words: tuple[str, ...], level: str, verbosity: int) -> None:
    ask(words, (), {"FLEETCTL_LOG": level})

    assert ASKED.verbosity == verbosity


@pytest.mark.parametrize("name", ["FLEETCTL_OUTPUT", "FLEETCTL_LOG"])
def test_a_wrong_environment_is_told_by_name(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        ask((), (), {name: "loud"})


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ("Authorization: Bearer abcdef.123-456", "abcdef"),
        ("{'authorization': 'AWS4-HMAC-SHA256 Credential=AKIAABCDEFGHIJKLMNOP/x'}", "AKIAABCDEFGHIJKLMNOP"),
        ("GET https://user:hunter2@host/path", "hunter2"),
        ("POST /login?password=hunter2&x=1", "hunter2"),
        ("api_key='hunter2'", "hunter2"),
        ('{"client_secret": "hunter2", "x": 1}', "hunter2"),
        ("X-Amz-Security-Token:hunter2", "hunter2"),
        ("the key sk-abcdefgh12345678 was used", "abcdefgh"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----", "hunter2"),
    ],
)
def test_secrets_are_taken_out_of_what_is_logged(line: str, secret: str) -> None:
    told = without_secrets(line)

    assert secret not in told
    assert "[redacted]" in told


def test_what_is_no_secret_is_told() -> None:
    line = "GET http://127.0.0.1:8080/v1/models -> 200 in 0.012 s, 12 tokens/s, service/chat"

    assert without_secrets(line) == line


def test_changes_are_those_that_time_alone_does_not_make() -> None:
    before = {"a": {"state": "ready", "age_s": 1.0}, "b": {"state": "ready", "age_s": 1.0}, "c": {"state": "idle"}}
    now = {"a": {"state": "ready", "age_s": 3.0}, "b": {"state": "draining", "age_s": 3.0}, "d": {"state": "starting"}}

    assert [(kind, name) for kind, name, _ in changes(before, now)] == [
        ("MODIFIED", "b"),
        ("ADDED", "d"),
        ("DELETED", "c"),
    ]


def test_a_quick_command_takes_the_words_that_it_is_declared_with() -> None:
    for command, module in dispatch.QUICK.items():
        function: Callable[..., None] = dispatch._function(module, command)
        declared = {param for _, param, _, _ in LINES[command][1]}
        assert declared | {"output"} == set(function.__kwdefaults__), command
        assert not LINES[command][2], "words without an option are read by typer"
        assert {takes for _, _, takes, _ in LINES[command][1]} <= {"", "word"}


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ([], {}),
        (["-r", "--watch", "--interval", "1s"], {"replicas": True, "watch": True, "interval": "1s"}),
        (["-rw"], None),
        (["--help"], None),
        (["--interval"], None),
        (["--interval=1s"], None),
        (["chat"], None),
    ],
)
def test_a_plain_line_is_read_quickly_and_every_other_by_typer(
    words: list[str], given: dict[str, object] | None
) -> None:
    ask(["ps"], (), {})

    found = dispatch._quick("ps", words)

    assert found == (None if given is None else {**given, "output": Format.TABLE})


def test_no_module_but_one_reads_the_environment_of_the_output() -> None:
    """Else two places would decide."""
    folder = Path(output.__file__).parent
    words = re.compile(r"environ.*(NO_COLOR|FORCE_COLOR|CLICOLOR|FLEETCTL_OUTPUT|FLEETCTL_LOG)")

    found = [path.name for path in folder.glob("*.py") if words.search(path.read_text(encoding="utf-8"))]

    assert found in ([Path(asked.__file__).name], [])


def test_wide_columns_of_ps_are_named_once() -> None:
    for columns in (fleet_lists.SERVICES, fleet_lists.REPLICAS, fleet_lists.INSTANCES):
        headers = [column.header for column in columns]
        assert len(set(headers)) == len(headers)
        assert all(column.drop == 0 for column in columns if column.wide), "they are left out, not dropped"


def test_json_of_a_list_is_an_envelope() -> None:
    out, _ = printed("-o", "json")

    body = json.loads(out)
    assert (body["apiVersion"], body["kind"], len(body["items"])) == ("fleetctl.dev/v1alpha1", "List", 3)
