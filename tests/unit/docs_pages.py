"""What stands in the README and in docs/: fenced blocks, command lines, quotes, links."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^( *)(```+)([^\n`]*)\n(.*?)^\1\2 *$", re.M | re.S)
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.M)
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block. `info` are the words behind its fence, the language first."""

    page: Path
    line: int
    info: tuple[str, ...]
    text: str

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(language: str) -> list[Block]:
    """The blocks of that language, on every page."""
    found = []
    for page in pages():
        text = page.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            info = tuple(match[3].split())
            if info[:1] == (language,):
                line = text.count("\n", 0, match.start()) + 1
                inner = "".join(one.removeprefix(match[1]) for one in match[4].splitlines(keepends=True))
                found.append(Block(page=page, line=line, info=info, text=inner))
    return found


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def spans(page: Path) -> list[str]:
    """What stands between backticks in the prose, each on one line."""
    return [" ".join(found.split()) for found in SPAN.findall(prose(page))]


def typed(block: Block) -> Iterator[str]:
    """What is typed at the prompts of a console block, lines that go on joined."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            yield line.removeprefix("$ ")


def programs(line: str) -> list[list[str]]:
    """The words of each program that a line of shell runs: no redirections, no variables before it."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.commenters = "#"
    lexer.wordchars += "…→[]:,@%+$"
    found: list[list[str]] = [[]]
    redirected = False
    for word in lexer:
        if set(word) <= set("();&|"):
            found.append([])
        elif set(word) <= set("<>"):
            redirected = True
        elif redirected:
            redirected = False
        elif found[-1] or not re.fullmatch(r"[A-Z_]+=.*", word):
            found[-1].append(word)
    return [words for words in found if words]


def anchors(page: Path) -> set[str]:
    """Where a link into the page may lead, as GitHub makes them of headings."""
    headings = [SPAN.sub(r"\1", heading) for heading in HEADING.findall(prose(page))]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    """Those that lead to a file of ours, or to a place on the page."""
    return [link for link in LINK.findall(prose(page)) if "://" not in link and not link.startswith("mailto:")]
