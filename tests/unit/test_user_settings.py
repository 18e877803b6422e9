"""`fleetctl config set`: the user's own settings, in a file of which every other line stays as it is."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fleetctl.cli.settings import SETTINGS
from fleetctl.paths import config_file
from fleetctl.spec import contexts

Type = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(typed: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Type:
    """The same, with nothing set by the environment."""
    for name in ("FLEETCTL_TIMEOUT", *(one.variable for one in SETTINGS.values())):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    return typed


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The user's file in that home."""
    return tmp_path / "home" / "config.yaml"


def test_the_home_replaces_every_other_folder(typed: Type, file: Path, tmp_path: Path) -> None:
    assert typed("context", "add", "prod", "--home", str(tmp_path / "prod"))[0] == 0

    assert config_file() == file
    assert file.exists()
    assert not (tmp_path / "xdg").exists()


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("output", "json"), '"version": "'),
        (("output", "yaml"), "version: "),
        (("output", "csv"), "version,"),
    ],
)
def test_what_is_set_holds_for_every_command_from_then_on(typed: Type, words: tuple[str, ...], shown: str) -> None:
    before = typed("version")[1]
    assert typed("config", "set", *words)[0] == 0

    after = typed("version")[1]

    assert shown not in before
    assert shown in after
    assert typed("version", "-o", "table")[1] == before, "a flag wins"


def test_the_environment_wins_over_it_and_that_is_told(
    typed: Type, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert typed("config", "set", "output", "json")[0] == 0
    monkeypatch.setenv("FLEETCTL_OUTPUT", "csv")

    shown = typed("config", "view", "--origin")[1]
    again = typed("config", "set", "output", "yaml", "-o", "name")

    assert "output,csv,environment FLEETCTL_OUTPUT\n" in shown
    assert again[:2] == (0, "config/output\n")
    assert "warning: FLEETCTL_OUTPUT=csv is set and wins over it" in again[2]
    monkeypatch.delenv("FLEETCTL_OUTPUT")
    assert f"output,yaml,{file}:1\n" in typed("config", "view", "--origin", "-o", "csv")[1]


def test_other_lines_and_comments_stay_and_unset_takes_one_away(typed: Type, file: Path, tmp_path: Path) -> None:
    file.parent.mkdir()
    file.write_text("# mine\ncurrent: prod\nlog: error  # less\ncontexts:\n  prod: {home: /srv/fleet}  # far\n")

    assert typed("config", "set", "log", "info")[0] == 0
    assert typed("config", "set", "timeout", "5m")[0] == 0
    assert file.read_text() == (
        "timeout: 5m\n# mine\ncurrent: prod\nlog: info\ncontexts:\n  prod: {home: /srv/fleet}  # far\n"
    )
    assert typed("config", "unset", "log")[0] == 0
    assert file.read_text() == "timeout: 5m\n# mine\ncurrent: prod\ncontexts:\n  prod: {home: /srv/fleet}  # far\n"
    assert typed("context", "add", "test", "--home", str(tmp_path))[0] == 0
    assert file.read_text().startswith("timeout: 5m\n"), "contexts are written beside settings"
    assert typed("config", "unset", "timeout", "--dry-run")[2].endswith("dry run: nothing was changed\n")
    assert file.read_text().startswith("timeout: 5m\n")


def test_a_file_without_any_setting_left_is_none(typed: Type, file: Path) -> None:
    assert typed("config", "set", "log", "info")[0] == 0
    assert typed("config", "unset", "log")[0] == 0

    assert file.read_text() == ""
    assert typed("context", "ls")[0] == 0


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("set", "outptu", "json"), "'outptu' is no setting of yours", "did you mean output?"),
        (
            ("set", "output", "jsno"),
            "output is one of table, wide, json, yaml, name, csv, not 'jsno'",
            "did you mean json?",
        ),
        (("set", "max_cost_per_hour", "0"), "max_cost_per_hour is US dollars, as in 12.50, not '0'", "12.50"),
        (("set", "timeout", "soon"), "timeout is a duration, as in 15m, not 'soon'", "fleetctl config set timeout 15m"),
        (("set", "yes", "1"), "'yes' is no setting of yours", "--yes"),
        (("set", "context", "prod"), "'context' is no setting of yours", "fleetctl context use NAME"),
        (("set", "fleet.period_s", "5"), "'fleet.period_s' is no setting of yours", "kind: fleet"),
        (("unset", "xyzzy"), "'xyzzy' is no setting of yours", "one of: output, log"),
    ],
)
def test_what_cannot_be_set_is_told_with_what_was_meant(
    typed: Type, file: Path, words: tuple[str, ...], message: str, hint: str
) -> None:
    code, out, err = typed("config", *words)

    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}\nhint: ")
    assert hint in err
    assert not file.exists()


def test_a_wrong_value_in_the_file_stops_every_command_but_those_that_mend_it(typed: Type, file: Path) -> None:
    file.parent.mkdir()
    file.write_text("max_cost_per_hour: twelve\n")

    code, _, err = typed("version")

    assert (code, err) == (
        2,
        f"error: {file}:1: max_cost_per_hour is US dollars, as in 12.50, not 'twelve'\n"
        "hint: fleetctl config unset max_cost_per_hour\n",
    )
    assert typed("config", "view")[0] == 0
    assert typed("config", "unset", "max_cost_per_hour")[0] == 0
    assert typed("version")[0] == 0


def test_both_readers_of_the_file_know_the_same_settings() -> None:
    assert tuple(SETTINGS) == contexts._SETTINGS
