"""How an engine loads its weights, and which requests warm it up: from the file to the command line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fleetctl.engines import command, engine, environment, weights
from fleetctl.engines.answers import model_listed
from fleetctl.engines.loading import OPTIONS, load_plan, loading_fault
from fleetctl.errors import SpecError
from fleetctl.model.names import ServiceName
from fleetctl.model.nodes import Call
from fleetctl.model.services import Gpu, Loading, Service
from fleetctl.spec.load import load

VLLM = engine("vllm")
HUB = "hf://org/model@abcdef1"
BUCKET = "s3://models/big"


def service(loading: Loading = "auto", **changes: object) -> Service:
    made = Service(
        name=ServiceName("chat"),
        engine="vllm",
        model=BUCKET,
        gpu=(Gpu(name="L40S"),),
        concurrency=64,
        loading=loading,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("loading", "engine_name", "words"),
    [
        ("auto", "vllm", ()),
        ("prefetch", "vllm", ("--safetensors-load-strategy", "prefetch")),
        ("eager", "vllm", ("--safetensors-load-strategy", "eager")),
        ("fast", "vllm", ("--load-format", "fastsafetensors")),
        ("sharded", "vllm", ("--load-format", "sharded_state")),
        ("stream", "vllm", ("--load-format", "runai_streamer")),
        ("sharded", "sglang", ("--load-format", "sharded_state")),
        ("stream", "sglang", ("--load-format", "runai_streamer")),
    ],
)
def test_each_way_of_loading_is_an_option(loading: Loading, engine_name: str, words: tuple[str, ...]) -> None:
    kind = engine(engine_name)

    found = service(loading, engine=engine_name)

    line = command(kind, found)

    assert load_plan(kind, found).arguments == words
    assert [word for word in line if word in OPTIONS] == list(words[:1])
    assert " ".join(words) in " ".join(line)


@pytest.mark.parametrize("loading", ["auto", "prefetch", "fast", "sharded"])
def test_what_is_on_the_disk_is_fetched_by_the_node(loading: Loading) -> None:
    found = service(loading)

    assert "{weights}" in command(VLLM, found)
    assert weights(VLLM, found) == BUCKET


@pytest.mark.parametrize("model", [BUCKET, "gs://models/big", "az://models/big"])
def test_a_stream_goes_past_the_disk(model: str) -> None:
    found = service("stream", model=model)

    assert model in command(VLLM, found)
    assert "{weights}" not in command(VLLM, found)
    assert weights(VLLM, found) == f"engine+{model}", "no node fetches it"
    assert dict(environment(VLLM, found))["RUNAI_STREAMER_CONCURRENCY"] == "32"


def test_the_services_own_variable_wins() -> None:
    found = service("stream", env=(("RUNAI_STREAMER_CONCURRENCY", "8"),))

    assert dict(environment(VLLM, found))["RUNAI_STREAMER_CONCURRENCY"] == "8"


@pytest.mark.parametrize(
    "args",
    [
        ("--load-format", "tensorizer"),
        ("--load-format=tensorizer",),
        ("--model-loader-extra-config", "{}"),
        ("--safetensors-load-strategy", "lazy"),
    ],
)
def test_the_services_own_words_win(args: tuple[str, ...]) -> None:
    found = service("stream", args=args)

    line = command(VLLM, found)

    assert line[-len(args) :] == args
    assert "runai_streamer" not in line
    assert "{weights}" in line
    assert loading_fault(VLLM, found) is not None, "and the file is told that it says two things"


# what the file may say

HEAD = "kind: service\nname: chat\nmodel: {model}\ngpu: L40S\nengine: {engine}\n"


def loaded(path: Path, text: str, *, engine_name: str = "vllm", model: str = BUCKET) -> Service:
    file = path / "chat.yaml"
    file.write_text(HEAD.format(model=model, engine=engine_name) + text)
    (found,) = load([file]).services
    return found


def test_the_file_says_how_to_load(tmp_path: Path) -> None:
    assert loaded(tmp_path, "").loading == "auto"
    assert loaded(tmp_path, "loading: stream\n").loading == "stream"


@pytest.mark.parametrize(
    ("text", "engine_name", "model", "said"),
    [
        ("loading: stream\n", "vllm", HUB, "only object stores are streamed from"),
        ("loading: prefetch\n", "sglang", BUCKET, "sglang is not known to load in the way 'prefetch'"),
        ("loading: fast\n", "rehearsal", "tiny", "rehearsal is not known to load"),
        ("loading: fast\nargs: --load-format auto\n", "vllm", HUB, "args say --load-format already"),
        ("loading: fast\ncommand: serve\n", "vllm", HUB, "command is the whole command line"),
        ("loading: quickly\n", "vllm", HUB, "loading"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, text: str, engine_name: str, model: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        loaded(tmp_path, text, engine_name=engine_name, model=model)

    assert said in str(caught.value)


def test_a_prompt_and_a_request_warm_up(tmp_path: Path) -> None:
    text = """
warm_up:
- Once upon a time
- {path: /v1/chat/completions, body: {messages: [{role: user, content: Hi}], model: other}}
- path: /health
"""

    prompt, chat, health = loaded(tmp_path, text).warm_up

    assert prompt.path == "/v1/completions"
    assert json.loads(prompt.body) == {"model": "chat", "prompt": "Once upon a time", "max_tokens": 16}
    assert json.loads(chat.body)["model"] == "other"
    assert health == Call(path="/health", method="GET")


@pytest.mark.parametrize(
    "text",
    [
        "warm_up: [{body: {}}]\n",
        "warm_up: [{path: no-slash}]\n",
        "warm_up: [5]\n",
        "warm_up: [{path: /v1/completions, body: [1]}]\n",
        "warm_up: [{path: /v1/completions, body: {prompt: " + "x" * 70_000 + "}}]\n",
    ],
    ids=("no path", "slash", "number", "list", "long"),
)
def test_what_cannot_be_sent_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SpecError, match="warm_up"):
        loaded(tmp_path, text)


# what it must answer


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, '"id":"chat"'),
        ({"args": ("--served-model-name", "mine")}, '"id":"'),
        ({"args": ("--served-model-name=mine",)}, '"id":"'),
        ({"args": ("--config", "/vllm.yaml")}, '"id":"'),
        ({"command": ("vllm", "serve", "{model}")}, '"id":"'),
        ({"engine": "llama.cpp"}, '"id":"chat"'),
        ({"engine": "rehearsal"}, '"id":"chat"'),
    ],
)
def test_it_must_list_its_model(changes: dict[str, object], expected: str) -> None:
    found = service(**changes)  # type: ignore[arg-type]

    assert model_listed(engine(found.engine), found) == Call(path="/v1/models", method="GET", expect=expected)


@pytest.mark.parametrize(
    "changes",
    [{"args": ("--api-key", "k")}, {"env": (("VLLM_API_KEY", "k"),)}, {"engine": "generic"}, {"engine": "tgi"}],
    ids=("key", "key in a variable", "generic", "tgi"),
)
def test_whom_nobody_can_ask_is_not_asked(changes: dict[str, object]) -> None:
    found = service(**changes)  # type: ignore[arg-type]

    assert model_listed(engine(found.engine), found) is None
