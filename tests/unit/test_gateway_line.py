"""The command line of a gateway alone: what its words become, and every wrong word with what to write."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fleetctl.errors import UsageError
from fleetctl.model.routes import Identity
from fleetctl.spec.gateway_file import GatewayConfig
from fleetctl.spec.gateway_line import line_config
from fleetctl.spec.gateway_words import replica_address
from fleetctl.spec.problems import Unfit

ROOT = Path(__file__).parents[2]


def lined(*replicas: str, models: tuple[str, ...] = (), **more: object) -> GatewayConfig:
    words = {"service": "default", "auth": "none", "queue_timeout": None, "queue_limit": None, **more}
    return line_config(replicas=replicas, models=models, **words)  # type: ignore[arg-type]


def test_a_name_that_nobody_gave_is_known_as_such_and_others_are_not() -> None:
    made = lined("http://10.0.0.5:8000=1", "chat@http://10.0.0.6:8000=1", invented=True)

    assert {route.service: route.nameless for route in made.services} == {"default": True, "chat": False}


def test_one_service_of_two_replicas() -> None:
    made = lined("http://10.0.0.5:8000=64", "http://[::1]:8001=8", models=("org/a@1", "a"), queue_timeout="5s")

    (route,) = made.services
    assert made.identity == Identity(required=False)
    assert (route.service, route.models, route.nameless) == ("default", ("org/a@1", "a"), False)
    assert [(one.replica, one.address, one.slots) for one in route.upstreams] == [
        ("10.0.0.5:8000", "10.0.0.5:8000", 64),
        ("[::1]:8001", "[::1]:8001", 8),
    ]
    assert (route.queue_timeout_s, route.cold_timeout_s) == (5.0, 5.0)


def test_several_services_are_named_before_the_url() -> None:
    made = lined("chat@http://a:1=2", "code@http://b:1=4", "chat@http://c:1=2", models=("chat@org/chat", "code@c@2"))

    assert [(one.service, len(one.upstreams), one.models) for one in made.services] == [
        ("chat", 2, ("org/chat",)),
        ("code", 1, ("c@2",)),
    ]


@pytest.mark.parametrize(
    ("replicas", "more", "said", "hint"),
    [
        (("http://a:1=1",), {"auth": None}, "who may enter", "--auth none"),
        (("http://a:1=1",), {"auth": "keys"}, "who may enter", "--config FILE"),
        (("http://a:1",), {}, "how many requests at once is not said", "write --replica http://a:1=64"),
        (("http://a:1=0",), {}, "0 slots are not from 1 to 65536", "--max-num-seqs"),
        (("http://a:1=many",), {}, "'many' is no number of slots", "http://10.0.0.5:8000=64"),
        (("https://a:1=4",), {}, "plain HTTP", "http://a:1"),
        (("a:1=4",), {}, "is no URL", "write http://a:1"),
        (("ftp://a:1=4",), {}, "is no URL of a replica", "http://HOST:PORT"),
        (("http://a:99999=4",), {}, "is no URL", "http://HOST:PORT"),
        (("Chat@http://a:1=4",), {}, "'Chat' is no name", "write chat"),
        (("http://a:1=4",), {"service": "My Service"}, "--service: 'My Service' is no name", "write my-service"),
        (("http://a:1=4", "http://a:1/=4"), {}, "a:1 is given twice for 'default'", "give it once"),
        (("x@http://a:1=4", "y@http://b:1=4"), {"models": ("m",)}, "it names none", "--model x@m"),
        (("x@http://a:1=4", "y@http://b:1=4"), {"models": ("x@m", "y@m")}, "m is a name of 'x' already", "to one"),
        (("http://a:1=4",), {"queue_timeout": "30"}, "'30' is no duration", "30s"),
        (("http://a:1=4",), {"queue_timeout": "0"}, "longer than 0", "30s"),
        (("http://a:1=4",), {"queue_limit": -1}, "is not from 0", "--queue-limit 1000"),
    ],
)
def test_a_wrong_word_is_said_with_its_mend(
    replicas: tuple[str, ...], more: dict[str, object], said: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        lined(*replicas, **more)  # type: ignore[arg-type]

    assert said in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http://:8000",
        "http://a:b",
        "http://[::1",
        "http://a:0",
        "http://a/?x=1",
        "http://a/#b",
        "http://a b",
    ],
)
def test_what_is_no_address_of_a_replica(url: str) -> None:
    with pytest.raises(Unfit):
        replica_address(url)


# the command itself


def ran(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLEETCTL_")}
    return subprocess.run(
        [sys.executable, "-m", "fleetctl", "gateway", *words],
        capture_output=True, text=True, timeout=30, input=stdin, env=kept, cwd=ROOT, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "error: which engines? None is named\nhint: fleetctl gateway --replica http"),
        (("--replica", "http://a:1=1"), 2, "error: who may enter? Nothing says so\nhint: --auth none lets everybody"),
        (("--config", "none.yaml"), 4, "error: none.yaml does not exist\n"),
        (("--config", "f", "--replica", "http://a:1=1"), 2, "error: --replica and --config cannot be given together\n"),
        (("--replica", "http://a:1=1", "--auth", "none", "--listen", "8080"), 2, "error: --listen: '8080' is no"),
        (("--replica", "http://a:1=1", "--auth", "none", "--workers", "0"), 2, "error: --workers 0 is not from 1"),
        (("--replica", "http://a:1=1", "--auth", "none", "--tls-key", "k"), 2, "error: --tls-key is given without"),
        (
            ("--check", "--replica", "http://a:1=1", "--auth", "none", "--tls-cert", "/none.pem"),
            2,
            "error: the TLS certificate /none.pem does not exist",
        ),
    ],
)  # fmt: skip
def test_what_cannot_start_ends_with_one_sentence_and_its_code(words: tuple[str, ...], code: int, said: str) -> None:
    done = ran(*words)

    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(said)


def test_check_prints_what_would_be_served_and_ends() -> None:
    done = ran("--check", "--auth", "none", "--replica", "chat@http://a:1=4", "--replica", "chat@http://b:1=8")

    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "SERVICE  REPLICAS  SLOTS  WAIT  QUEUE MAX  MODELS",
        "chat            2     12   30s      10000  asked at the start",
    ]


def test_check_names_line_and_mend_of_a_wrong_file(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("kind: gateway\nauth: none\nservices:\n- name: chat\n  replica: []\n")

    done = ran("--check", "--config", str(file))

    assert done.returncode == 2
    assert f"{file}:5: gateway: services[0].replica: unknown field; did you mean 'replicas'?" in done.stderr


def test_hash_key_prints_the_hash_and_never_the_key() -> None:
    key = "k" * 32

    done = ran("--hash-key", stdin=f"{key}\n")

    assert done.stdout == f"{hashlib.sha256(key.encode()).hexdigest()}\n"
    assert key not in done.stdout + done.stderr


def test_hash_key_takes_no_weak_key() -> None:
    done = ran("--hash-key", stdin="secret\n")

    assert (done.returncode, done.stdout) == (2, "")
    assert "has only 6 characters" in done.stderr
    assert "openssl rand -hex 32" in done.stderr
