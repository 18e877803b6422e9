"""`fleetctl keys`: a key is told once and kept nowhere; slips are told; every command speaks JSON."""

import hashlib
import json
import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from fleetctl.cli.moments import left
from fleetctl.store import open_store

KEY = re.compile(r"fk-[A-Za-z0-9_-]{43}")
FLEET = """\
kind: fleet
gateway: {listen: 127.0.0.1:8080, auth: keys}
---
kind: tenant
name: acme
priority: normal
services: [chat]
---
kind: service
name: chat
engine: rehearsal
model: m
gpu: L40S:1
---
kind: service
name: code
engine: rehearsal
model: m
gpu: L40S:1
"""

Type = Callable[..., tuple[int, str, str]]


@pytest.fixture
def declared(tmp_path: Path, typed: Type) -> Type:
    """The same, with a fleet that is declared."""
    (tmp_path / "fleet").mkdir()
    (tmp_path / "fleet" / "all.yaml").write_text(FLEET)
    assert typed("up", "--no-wait")[0] == 0
    return typed


def everything(folder: Path) -> bytes:
    """Every byte that the fleet keeps."""
    return b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())


def test_a_new_key_is_alone_on_stdout_and_kept_nowhere(typed: Type, tmp_path: Path) -> None:
    code, out, err = typed("keys", "create", "--name", "laptop")

    key = out.strip()
    assert code == 0
    assert KEY.fullmatch(key)
    assert out == f"{key}\n"
    assert key not in err
    assert "keep what is printed above" in err
    kept = everything(tmp_path)
    assert key.encode() not in kept
    assert key[11:].encode() not in kept, "nor its secret part"
    assert hashlib.sha256(key.encode()).hexdigest().encode() in kept


def test_no_two_keys_are_alike(typed: Type) -> None:
    keys = [typed("keys", "create")[1].strip() for _ in range(20)]

    assert len({key[11:] for key in keys}) == len({key[:11] for key in keys}) == 20


def test_json_has_the_key_and_what_it_opens(declared: Type) -> None:
    code, out, _ = declared(
        "keys", "create", "--tenant", "acme", "--service", "chat", "--service", "chat", "--priority", "low",
        "--expires", "90d", "-o", "json",
    )  # fmt: skip

    made = json.loads(out)
    assert code == 0
    assert KEY.fullmatch(made["key"])
    assert made["id"] == made["key"][:11]
    assert (made["tenant"], made["services"], made["priority"]) == ("acme", ["chat"], "low")
    assert made["expires_at"] - made["created_at"] == pytest.approx(90 * 86_400)


@pytest.mark.parametrize("form", ["table", "name"])
def test_a_script_gets_the_key_alone(typed: Type, form: str) -> None:
    assert KEY.fullmatch(typed("keys", "create", "-o", form)[1].strip())


def test_keys_are_listed_by_their_public_part(typed: Type) -> None:
    assert typed("keys", "create")[0] == 0
    _, out, _ = typed("keys", "create", "--name", "ci", "--expires", "1d")
    key = out.strip()

    table, names = typed("keys", "ls")[1], typed("keys", "ls", "-o", "name")[1]
    items = json.loads(typed("keys", "ls", "-o", "json")[1])["items"]

    assert re.search(rf"{key[:11]} +ci +default +in force +all", table)
    assert names.splitlines()[1] == f"key/{key[:11]}"
    assert [(item["name"], item["state"]) for item in items] == [("", "in force"), ("ci", "in force")]
    for text in (table, names):
        assert key[11:] not in text


def test_a_revoked_key_is_listed_only_when_asked_for(typed: Type) -> None:
    key = typed("keys", "create", "--name", "ci")[1].strip()

    code, _, err = typed("keys", "revoke", "ci")

    assert code == 0
    assert f"revoked: {key[:11]} (ci) of tenant default" in err
    assert "no gateway is running" in err
    assert typed("keys", "ls")[1] == ""
    assert "revoked" in typed("keys", "ls", "-a")[1]
    again = typed("keys", "revoke", key[:11], "-o", "json")
    assert again[0] == 0, "revoked is revoked"
    assert json.loads(again[1])["items"][0]["state"] == "revoked"


@pytest.mark.parametrize("by", [str, lambda key: key[:11], lambda key: f"key/{key[:11]}"], ids=["key", "id", "subject"])
def test_a_key_is_known_by_itself_too_and_is_not_repeated(typed: Type, by: Callable[[str], str]) -> None:
    key = typed("keys", "create")[1].strip()

    code, out, err = typed("keys", "revoke", by(key), "-o", "name")

    assert (code, out) == (0, f"key/{key[:11]}\n")
    assert key not in err


