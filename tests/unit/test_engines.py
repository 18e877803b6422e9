"""What is known of each engine, and the command lines that come of it."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetctl import engines
from fleetctl.engines import command, engine, engine_names, environment, log_hint, model_source
from fleetctl.errors import UsageError
from fleetctl.model.names import ServiceName
from fleetctl.model.nodes import Call
from fleetctl.model.services import Gpu, Service

NAMES = ("generic", "llama.cpp", "rehearsal", "sglang", "tgi", "triton", "vllm")
METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
PINNED = "hf://meta-llama/Llama-3.1-8B-Instruct@5206a32"


def service(**changes: object) -> Service:
    fields = {
        "name": ServiceName("chat"),
        "engine": "vllm",
        "model": PINNED,
        "gpu": (Gpu(name="L40S"),),
        "concurrency": 64,
    }
    return Service(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.fixture
def fresh() -> Iterator[None]:
    """Forget which engines other packages give, before and after."""

    def forget() -> None:
        engines._entry_points.cache_clear()
        engines._given.cache_clear()
        sys.modules.pop("other_engine_of_a_test", None)

    forget()
    yield
    forget()


def test_the_engines_of_the_folder_are_found() -> None:
    assert engine_names() == NAMES
    assert [engine(name).name for name in NAMES] == list(NAMES)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("vlm", "did you mean vllm?"),
        ("VLLM", "did you mean vllm?"),
        ("llamacpp", "did you mean llama.cpp?"),
        ("llama_cpp", "did you mean llama.cpp?"),
        ("engine", f"engines: {', '.join(NAMES)}"),
        ("", f"engines: {', '.join(NAMES)}"),
    ],
)
def test_an_unknown_engine_is_refused_with_a_hint(wrong: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        engine(wrong)

    assert repr(wrong) in caught.value.message
    assert caught.value.hint == hint


@pytest.mark.parametrize("name", NAMES)
def test_what_is_known_of_an_engine_is_well_formed(name: str) -> None:
    known = engine(name)

    for load in known.loads:
        for metric in (load.running, load.waiting):
            assert metric is None or METRIC_NAME.fullmatch(metric.name)
    for template in (known.command, known.container_command):
        assert not template or (template.count("{model}") == 1 and template.count("{port}") == 1)
    for path in (known.metrics_path, known.readiness_path, known.models_path):
        assert path.startswith("/")
    assert known.concurrency >= 1


LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
COMMANDS = [
    (
        "vLLM is given the folder that the Node fetches, and keeps both names",
        service(),
        f"vllm serve {{weights}} --host 127.0.0.1 --port {{port}} --max-num-seqs 64 --served-model-name chat {LLAMA}",
    ),
    (
        "in a container: what follows the image's entry point",
        service(image="vllm/vllm-openai:v0.11.0"),
        f"--model {{weights}} --host 0.0.0.0 --port {{port}} --max-num-seqs 64 --served-model-name chat {LLAMA}",
    ),
    (
        "no revision; the service's args come last",
        service(model=f"hf://{LLAMA}", args=("--max-model-len", "8192")),
        "vllm serve {weights} --host 127.0.0.1 --port {port} --max-num-seqs 64 "
        f"--served-model-name chat {LLAMA} --max-model-len 8192",
    ),
    (
        "a path stays as it is, at signs and all",
        service(model="/models/a@b"),
        "vllm serve /models/a@b --host 127.0.0.1 --port {port} --max-num-seqs 64 --served-model-name chat /models/a@b",
    ),
    (
        "what is on the Node already is named by its path",
        service(model="file:///models/a"),
        "vllm serve /models/a --host 127.0.0.1 --port {port} --max-num-seqs 64 --served-model-name chat /models/a",
    ),
    (
        "from a bucket",
        service(model="s3://models/a"),
        "vllm serve {weights} --host 127.0.0.1 --port {port} --max-num-seqs 64 --served-model-name chat s3://models/a",
    ),
    (
        "SGLang",
        service(engine="sglang"),
        "{python} -m sglang.launch_server --model-path {weights} --host 127.0.0.1 --port {port} "
        "--enable-metrics --max-running-requests 64 --served-model-name chat",
    ),
    (
        "TGI",
        service(engine="tgi"),
        "text-generation-launcher --model-id {weights} --hostname 127.0.0.1 --port {port} --max-concurrent-requests 64",
    ),
    (
        "llama.cpp is given one file of those that the Node fetches",
        service(engine="llama.cpp", model="hf://ggml-org/gemma-3-4b-GGUF:Q4_K_M"),
        "llama-server --model {weights} --host 127.0.0.1 --port {port} --metrics --parallel 64 --alias chat",
    ),
    (
        "llama.cpp from a file",
        service(engine="llama.cpp", model="/models/gemma.gguf"),
        "llama-server --model /models/gemma.gguf --host 127.0.0.1 --port {port} --metrics --parallel 64 --alias chat",
    ),
    (
        "Triton has no option for its batch limit",
        service(engine="triton", model="/models/repository"),
        "{python} /opt/tritonserver/python/openai/openai_frontend/main.py --model-repository /models/repository "
        "--host 127.0.0.1 --openai-port {port}",
    ),
    (
        "Triton from a bucket: the whole model repository",
        service(engine="triton", model="gs://models/repository"),
        "{python} /opt/tritonserver/python/openai/openai_frontend/main.py --model-repository {weights} "
        "--host 127.0.0.1 --openai-port {port}",
    ),
    (
        "the rehearsal engine loads nothing, so nothing is fetched for it",
        service(engine="rehearsal"),
        f"{{python}} -m fleetctl.rehearsal --port {{port}} --model {LLAMA} --max-num-seqs 64 "
        f"--served-model-name chat {LLAMA}",
    ),
    (
        "a command of the service's own replaces the engine's",
        service(command=("serve", "--m={model}", "-n", "{concurrency}", "-p", "{port}", "{other}"), args=("-v",)),
        f"serve --m={LLAMA} -n 64 -p {{port}} {{other}} -v",
    ),
    (
        "what is filled in is not filled in again",
        service(model="/a/{concurrency}", command=("serve", "{model}")),
        "serve /a/{concurrency}",
    ),
    ("an image that knows what to run", service(engine="generic", image="me/mine:1", args=("-v",)), "-v"),
]


@pytest.mark.parametrize(("why", "given", "wanted"), COMMANDS, ids=[row[0] for row in COMMANDS])
def test_command(why: str, given: Service, wanted: str) -> None:
    assert command(engine(given.engine), given) == tuple(wanted.split()), why


@pytest.mark.parametrize(
    ("why", "given", "message"),
    [
        ("a generic engine has no command line", service(engine="generic"), "no command line"),
    ],
)
def test_a_service_that_its_engine_cannot_serve_is_refused(why: str, given: Service, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        command(engine(given.engine), given)

    assert caught.value.message.startswith("service chat: "), why
    assert "`command`" in caught.value.hint


def test_an_engine_that_shall_sleep_is_started_so_that_it_can() -> None:
    vllm, given = engine("vllm"), service(env=(("A", "1"),))

    assert command(vllm, given, sleepable=True)[-1] == "--enable-sleep-mode"
    assert environment(vllm, given, sleepable=True) == (("VLLM_SERVER_DEV_MODE", "1"), ("A", "1"))
    assert "--enable-sleep-mode" not in command(vllm, given)
    assert environment(vllm, given) == (("A", "1"),)
    assert vllm.sleep is not None
    assert (vllm.sleep.level(1).enter[0], vllm.sleep.level(1).wake[0]) == (
        Call(path="/sleep?level=1"),
        Call(path="/wake_up"),
    )


def test_the_services_environment_wins() -> None:
    given = service(env=(("VLLM_SERVER_DEV_MODE", "0"),))

    assert environment(engine("vllm"), given, sleepable=True) == (("VLLM_SERVER_DEV_MODE", "0"),)


@pytest.mark.parametrize(
    ("model", "name", "revision", "hub"),
    [
        (PINNED, LLAMA, "5206a32", True),
        (f"hf://{LLAMA}", LLAMA, None, True),
        (f"hf://{LLAMA}@", LLAMA, None, True),
        (f"hf://{LLAMA}@refs/pr/2", LLAMA, "refs/pr/2", True),
        ("s3://bucket/model", "s3://bucket/model", None, False),
        (LLAMA, LLAMA, None, False),
    ],
)
def test_model_source(model: str, name: str, revision: str | None, hub: bool) -> None:
    source = model_source(model)

    assert (source.name, source.revision, source.hub) == (name, revision, hub)


def test_a_known_failure_in_the_log_has_a_hint() -> None:
    log = "INFO start\nValueError: No available memory for the cache blocks. Try increasing …\n"

    assert log_hint(engine("vllm"), log) == "raise --gpu-memory-utilization or take a larger GPU"
    assert log_hint(engine("vllm"), "INFO all is well\n") is None


def given_by_a_package(folder: Path, entry: str, code: str) -> None:
    """Put an installed package `other-engine` into `folder`, as pip would leave it there."""
    info = folder / "other_engine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-engine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[fleetctl.engines]\n{entry}\n")
    (folder / "other_engine_of_a_test.py").write_text(code)


@pytest.mark.usefixtures("fresh")
def test_another_package_gives_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from fleetctl.engines import Engine\nENGINE = Engine(name='other', loads=(), concurrency=3)\n"
    given_by_a_package(tmp_path, "other = other_engine_of_a_test:ENGINE", code)
    monkeypatch.syspath_prepend(tmp_path)

    assert engine_names() == tuple(sorted((*NAMES, "other")))
    assert engine("other").concurrency == 3


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("bad = other_engine_of_a_test:NUMBER", "is no fleetctl Engine"),
        ("bad = other_engine_of_a_test:ABSENT", "cannot be loaded"),
        ("bad = no_such_module_at_all:ENGINE", "cannot be loaded"),
    ],
)
def test_a_broken_package_is_named(entry: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given_by_a_package(tmp_path, entry, "NUMBER = 1\n")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(UsageError, match=message) as caught:
        engine("bad")

    assert "other-engine" in caught.value.hint
