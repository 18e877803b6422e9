"""The file of a gateway alone: what it becomes, and every mistake at its line with what to write instead."""

import hashlib
from pathlib import Path

import jsonschema
import pytest

from fleetctl.errors import NotFound
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.routes import Identity, KeyEntry, TenantEntry, TenantLimits, Upstream
from fleetctl.spec.gateway_file import QUEUE_TIMEOUT_S, STDOUT, GatewayConfig, load_gateway_file
from fleetctl.spec.problems import FilesError, Problem
from fleetctl.spec.schema import json_schema
from fleetctl.spec.trees import documents, plain

KEY = "fk-0123456789abcdef0123456789"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()
SERVICES = "services:\n- name: chat\n  replicas:\n  - {url: 'http://10.0.0.5:8000', slots: 64}\n"
OPEN = f"kind: gateway\nauth: none\n{SERVICES}"
KEYED = f"kind: gateway\n{SERVICES}"
WHOLE = f"""\
kind: gateway
listen: 0.0.0.0:8443
tls: {{certificate: server.pem, key: /etc/server.key}}
workers: 2
connections: 500
access_log: {{file: logs/access.jsonl, sample: 10%}}
metrics_listen: 127.0.0.1:9090
services:
- name: chat
  models: [org/chat-8b, chat-8b]
  hosts: [Chat.example.org, "*.chat.example.org"]
  adapters: [support]
  queue: {{timeout: 10s, limit: 500, memory: 64MB, shed: false}}
  probe: /health
  replicas:
  - {{url: "http://10.0.0.5:8000", slots: 64, adapters: [legal]}}
  - {{url: "http://[::1]:8001/", slots: 0}}
- name: code
  replicas: [{{url: http://code.internal, slots: 8}}]
tenants:
- {{name: search, weight: 2, priority: high, services: [chat], limits: {{in_flight: 20, tokens_per_minute: 5e4}}}}
keys:
- {{name: search-1, tenant: search, sha256: {DIGEST.upper()}, priority: low, expires: 2027-01-31}}
- {{name: laptop, env: LAPTOP_KEY, services: [code]}}
- {{name: batch, tenant: search, file: batch.key}}
"""


def read(folder: Path, text: str, environment: dict[str, str] | None = None) -> GatewayConfig:
    (folder / "gateway.yaml").write_text(text)
    return load_gateway_file(folder / "gateway.yaml", environment or {})


def problems(folder: Path, text: str) -> list[Problem]:
    with pytest.raises(FilesError) as caught:
        read(folder, text)
    return list(caught.value.problems)


def test_a_whole_file_becomes_routes_and_identity(tmp_path: Path) -> None:
    (tmp_path / "batch.key").write_text("batch-" * 6 + "\n")

    made = read(tmp_path, WHOLE, {"LAPTOP_KEY": "laptop-" * 6})

    chat, code = made.services
    assert (made.listen, made.workers, made.connections_max, made.metrics_listen) == (
        "0.0.0.0:8443",
        2,
        500,
        "127.0.0.1:9090",
    )
    assert (made.tls_certificate, made.tls_key) == (tmp_path / "server.pem", Path("/etc/server.key"))
    assert (made.access_log, made.access_log_sample) == (tmp_path / "logs/access.jsonl", 0.1)
    assert (chat.service, chat.models, chat.adapters) == ("chat", ("org/chat-8b", "chat-8b"), ("support", "legal"))
    assert chat.hosts == ("chat.example.org", "*.chat.example.org")
    assert (chat.queue_timeout_s, chat.cold_timeout_s, chat.queue_limit) == (10.0, 10.0, 500)
    assert (chat.queue_limit_bytes, chat.shed, chat.probe_path) == (64_000_000, False, "/health")
    assert chat.upstreams == (
        Upstream(replica=ReplicaId("10.0.0.5:8000"), address="10.0.0.5:8000", slots=64, adapters=("legal",)),
        Upstream(replica=ReplicaId("[::1]:8001"), address="[::1]:8001", slots=0),
    )
    assert [one.address for one in code.upstreams] == ["code.internal:80"]
    assert code.queue_timeout_s == QUEUE_TIMEOUT_S
    assert made.identity == Identity(
        tenants=(
            TenantEntry(
                name="search",
                weight=2.0,
                priority="high",
                services=(ServiceName("chat"),),
                limits=TenantLimits(in_flight=20, tokens_per_minute=50_000.0),
            ),
            TenantEntry(name="laptop"),
        ),
        keys=(
            KeyEntry(id="search-1", sha256=DIGEST, tenant="search", priority="low", expires_at=1801353600.0),
            KeyEntry(
                id="laptop",
                sha256=hashlib.sha256(b"laptop-" * 6).hexdigest(),
                tenant="laptop",
                services=(ServiceName("code"),),
            ),
            KeyEntry(id="batch", sha256=hashlib.sha256(b"batch-" * 6).hexdigest(), tenant="search"),
        ),
    )


