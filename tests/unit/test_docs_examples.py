"""Every example of the README and of docs/ is one: files are valid, command lines are taken, links lead somewhere, and
what a message is quoted to say is in the source."""

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from docs_pages import ROOT, Block, anchors, blocks, links, pages, programs, spans, typed
from test_command_hints import wrong

import fleetctl
from fleetctl.spec.gateway_file import load_gateway_file
from fleetctl.spec.presets import preset

MINIMAL = {
    "in-service": "kind: service\nname: chat\nengine: vllm\nmodel: m\ngpu: L40S:1\nscaling: {max: 4}\n",
    "in-pool": "kind: pool\nname: chat\ngpu: L40S:1\n",
    "in-fleet": "kind: fleet\nname: lab\n",
}
"""By the word behind `yaml`: what a fragment is put into; what it says itself replaces a line of this."""
BESIDE = "with-above"
"""Behind `yaml`: a file that stands beside the one above it."""
LETTERS_LEAST = 12
"""Of what is quoted in one piece: fewer are in any source."""


def ids(found: list[Block]) -> list[str]:
    return [one.where for one in found]


YAML, CONSOLE, PYTHON = blocks("yaml"), blocks("console"), blocks("python")


def test_there_is_something_to_look_at() -> None:
    assert len(YAML) >= 20
    assert len(CONSOLE) >= 20
    assert len(PYTHON) >= 8


@pytest.mark.parametrize("block", YAML, ids=ids(YAML))
def test_a_file_is_valid(block: Block, tmp_path: Path) -> None:
    """A block is a whole file, as `fleetctl validate` takes it, or says behind `yaml` what it is a fragment of."""
    file = tmp_path / "example.yaml"
    file.write_text(whole(block), encoding="utf-8")
    if "of-preset" in block.info:
        assert preset(str(file)).why
    elif block.text.startswith("kind: gateway"):
        assert load_gateway_file(file, {}).services
    else:
        fleetctl.load_fleet(file)


def whole(block: Block) -> str:
    """The text of a file that the block is, or is a part of."""
    marks = [word for word in block.info[1:] if word in MINIMAL]
    if block.info[1:] == (BESIDE,):
        above = [one for one in YAML if one.page == block.page and one.line < block.line][-1]
        return f"{above.text}---\n{block.text}"
    if not marks:
        assert block.info[1:] in ((), ("of-preset",)), f"{block.where}: known are {', '.join((*MINIMAL, BESIDE))}"
        return block.text
    own = set(re.findall(r"^([a-z_]+):", block.text, re.M))
    return "".join(f"{line}\n" for line in MINIMAL[marks[0]].splitlines() if line.split(":")[0] not in own) + block.text


@pytest.mark.parametrize("block", CONSOLE, ids=ids(CONSOLE))
def test_a_command_line_is_taken(block: Block) -> None:
    lines = list(typed(block))

    assert lines, "a console block begins what is typed with `$ `"
    assert [
        f"{line}: {why}"
        for line in lines
        for words in programs(line)
        if words[0] == "fleetctl" and (why := wrong(shlex.join(words[1:])))
    ] == []


def test_command_lines_in_the_text_are_taken() -> None:
    found = [(page.name, span) for page in pages() for span in spans(page) if span.startswith("fleetctl ")]

    assert len(found) >= 60
    assert [
        f"{page}: {span}: {why}"
        for page, span in found
        for words in programs(span)
        if words[0] == "fleetctl" and (why := wrong(shlex.join(words[1:]), whole=False))
    ] == []


@pytest.mark.parametrize("block", PYTHON, ids=ids(PYTHON))
def test_python_is_python(block: Block) -> None:
    """It is run, and type-checked, by the contract tests."""
    ast.parse(block.text)


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)

    assert dead == []


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs/README.md"
    listed = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}

    assert [str(page.relative_to(ROOT)) for page in pages() if page != index and page.resolve() not in listed] == []


# troubleshooting


def quotes() -> list[str]:
    text = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    return re.findall(r"^> `(.+)`$", text, re.M)


def pieces(quote: str) -> list[str]:
    """What it says between what a message fills in."""
    return [piece.strip() for piece in quote.split("…") if len(piece.strip()) > 1]


@cache
def said() -> dict[Path, str]:
    """By source file: every text in it, one a line; what is filled in splits it."""
    return {path: "\n".join(_texts(path)) for path in sorted((ROOT / "fleetctl").rglob("*.py"))}


def _texts(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    plain = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings say it to readers
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in plain:
            yield node.value


@pytest.mark.parametrize("quote", quotes())
def test_what_is_quoted_is_said_by_some_source(quote: str) -> None:
    parts = pieces(quote)

    assert max(map(len, parts)) >= LETTERS_LEAST, "so short a quote is in any source"
    assert [path.name for path, text in said().items() if all(part in text for part in parts)] != []


def test_a_sentence_that_nobody_says_is_found_out() -> None:
    assert [path for path, text in said().items() if "the store has been eaten by" in text] == []
    assert len(quotes()) >= 50
    assert len(set(quotes())) == len(quotes())


# the readers themselves


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("fleetctl init   # writes two files", [["fleetctl", "init"]]),
        (
            "A=1 fleetctl ps | wc -l && fleetctl down --all &",
            [["fleetctl", "ps"], ["wc", "-l"], ["fleetctl", "down", "--all"]],
        ),
        ("fleetctl gateway --hash-key < laptop.key > hash", [["fleetctl", "gateway", "--hash-key"]]),
        (
            "fleetctl schedule add chat --cron '0 6 * * *'",
            [["fleetctl", "schedule", "add", "chat", "--cron", "0 6 * * *"]],
        ),
        (
            "fleetctl gateway --replica http://127.0.0.1:8001=16",
            [["fleetctl", "gateway", "--replica", "http://127.0.0.1:8001=16"]],
        ),
    ],
)
def test_a_line_of_shell_is_taken_apart(line: str, found: list[list[str]]) -> None:
    assert programs(line) == found
