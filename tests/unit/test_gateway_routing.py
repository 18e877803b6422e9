"""Which Service a request is for, and which paths are never forwarded."""

import json

import pytest

from fleetctl.gateway.control_paths import steers
from fleetctl.gateway.entry import OPEN, Pass
from fleetctl.gateway.http1_heads import parse_request
from fleetctl.gateway.replies import Refusal
from fleetctl.gateway.routing import Table
from fleetctl.gateway.scheduler.ticket import Band
from fleetctl.model.names import ServiceName
from fleetctl.model.routes import Route


def table(*services: str) -> Table:
    return Table(tuple(Route(service=ServiceName(name), models=(f"org/{name}",), upstreams=()) for name in services))


def chosen(table: Table, target: str, body: bytes = b"", header: str = "") -> str:
    extra = f"X-Fleetctl-Service: {header}\r\n" if header else ""
    head = parse_request(f"POST {target} HTTP/1.1\r\nHost: a\r\n{extra}\r\n".encode())
    found = table.choose(head, body)
    return found.code if isinstance(found, Refusal) else f"{found.service} {found.target.decode()}"


@pytest.mark.parametrize(
    ("target", "body", "header", "expected", "why"),
    [
        ("/v1/x", b'{"model": "a"}', "", "a /v1/x", "by the Service's name"),
        ("/v1/x", b'{"model": "org/b"}', "", "b /v1/x", "by the model's name"),
        ("/v1/x", b'{"messages": [{"model": "b"}], "model": "a"}', "", "a /v1/x", "only the top level counts"),
        (
            "/v1/x",
            b'{"x": "\\"model\\": \\"b\\"", "model": "a"}',
            "",
            "a /v1/x",
            "text that looks like it does not count",
        ),
        ("/v1/x", b'{"model": "a", "model": "b"}', "", "b /v1/x", "the last counts, as in the engines' parsers"),
        ("/v1/x", b'{"mod\\u0065l": "a"}', "", "a /v1/x", "escapes are JSON too"),
        ("/v1/x", b'{"model": "zzz"}', "", "model_not_found", "unknown"),
        ("/v1/x", b'{"model": 3}', "", "invalid_body", "no string"),
        ("/v1/x", b'{"model": "a"', "", "invalid_body", "cut"),
        ("/v1/x", b'{"model": "\xff"}', "", "invalid_body", "not UTF-8"),
        ("/v1/x", b'["model", "a"]', "", "model_missing", "no object"),
        ("/v1/x", b"not JSON", "", "model_missing", "multipart, for instance"),
        ("/v1/x", b"", "", "model_missing", "nothing to tell by"),
        ("/a/v1/x?q=1", b'{"model": "b"}', "", "a /v1/x?q=1", "the path wins over the body and loses its prefix"),
        ("/v1/x", b'{"model": "b"}', "a", "a /v1/x", "the header wins over the body"),
        ("/v1/x", b'{"model": "b"}', "zzz", "model_not_found", "an unknown header is no reason to guess"),
        ("/a", b"", "", "model_missing", "a prefix has something behind it"),
    ],
)
def test_two_services(target: str, body: bytes, header: str, expected: str, why: str) -> None:
    assert chosen(table("a", "b"), target, body, header) == expected


@pytest.mark.parametrize(
    ("target", "body", "expected", "why"),
    [
        ("/v1/x", b"not JSON", "a /v1/x", "one Service: no body is read"),
        ("/a/v1/x", b"", "a /v1/x", "its prefix works too"),
        ("/b/v1/x", b"", "a /b/v1/x", "not a prefix: the engine may know the path"),
    ],
)
def test_one_service_takes_everything(target: str, body: bytes, expected: str, why: str) -> None:
    assert chosen(table("a"), target, body) == expected


def test_no_service_at_all_says_what_to_do() -> None:
    head = parse_request(b"POST /v1/x HTTP/1.1\r\nHost: a\r\n\r\n")

    found = Table().choose(head, b"")

    assert isinstance(found, Refusal)
    assert (found.status, found.code) == (404, "no_services")
    assert "fleetctl up" in found.message


def route(
    name: str, *, models: tuple[str, ...] = (), hosts: tuple[str, ...] = (), adapters: tuple[str, ...] = ()
) -> Route:
    return Route(service=ServiceName(name), models=models, upstreams=(), hosts=hosts, adapters=adapters)


