"""The first fleet that a user gets: it loads, and so does every alternative that it shows."""

import re
from pathlib import Path

import pytest

from fleetctl.spec.example import example_files
from fleetctl.spec.fleet import Fleet
from fleetctl.spec.load import load

CHAT = dict(example_files())["fleet/chat.yaml"]
ALTERNATIVE = re.compile(r"( *)# ([a-z_]+): ")
"""`# field: value`: prose does not look like that."""


def written(folder: Path, chat: str = CHAT) -> Fleet:
    for name, text in example_files():
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(chat if name == "fleet/chat.yaml" else text, encoding="utf-8")
    return load([folder / "fleet"])


def alternatives() -> list[int]:
    """Lines, from 0, that can be taken into use."""
    return [index for index, line in enumerate(CHAT.splitlines()) if ALTERNATIVE.match(line)]


def with_alternative(index: int) -> str:
    """The example with that line in use, and the line that it replaces gone."""
    lines = CHAT.splitlines()
    found = ALTERNATIVE.match(lines[index])
    assert found is not None
    lines[index] = found[1] + lines[index].strip().removeprefix("# ")
    start = max((at for at, line in enumerate(lines[:index]) if line == "---"), default=0)
    end = next((at for at, line in enumerate(lines) if at > index and line == "---"), len(lines))
    for at in range(start, end):
        if at != index and lines[at].startswith(f"{found[1]}{found[2]}:"):
            lines[at] = ""
    return "\n".join(lines)


def test_it_is_a_service_in_a_local_pool(tmp_path: Path) -> None:
    fleet = written(tmp_path)

    (service,) = fleet.services
    (pool,) = fleet.pools
    assert service.engine == "rehearsal"
    assert service.pool_name == pool.name
    assert pool.placement.providers == ("local",)
    assert (service.scaling.min, service.scaling.max) == (1, 4)
    assert pool.local.boot_s > 0


def test_there_are_alternatives() -> None:
    assert len(alternatives()) >= 15


@pytest.mark.parametrize("index", alternatives(), ids=lambda index: CHAT.splitlines()[index].strip()[:32])
def test_every_alternative_is_right_as_well(tmp_path: Path, index: int) -> None:
    before = written(tmp_path)

    after = written(tmp_path, with_alternative(index))

    assert (after.services, after.pools) != (before.services, before.pools), "it changes something"


def test_every_line_is_explained_within_120_columns() -> None:
    lines = CHAT.splitlines()

    unexplained = [
        line for line in lines if line and not line.startswith(("kind:", "name:", "---", "#")) and "#" not in line
    ]
    assert unexplained == ["scaling:"]
    assert max(map(len, lines)) <= 120


def test_it_names_the_schema_that_comes_with_it() -> None:
    assert CHAT.startswith("# yaml-language-server: $schema=./schema.json\n")
    assert [name for name, _ in example_files()] == ["fleet/chat.yaml", "fleet/fleet.yaml", "fleet/schema.json"]
