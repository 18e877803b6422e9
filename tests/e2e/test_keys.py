"""A fleet whose gateway asks for keys: made, used, limited, revoked; the key itself stays with its owner alone."""

import contextlib
import http.client
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psutil
import pytest
from fleet_home import FleetHome, fleet_home, fleet_text, service_text, until

from fleetctl.decide.identity import month_of
from fleetctl.store import open_store

AT_ONCE_S = 1.0
"""How soon a key that is revoked opens nothing any more."""
TOLD_S = 60.0
"""How soon what was used is stored: the gateway is asked every five seconds; the rest is for a busy computer."""
REQUESTS = 3
"""A minute, of the tenant that has a limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: Any

    @property
    def code(self) -> str:
        return str(self.body["error"]["code"])


def ask(fleet: FleetHome, key: str | None, *, header: str = "Authorization") -> Answer:
    """One completion, as a client with this key asks for it."""
    value = key if header != "Authorization" else f"Bearer {key}"
    connection = http.client.HTTPConnection("127.0.0.1", fleet.port, timeout=30.0)
    try:
        connection.request(
            "POST",
            "/chat/v1/completions",
            body=json.dumps({"model": "rehearsal-8b", "prompt": "one two three", "max_tokens": 4}),
            headers={"Content-Type": "application/json", **({} if key is None else {header: str(value)})},
        )
        answer = connection.getresponse()
        return Answer(
            status=answer.status,
            headers={name.lower(): text for name, text in answer.getheaders()},
            body=json.loads(answer.read()),
        )
    finally:
        connection.close()


def made(fleet: FleetHome, *words: str) -> dict[str, Any]:
    found = fleet.run("keys", "create", *words, "-o", "json").json()
    assert isinstance(found, dict)
    return found


def refused_within(fleet: FleetHome, key: str, seconds: float) -> None:
    """No request that is sent later than that gets in; one that was sent before may be answered whenever it is."""
    deadline = time.monotonic() + seconds
    while True:
        sent_at = time.monotonic()
        if ask(fleet, key).status == 401:
            return
        assert sent_at < deadline, f"the key still opens after {seconds:g} s"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def fleet() -> Iterator[FleetHome]:
    """One replica behind a gateway that asks for keys, and a controller."""
    with fleet_home() as made_:
        text = fleet_text(made_.port).replace(", auth: none", "")
        tenant = f"kind: tenant\nname: acme\nlimits: {{requests_per_minute: {REQUESTS}, in_flight: 2}}\n"
        made_.write("fleet.yaml", text + "---\n" + tenant + "---\n" + service_text("chat"))
        up = made_.run("up", "-f", "fleet.yaml")
        assert "the gateway asks for an API key, and there is none yet; make one: fleetctl keys create" in up.err
        made_.run("daemon", "start")
        yield made_


def test_who_has_no_key_or_a_wrong_one_does_not_enter(fleet: FleetHome) -> None:
    nobody, stranger = ask(fleet, None), ask(fleet, "fk-" + "x" * 43)

    assert (nobody.status, nobody.code) == (401, "missing_api_key")
    assert (stranger.status, stranger.code) == (401, "invalid_api_key")
    assert "bearer" in nobody.headers["www-authenticate"].lower()


def test_a_new_key_opens_at_once_and_a_revoked_one_opens_nothing_within_a_second(fleet: FleetHome) -> None:
    key = made(fleet, "--name", "laptop")
    opened = [ask(fleet, key["key"], header=header) for header in ("Authorization", "x-api-key", "api-key")]

    revoked = fleet.run("keys", "revoke", "laptop")
    refused_within(fleet, key["key"], AT_ONCE_S)

    assert [answer.status for answer in opened] == [200, 200, 200]
    assert opened[0].body["choices"]
    assert f"revoked: {key['id']} (laptop)" in revoked.err
    assert "the running gateway knows it already" in revoked.err


def test_a_key_that_expires_opens_until_then(fleet: FleetHome) -> None:
    began = time.monotonic()
    key = made(fleet, "--expires", "3s")
    opened = ask(fleet, key["key"]).status
    seen_within_s = time.monotonic() - began

    refused_within(fleet, key["key"], 3.0 + AT_ONCE_S)

    assert opened == 200 or seen_within_s > 3.0


def test_a_tenants_limit_is_told_and_is_its_own(fleet: FleetHome) -> None:
    limited, other = made(fleet, "--tenant", "acme"), made(fleet)
    answers = [ask(fleet, limited["key"]) for _ in range(REQUESTS + 1)]

    refused = answers[-1]
    assert [answer.status for answer in answers] == [200] * REQUESTS + [429]
    assert refused.code == "tenant_requests"
    assert "Tenant acme may send 3 requests per minute" in refused.body["error"]["message"]
    assert 1 <= int(refused.headers["retry-after"]) <= 60 / REQUESTS
    assert ask(fleet, other["key"]).status == 200


def test_what_was_used_is_stored_by_tenant_and_key_and_outlives_the_gateway(fleet: FleetHome) -> None:
    key = made(fleet)
    used = ask(fleet, key["key"]).body["usage"]["total_tokens"]
    assert used > 0

    def stored() -> dict[str, int]:
        store = open_store(str(fleet.root / "fleet.db"), read_only=True)
        try:
            return dict(store.tokens_used(month_of(time.time())))
        finally:
            store.close()

    def last_used() -> bool:
        keys = fleet.run("keys", "ls", "-o", "json").json()["items"]
        return any(one["id"] == key["id"] and one["last_used_at"] is not None for one in keys)

    until("the key's use is stored", last_used, within_s=TOLD_S, every_s=0.5)
    until("the tokens are stored", lambda: stored().get("default", 0) >= used, within_s=TOLD_S)
    before = stored()["default"]

    kill_gateway(fleet)
    answer = until("the next gateway knows the key", lambda: answered(fleet, key["key"]), within_s=30.0)

    until(
        "both gateways' use is added up",
        lambda: stored()["default"] >= before + answer.body["usage"]["total_tokens"],
        within_s=TOLD_S,
    )


def kill_gateway(fleet: FleetHome) -> None:
    found = [process for process in fleet.processes() if "fleetctl.gateway" in process.cmdline()]
    assert found
    for process in found:
        os.kill(process.pid, signal.SIGKILL)


def answered(fleet: FleetHome, key: str) -> Answer | None:
    try:
        answer = ask(fleet, key)
    except (OSError, http.client.HTTPException):
        return None
    return answer if answer.status == 200 else None


def test_without_a_controller_the_gateway_is_told_by_the_command_itself(fleet: FleetHome) -> None:
    fleet.run("daemon", "stop")
    key = made(fleet, "--name", "alone")
    opened = ask(fleet, key["key"]).status

    revoked = fleet.run("keys", "revoke", "alone")

    assert opened == 200
    assert ask(fleet, key["key"]).status == 401
    assert "the running gateway knows it already" in revoked.err
    fleet.run("daemon", "start")


def test_keys_are_in_no_file_and_in_no_command_line(fleet: FleetHome) -> None:
    keys = [made(fleet, "--name", f"secret-{number}")["key"] for number in range(3)]
    for key in keys:
        assert ask(fleet, key).status == 200
    fleet.run("keys", "revoke", "secret-0")
    assert ask(fleet, keys[0]).status == 401

    secrets = [key[11:].encode() for key in keys]
    read = 0
    for file in fleet.root.rglob("*"):
        if not file.is_file():
            continue
        try:
            content = file.read_bytes()
        except FileNotFoundError:  # replaced by its next version just now
            continue
        read += len(content)
        assert not any(secret in content for secret in secrets), file
    assert read > 10_000, "there is something to look at"
    for process in fleet.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            words = "\0".join(process.cmdline()).encode()
            assert not any(secret in words for secret in secrets)


def test_an_open_fleet_asks_for_none_as_soon_as_its_file_says_so(fleet: FleetHome) -> None:
    file = fleet.files / "fleet.yaml"
    closed = file.read_text()
    file.write_text(closed.replace("gateway: {listen:", "gateway: {auth: none, listen:"))
    fleet.run("up", "-f", "fleet.yaml")
    until("everybody enters", lambda: answered(fleet, "anything at all"), within_s=60.0)

    file.write_text(closed)
    fleet.run("up", "-f", "fleet.yaml")

    until("keys are asked for", lambda: ask(fleet, None).status == 401, within_s=60.0)


def test_a_running_gateway_keeps_what_it_was_started_with_and_up_says_so(fleet: FleetHome) -> None:
    file = fleet.files / "fleet.yaml"
    text = file.read_text()
    file.write_text(text.replace("gateway: {listen:", "gateway: {access_log: {file: requests.log}, listen:"))

    changed, unchanged = fleet.run("up", "-f", "fleet.yaml"), fleet.run("up", "-f", "fleet.yaml")

    assert "warning: a running gateway keeps the tls, workers, access_log and metrics_listen" in changed.err
    assert "warning: a running gateway" not in unchanged.err
    file.write_text(text)
