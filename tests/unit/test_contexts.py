"""Contexts: what their file may say, which one is meant, and words that every command takes."""

import os
from pathlib import Path

import pytest

from fleetctl.cli.everywhere import environment, taken
from fleetctl.errors import NotFound, ReadOnly, SpecError, UsageError
from fleetctl.spec.contexts import Context, Contexts, checked, chosen, read_contexts, write_contexts
from fleetctl.spec.fleet import FleetConfig
from fleetctl.wiring import fleet_store, home, load_config

FILE = """\
current: test
contexts:
  test: {home: /srv/test}
  prod:
    store: postgresql://fleet@db/fleet
    password_env: FLEET_DB
    read_only: true
    confirm: name
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's file, and an environment that names no fleet."""
    path = tmp_path / "config.yaml"
    path.write_text(FILE)
    for name in ("FLEETCTL_HOME", "FLEETCTL_CONTEXT", "FLEETCTL_STORE", "PGPASSWORD", "FLEET_DB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FLEETCTL_CONFIG", str(path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return path


def test_a_file_is_read_whole_and_written_as_it_was_read(file: Path) -> None:
    known = read_contexts(file)

    assert known.current == "test"
    assert known.contexts["test"] == Context(name="test", folder="/srv/test", line=3)
    assert known.contexts["prod"] == Context(
        name="prod",
        store="postgresql://fleet@db/fleet",
        password_env="FLEET_DB",
        read_only=True,
        typed=True,
        line=4,
    )
    write_contexts(file, known)
    again = read_contexts(file)
    assert [(one.name, one.folder, one.store, one.read_only, one.typed) for one in again.contexts.values()] == [
        ("test", "/srv/test", None, False, False),
        ("prod", None, "postgresql://fleet@db/fleet", True, True),
    ]


def test_without_a_file_there_are_none(tmp_path: Path) -> None:
    assert read_contexts(tmp_path / "nowhere.yaml") == Contexts()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "contexts:\n  a: {home: /x, readonly: true}\n",
            "config.yaml:2: contexts.a: unknown field 'readonly'; did you",
        ),
        ("contexts:\n  a: {home: /x, read_only: maybe}\n", "config.yaml:2: contexts.a.read_only: this must be true or"),
        ("contexts:\n  a: {}\n", "config.yaml:2: contexts.a: the context a has neither a home nor a store"),
        ("contexts:\n  a: {home: /x, confirm: always}\n", "contexts.a.confirm: 'always' is no way to confirm"),
        ("contexts:\n  A_B: {home: /x}\n", "contexts.A_B: 'A_B' is no name for a context"),
        ("current: tset\ncontexts:\n  test: {home: /x}\n", "config.yaml:1: current: there is no context 'tset'; did"),
        ("contexts:\n  a: {store: 'postgresql://u:secret@h/d'}\n", "a store's address holds no password"),
        ("- a\n", "config.yaml:1: this must be a mapping"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(file: Path, text: str, said: str) -> None:
    file.write_text(text)

    with pytest.raises(SpecError) as caught:
        read_contexts(file)

    assert said in caught.value.message
    assert caught.value.hint
    assert "secret" not in f"{caught.value.message}{caught.value.hint}"


def test_the_home_that_is_meant(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert home().root == Path("/srv/test")

    monkeypatch.setenv("FLEETCTL_CONTEXT", "prod")
    with pytest.raises(UsageError, match="FLEET_DB, which is not set"):
        home()
    monkeypatch.setenv("FLEET_DB", "hush")
    prod = home()
    assert (prod.root, prod.read_only, prod.typed) == (tmp_path / "state/fleetctl/contexts/prod", True, True)
    assert load_config(prod) == FleetConfig(store_url="postgresql://fleet@db/fleet")
    assert "hush" not in repr(prod) + repr(prod.environment)

    monkeypatch.setenv("FLEETCTL_HOME", str(tmp_path / "own"))
    assert home().root == tmp_path / "own", "it wins over every context"


def test_where_no_file_is_the_usual_home_is_meant(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.unlink()
    assert home().root == tmp_path / "state" / "fleetctl"

    monkeypatch.setenv("FLEETCTL_CONTEXT", "prod")
    with pytest.raises(NotFound, match="no context 'prod'"):
        home()


def test_what_a_process_of_ours_is_given_leads_to_the_same_fleet(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(f"current: a\ncontexts:\n  a: {{home: {tmp_path}, store: {tmp_path}/other.db}}\n")
    meant = home()

    for name, value in meant.environment.items():
        monkeypatch.setenv(name, value)

    assert (home().root, home().store_url) == (meant.root, f"{tmp_path}/other.db")


def test_a_read_only_context_is_not_written(tmp_path: Path) -> None:
    looked = Context(name="eyes", folder=str(tmp_path), read_only=True).home()

    with pytest.raises(ReadOnly, match="the context eyes is read-only") as caught:
        fleet_store(looked, FleetConfig())

    assert caught.value.exit_code == 5
    assert list(tmp_path.iterdir()) == []


def test_the_nearest_name_is_suggested() -> None:
    known = Contexts(contexts={"prod": Context(name="prod", folder="/x")})

    with pytest.raises(NotFound) as caught:
        chosen(known, "prdo", Path("config.yaml"))

    assert caught.value.hint == "did you mean prod?"
    assert chosen(known, "", Path("config.yaml")) is None


@pytest.mark.parametrize("name", ["", "Prod", "a b", "-a", "a" * 65])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        checked(Context(name=name, folder="/x"))


@pytest.mark.parametrize(
    ("words", "rest", "meant"),
    [
        (["--context", "prod", "ps"], ["ps"], {"FLEETCTL_CONTEXT": "prod"}),
        (["ps", "--context=prod", "-a"], ["ps", "-a"], {"FLEETCTL_CONTEXT": "prod"}),
        (["down", "--no-input", "a"], ["down", "a"], {"FLEETCTL_NO_INPUT": "1"}),
        (["down", "a", "--confirm", "prod"], ["down", "a"], {"FLEETCTL_CONFIRM": "prod"}),
        (["exec", "a", "--", "x", "--context", "y"], ["exec", "a", "--", "x", "--context", "y"], {}),
    ],
)
def test_words_for_every_command_are_taken_out(
    file: Path, words: list[str], rest: list[str], meant: dict[str, str]
) -> None:
    assert taken(words) == (rest, meant)


@pytest.mark.parametrize("words", [["ps", "--context"], ["ps", "--context="], ["--context", "--all", "ps"]])
def test_a_context_without_a_name_is_refused(file: Path, words: list[str]) -> None:
    with pytest.raises(UsageError, match="--context needs a name"):
        taken(words)


def test_a_context_and_a_home_at_once_are_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETCTL_HOME", "/srv/other")

    with pytest.raises(UsageError, match="FLEETCTL_HOME is set and wins over the context prod"):
        taken(["--context", "prod", "ps"])


def test_the_environment_is_as_it_was_afterwards(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setenv("FLEETCTL_CONFIRM", "before")

    with environment({"FLEETCTL_CONTEXT": "prod", "FLEETCTL_CONFIRM": "prod"}):
        assert (os.environ["FLEETCTL_CONTEXT"], os.environ["FLEETCTL_CONFIRM"]) == ("prod", "prod")

    assert os.environ["FLEETCTL_CONFIRM"] == "before"
    assert "FLEETCTL_CONTEXT" not in os.environ