def test_a_name_is_free_again_once_its_key_is_revoked(typed: Type) -> None:
    first = typed("keys", "create", "--name", "ci")[1].strip()
    code, _, err = typed("keys", "create", "--name", "ci")
    assert code == 7
    assert f"there is a key called 'ci' already: {first[:11]}" in err
    typed("keys", "revoke", "ci")

    second = typed("keys", "create", "--name", "ci")[1].strip()
    typed("keys", "revoke", "ci")

    states = {item["id"]: item["state"] for item in json.loads(typed("keys", "ls", "-a", "-o", "json")[1])["items"]}
    assert states == {first[:11]: "revoked", second[:11]: "revoked"}


@pytest.mark.parametrize(
    ("words", "code", "said", "hint"),
    [
        (("create", "--tenant", "amce"), 4, "there is no tenant 'amce'", "did you mean acme?"),
        (("create", "--tenant", "zzz"), 4, "there is no tenant 'zzz'", "tenants: acme"),
        (("create", "--service", "caht"), 4, "there is no service 'caht'", "did you mean chat?"),
        (("create", "--tenant", "acme", "--service", "code"), 2, "tenant acme may not use code", "it may use: chat"),
        (
            ("create", "--tenant", "acme", "--priority", "high"),
            2,
            "priority high is earlier than the normal of tenant acme",
            "write priority: high in kind: tenant",
        ),
        (("create", "--priority", "urgent"), 2, "'urgent' is not one of 'high', 'normal', 'low'", "--help"),
        (("create", "--expires", "soon"), 2, "'soon' is not a duration", "90s, 10m, 2h or 1d"),
        (("create", "--expires", "0s"), 2, "opens nothing", "--expires 90d"),
        (("create", "--name", "My Key"), 2, "--name 'My Key' is no name", "--name my-key"),
        (("create", "--name", "fk-mine"), 2, "looks like a key", "choose another --name"),
        (("revoke", "nothing-like-it"), 4, "there is no key 'nothing-like-it'", "fleetctl keys ls -a"),
        (("crate",), 2, "no such command 'crate'", "did you mean: fleetctl keys create"),
    ],
)
def test_slips_are_told(declared: Type, words: tuple[str, ...], code: int, said: str, hint: str) -> None:
    ended, out, err = declared("keys", *words)

    assert (ended, out) == (code, "")
    error, _, told = err.rpartition("hint: ")
    assert said in error
    assert hint in told


def test_a_slip_in_a_name_finds_the_nearest(typed: Type) -> None:
    typed("keys", "create", "--name", "laptop")

    code, out, _ = typed("keys", "revoke", "lapotp", "-o", "json")

    assert code == 4
    assert json.loads(out)["error"]["hint"] == "did you mean laptop?"


def test_what_may_be_a_key_is_never_said_again(typed: Type) -> None:
    typed("keys", "create")
    stranger = "fk-" + "A" * 43

    code, _, err = typed("keys", "revoke", stranger)

    assert code == 4
    assert "AAAA" not in err


def test_a_tenant_that_is_declared_nowhere_is_noted(typed: Type) -> None:
    code, _, err = typed("keys", "create", "--tenant", "acme")

    assert code == 0
    assert "tenant acme is declared nowhere, so it has no limits" in err


def test_up_says_how_to_make_the_first_key_and_then_no_more(declared: Type) -> None:
    assert "there is none yet; make one: fleetctl keys create" in declared("up", "--no-wait")[2]
    declared("keys", "create")

    assert "keys create" not in declared("up", "--no-wait")[2]


def test_a_key_of_an_open_fleet_is_noted(typed: Type, tmp_path: Path) -> None:
    (tmp_path / "fleet").mkdir()
    (tmp_path / "fleet" / "all.yaml").write_text(FLEET.replace("auth: keys", "auth: none"))
    brought_up = typed("up", "--no-wait")[2]

    code, _, err = typed("keys", "create")

    assert code == 0
    assert "keys create" not in brought_up
    assert "lets everybody in (auth: none)" in err


def test_tenants_of_the_files_are_stored(declared: Type, tmp_path: Path) -> None:
    with closing(open_store(str(tmp_path / "home" / "fleet.db"), read_only=True)) as store:
        (tenant,) = store.tenants()

    assert (tenant.name, tenant.priority, tenant.services) == ("acme", "normal", ("chat",))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (90 * 86400 - 1, "90d"),
        (89.4 * 86400, "89d"),
        (47 * 3600 - 1, "47h"),
        (36 * 60, "36m"),
        (20, "1m"),
        (0, "over"),
        (-5, "over"),
    ],
)
def test_what_is_left_is_said_to_the_nearest(seconds: float, text: str) -> None:
    assert left(seconds) == text


def test_a_key_that_was_just_made_for_90_days_has_90_days(typed: Type) -> None:
    assert typed("keys", "create", "--expires", "90d")[0] == 0

    (row,) = typed("keys", "ls", "--columns", "EXPIRES IN")[1].splitlines()[1:]

    assert row.strip() == "90d"
