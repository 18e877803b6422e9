"""Which Service a request is for, and which paths are never forwarded."""

import pytest

from fleetctl.gateway.control_paths import steers
from fleetctl.gateway.http1_heads import parse_request
from fleetctl.gateway.replies import Refusal
from fleetctl.gateway.routing import Table
from fleetctl.model.names import ServiceName
from fleetctl.model.routes import Route


def table(*services: str) -> Table:
    return Table(tuple(Route(service=ServiceName(name), models=(f"org/{name}",), upstreams=()) for name in services))


def chosen(table: Table, target: str, body: bytes = b"", header: str = "") -> str:
    extra = f"X-Fleetctl-Service: {header}\r\n" if header else ""
    head = parse_request(f"POST {target} HTTP/1.1\r\nHost: a\r\n{extra}\r\n".encode())
    found = table.choose(head, body)
    return found.code if isinstance(found, Refusal) else f"{found[0]} {found[1].decode()}"


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
        ("/v1/x", b'{"model": 3}', "", "model_missing", "no string"),
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