def test_the_smallest_file_lets_everybody_in_because_it_says_so(tmp_path: Path) -> None:
    made = read(tmp_path, OPEN)

    assert made.identity == Identity(required=False)
    assert (made.listen, made.workers, made.tls_certificate, made.access_log) == ("127.0.0.1:8080", 1, None, None)


def test_a_log_to_stdout_is_no_file_beside(tmp_path: Path) -> None:
    assert read(tmp_path, OPEN + "access_log: {file: '-'}\n").access_log == STDOUT


@pytest.mark.parametrize(
    ("text", "said", "fix"),
    [
        (KEYED, "1: gateway: nobody could enter: no keys are listed", "keys: [{name: me, sha256: …}]"),
        (SERVICES, "1: gateway: kind is missing", "begin the file with kind: gateway"),
        ("kind: service\nname: chat\n", "1: gateway: kind: this is no file of a gateway", "fleetctl up -f FILE"),
        ("kind: gatway\n", "1: gateway: kind: this is no file of a gateway; did you mean 'gateway'?", "kind: gateway"),
        (f"{OPEN}---\n{OPEN}", "8: gateway: a second document", "keep one"),
        ("kind: gateway\nauth: none\n", "1: gateway: services: is missing", "add services"),
        ("kind: gateway\nauth: none\nservices: []\n", "3: gateway: services: is empty", "at least one entry"),
        (f"{OPEN}lisen: 1:2\n", "7: gateway: lisen: unknown field; did you mean 'listen'?", "write listen"),
        (
            OPEN.replace("slots: 64", "slot: 64"),
            "6: gateway: services[0].replicas[0].slot: unknown field; did you mean 'slots'?",
            "write slots",
        ),
        (
            OPEN.replace("slots: 64", "slots: -1"),
            "6: gateway: services[0].replicas[0].slots: must be at least 0, not -1",
            "write at least 0",
        ),
        (
            OPEN.replace("http:", "https:"),
            "6: gateway: services[0].replicas[0].url: 'https://10.0.0.5:8000': replicas are spoken to in plain HTTP,"
            " over a network that is yours",
            "http://10.0.0.5:8000",
        ),
        (
            OPEN.replace(":8000", ":8000/v1"),
            "6: gateway: services[0].replicas[0].url: 'http://10.0.0.5:8000/v1': paths are the client's, and go to the"
            " replica as they are",
            "write http://10.0.0.5:8000",
        ),
        (
            OPEN.replace("http://", ""),
            "6: gateway: services[0].replicas[0].url: '10.0.0.5:8000' is no URL",
            "write http://10.0.0.5:8000",
        ),
        (
            OPEN.replace("10.0", "me:secret@10.0"),
            "6: gateway: services[0].replicas[0].url: a replica's URL carries no name and password",
            "write http://10.0.0.5:8000",
        ),
        (
            OPEN.replace("8000", "80000"),
            "6: gateway: services[0].replicas[0].url: 'http://10.0.0.5:80000' is no URL: port out of range 0-65535",
            "write http://HOST:PORT",
        ),
        (
            f"{OPEN}  - {{url: 'http://10.0.0.5:8000/', slots: 1}}\n",
            "7: gateway: services[0].replicas[1].url: 10.0.0.5:8000 is listed twice for 'chat'",
            "keep one",
        ),
        (
            f"{OPEN}- {{name: chat, replicas: [{{url: http://b, slots: 1}}]}}\n",
            "7: gateway: services[1].name: a second service 'chat'",
            "rename or remove it",
        ),
        (
            f"{OPEN}- {{name: code, models: [chat], replicas: [{{url: http://b, slots: 1}}]}}\n",
            "7: gateway: services[1].models[0]: chat selects the service 'chat' already",
            "keep it in one of the two",
        ),
        (f"{OPEN}listen: 8080\n", "7: gateway: listen: must be host:port, not a number", "127.0.0.1:8080"),
        (f"{OPEN}metrics_listen: 'here'\n", "7: gateway: metrics_listen: 'here' is no host:port", "host:port"),
        (f"{OPEN}workers: 0\n", "7: gateway: workers: must be at least 1, not 0", "at least 1"),
        (f"{OPEN}tls: {{key: a}}\n", "7: gateway: tls.certificate: is missing", "add certificate"),
        (
            f"{OPEN}  queue: {{memory: 64}}\n",
            "7: gateway: services[0].queue.memory: must be a size, not a number",
            "256MB",
        ),
        (
            f"{OPEN}tenants: [{{name: a}}]\n",
            "7: gateway: tenants: auth: none lets everybody in, so tenants would do nothing",
            "remove auth",
        ),
        (f"{KEYED}keys: [{{name: a}}]\n", "6: gateway: keys[0]: has none of sha256, env and file", "add sha256"),
        (
            f"{KEYED}keys: [{{name: a, env: A, sha256: {DIGEST}}}]\n",
            "6: gateway: keys[0].env: has sha256 and env",
            "keep sha256 alone",
        ),
        (
            f"{KEYED}keys: [{{name: a, sha256: {KEY}}}]\n",
            "6: gateway: keys[0].sha256: is no sha256: 64 hexadecimal digits",
            "fleetctl gateway --hash-key",
        ),
        (
            f"{KEYED}keys: [{{name: a, env: NOT_SET}}]\n",
            "6: gateway: keys[0].env: the environment variable NOT_SET is not set",
            "set NOT_SET",
        ),
        (
            f"{KEYED}keys: [{{name: a, sha256: {DIGEST}}}, {{name: b, sha256: {DIGEST}}}]\n",
            "6: gateway: keys[1]: the same key as 'a'",
            "make another key",
        ),
        (
            f"{KEYED}keys:\n- {{name: a, sha256: {DIGEST}}}\n- {{name: a, sha256: {'0' * 64}}}\n",
            "8: gateway: keys[1].name: a second key 'a'",
            "rename",
        ),
        (
            f"{KEYED}tenants: [{{name: team}}]\nkeys: [{{name: a, tenant: taem, sha256: {DIGEST}}}]\n",
            "7: gateway: keys[0].tenant: there is no tenant 'taem'; did you mean 'team'?",
            "write team",
        ),
        (
            f"{KEYED}keys: [{{name: a, priority: high, sha256: {DIGEST}}}]\n",
            "6: gateway: keys[0].priority: high goes before its tenant's normal",
            "give the tenant 'a' priority high",
        ),
        (
            f"{KEYED}keys: [{{name: a, services: [caht], sha256: {DIGEST}}}]\n",
            "6: gateway: keys[0].services[0]: there is no service 'caht'; did you mean 'chat'?",
            "write chat",
        ),
        (
            f"{KEYED}tenants: [{{name: t}}, {{name: t}}]\nkeys: [{{name: a, sha256: {DIGEST}}}]\n",
            "6: gateway: tenants[1].name: a second tenant 't'",
            "rename",
        ),
        (
            f"{KEYED}keys: [{{name: a, expires: 2027-13-01, sha256: {DIGEST}}}]\n",
            "6: gateway: keys[0].expires: '2027-13-01' is no date: month must be in 1..12",
            "2027-01-31",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_said_with_its_line_and_mend(tmp_path: Path, text: str, said: str, fix: str) -> None:
    (found,) = problems(tmp_path, text)

    assert str(found).removeprefix(f"{tmp_path}/gateway.yaml:") == said
    assert fix in found.fix


def test_every_mistake_is_said_at_once(tmp_path: Path) -> None:
    text = f"{KEYED}keys: [{{name: a, sha256: {DIGEST}, services: [x]}}]\ntenants: [{{name: b, services: [y]}}]\n"

    assert [one.path for one in problems(tmp_path, text)] == ["keys[0].services[0]", "tenants[0].services[0]"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"short\n", "the key has only 5 characters, so that its hash can be guessed; 20 are the least"),
        (b"", "the key is empty"),
        ("ключ-ключ-ключ-ключ-ключ".encode(), "the key has characters that no Authorization header carries"),
        (b"\xff" * 40, "holds no text"),
        (b"k" * 5000, "is too large for a key"),
    ],
)
def test_a_file_that_holds_no_key_is_refused_without_showing_it(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.key").write_bytes(content)

    (found,) = problems(tmp_path, f"{KEYED}keys: [{{name: a, file: a.key}}]\n")

    assert said in found.message
    assert "ключ" not in str(found)


def test_a_wrong_digest_is_not_shown_as_it_may_be_the_key(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, f"{KEYED}keys: [{{name: a, sha256: {KEY}}}]\n")

    assert KEY not in str(found) + found.fix


def test_a_key_file_that_is_missing_is_named(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, f"{KEYED}keys: [{{name: a, file: gone.key}}]\n")

    assert found.message == f"{tmp_path}/gone.key cannot be read: no such file or directory"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"none\.yaml does not exist"):
        load_gateway_file(tmp_path / "none.yaml", {})


def test_what_is_hardly_meant_is_a_warning(tmp_path: Path) -> None:
    made = read(
        tmp_path,
        OPEN.replace("slots: 64", "slots: 0") + "- {name: code, replicas: [{url: 'http://10.0.0.5:8000', slots: 4}]}\n",
    )

    assert len(made.warnings) == 2
    assert "no replica of 'chat' has a slot" in made.warnings[0]
    assert "10.0.0.5:8000 serves 'chat' too" in made.warnings[1]


def test_the_schema_takes_what_the_loader_takes(tmp_path: Path) -> None:
    (tmp_path / "batch.key").write_text("batch-" * 6)
    read(tmp_path, WHOLE, {"LAPTOP_KEY": "laptop-" * 6})
    check = jsonschema.Draft202012Validator(json_schema("gateway"))

    (node,) = documents(WHOLE)
    check.validate(plain(node))

    assert not check.is_valid({**plain(node), "lisen": "1:2"})  # type: ignore[dict-item]