def asked(table: Table, model: str = "", host: str = "h", pass_: Pass = OPEN) -> str:
    """`service`, `service+adapter`, or the refusal's code."""
    head = parse_request(f"POST /v1/x HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    found = table.choose(head, json.dumps({"model": model}).encode() if model else b"", pass_)
    if isinstance(found, Refusal):
        return found.code
    return found.service + (f"+{found.adapter}" if found.adapter else "")


@pytest.mark.parametrize(
    ("host", "model", "expected", "why"),
    [
        ("chat.example.org", "", "chat", "by its host"),
        ("CHAT.Example.org:8080", "", "chat", "case and port do not count"),
        ("chat.example.org", "code", "chat", "the host wins over the body"),
        ("x.eu.example.org", "", "code", "below a wildcard"),
        ("y.x.eu.example.org", "", "code", "far below it"),
        ("eu.example.org", "", "model_missing", "a wildcard is for what is below it"),
        ("shared.example.org", "chat", "chat", "two Services on one host: the body tells"),
        ("shared.example.org", "other", "model_not_found", "only of these two"),
        ("shared.example.org", "", "model_missing", "and something must"),
        ("elsewhere", "other", "other", "a host of nobody's"),
        ("[::1]:80", "other", "other", "an address"),
    ],
)
def test_services_by_host(host: str, model: str, expected: str, why: str) -> None:
    table = Table((
        route("chat", hosts=("chat.example.org", "shared.example.org")),
        route("code", hosts=("*.eu.example.org", "shared.example.org")),
        route("other"),
    ))  # fmt: skip

    assert asked(table, model, host) == expected


@pytest.mark.parametrize(
    ("model", "expected", "why"),
    [
        ("sql", "chat+sql", "an adapter is a model"),
        ("org/chat", "chat", "the model itself"),
        ("chat", "chat", "the Service's name is never an adapter"),
        ("code", "code", "nor that of another"),
        ("both", "code", "a model wins over an adapter of the same name"),
    ],
)
def test_adapters_are_asked_for_as_models(model: str, expected: str, why: str) -> None:
    table = Table((
        route("chat", models=("org/chat",), adapters=("sql", "chat", "code", "both")),
        route("code", models=("both",)),
    ))  # fmt: skip

    assert asked(table, model) == expected


def test_one_service_with_adapters_takes_everything_and_tells_them_apart() -> None:
    table = Table((route("chat", adapters=("sql",)),))

    assert [asked(table, model) for model in ("sql", "anything", "")] == ["chat+sql", "chat", "chat"]


def test_adapters_have_prefixes_of_their_own() -> None:
    table = Table((route("chat", adapters=("sql",)),))
    head = parse_request(b"POST /v1/x HTTP/1.1\r\nHost: a\r\n\r\n")

    plain, adapted = (table.choose(head, b'{"model": "%b"}' % model) for model in (b"chat", b"sql"))

    assert not isinstance(plain, Refusal)
    assert not isinstance(adapted, Refusal)
    assert plain.seed != adapted.seed


ONLY_CHAT = Pass("acme", "k1", Band.NORMAL, frozenset({ServiceName("chat")}))


@pytest.mark.parametrize(
    ("model", "header", "expected"),
    [
        ("org/chat", "", "chat"),
        ("org/secret", "", "service_forbidden"),
        ("secret", "", "service_forbidden"),
        ("", "secret", "service_forbidden"),
        ("nothing", "", "model_not_found"),
        ("", "", "model_missing"),
        ("", "nothing", "model_not_found"),
    ],
)
def test_a_key_reaches_only_its_services_and_hears_of_no_other(model: str, header: str, expected: str) -> None:
    table = Table((route("chat", models=("org/chat",)), route("secret", models=("org/secret",))))
    extra = f"x-fleetctl-service: {header}\r\n" if header else ""
    head = parse_request(f"POST /v1/x HTTP/1.1\r\nHost: a\r\n{extra}\r\n".encode())

    found = table.choose(head, json.dumps({"model": model}).encode() if model else b"", ONLY_CHAT)

    if isinstance(found, Refusal):
        assert found.code == expected
        assert "chat" in found.message
        assert "org/secret" not in found.message.replace(f"{model!r}", "")
        assert (found.status == 403) == (expected == "service_forbidden")
    else:
        assert found.service == expected
    assert [name for name, _ in table.names_for(ONLY_CHAT)] == ["chat", "org/chat"]


def test_a_key_for_another_service_than_the_only_one_is_refused() -> None:
    assert asked(Table((route("secret"),)), "x", pass_=ONLY_CHAT) == "service_forbidden"


def test_a_head_that_comes_again_is_judged_by_the_newest_table_and_the_key_of_each_request() -> None:
    head = parse_request(b"POST /a/v1/x HTTP/1.1\r\nHost: a\r\n\r\n")
    old, new = table("a", "b"), table("b", "c")

    first, second, third = old.choose(head, b""), new.choose(head, b'{"model": "c"}'), old.choose(head, b"", ONLY_CHAT)

    assert not isinstance(first, Refusal)
    assert not isinstance(second, Refusal)
    assert isinstance(third, Refusal)
    assert (first.service, first.target, second.service, second.target) == ("a", b"/v1/x", "c", b"/a/v1/x")
    assert third.code == "service_forbidden"


@pytest.mark.parametrize(
    "target",
    [
        "/sleep", "/sleep?level=1", "/sleep/", "//sleep", "/SLEEP", "/%73leep", "/%2573leep", "/%25252573leep",
        "/x/../sleep", "/./sleep", "/v1/../sleep", "/v1/load_lora_adapter", "/sleep;a", "/sleep%3Flevel=2", "/\\sleep",
        "/wake_up", "/flush_cache", "/v2/repository/models/x/load", "/metrics", "/slots/1",
    ],
)  # fmt: skip
def test_control_paths_are_known_however_they_are_spelled(target: str) -> None:
    assert steers(target.encode())
    assert chosen(table("a"), target) == "control_path"
    assert chosen(table("a", "b"), "/a" + target) == "control_path"


@pytest.mark.parametrize(
    "target",
    ["/v1/chat/completions", "/v1/chat/completions?x=/sleep", "/v1/sleep_study", "/generate", "/v2/models/m/infer", "/",
     "/v1/files/a%20b"],
)  # fmt: skip
def test_paths_of_inference_are_not(target: str) -> None:
    assert not steers(target.encode())


@pytest.mark.parametrize("models", [(), ("llama",), ("default", "llama")])
def test_a_name_that_nobody_gave_is_not_told_as_a_model_and_still_selects(models: tuple[str, ...]) -> None:
    given = Route(service=ServiceName("default"), models=models, upstreams=(), nameless=True)
    table = Table((given, Route(service=ServiceName("code"), models=(), upstreams=())))

    assert [name for name, _ in table.names] == sorted([*models, "code"])
    assert chosen(table, "/v1/x", b'{"model": "default"}') == "default /v1/x"
