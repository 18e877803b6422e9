"""`{weights}` filled with where the Node holds them; and how fast they come."""

from pathlib import Path

import pytest

from fleetctl.agent.placed import placed
from fleetctl.agent.sources.fetch import RATE_WINDOW_S, Fetch, Meter
from fleetctl.errors import AgentFailure
from fleetctl.model.names import InstanceId, ReplicaId, ServiceName
from fleetctl.model.nodes import Artifact, ArtifactState, Feed, Peer, ReplicaSpec

WEIGHTS = Artifact(kind="weights", name="s3://models/x")


def spec(engine: str, *command: str, **env: str) -> ReplicaSpec:
    return ReplicaSpec(
        id=ReplicaId("chat-1"),
        service=ServiceName("chat"),
        revision="r",
        engine=engine,
        model="s3://models/x",
        concurrency=1,
        command=command,
        env=tuple(env.items()),
    )


def folder(root: Path, *names: str) -> str:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return str(root)


def test_in_the_command_and_in_variables(tmp_path: Path) -> None:
    where = folder(tmp_path, "model.safetensors")

    filled = placed(spec("vllm", "serve", "{weights}", "--port", "{port}", MODEL="at {weights}"), where)

    assert filled.command == ("serve", where, "--port", "{port}")
    assert filled.env == (("MODEL", f"at {where}"),)


def test_who_asks_for_nothing_gets_nothing() -> None:
    asked = spec("vllm", "serve", "org/model")

    assert placed(asked, "") is asked


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("m.gguf",), "m.gguf"),
        (("q/m.gguf", "readme.txt"), "q/m.gguf"),
        (("m-00001-of-00002.gguf", "m-00002-of-00002.gguf"), "m-00001-of-00002.gguf"),
    ],
)
def test_an_engine_that_loads_one_file_is_given_that(tmp_path: Path, names: tuple[str, ...], expected: str) -> None:
    filled = placed(spec("llama.cpp", "-m", "{weights}"), folder(tmp_path, *names))

    assert filled.command == ("-m", str(tmp_path / expected))


@pytest.mark.parametrize(
    ("names", "said"), [(("a.gguf", "b.gguf"), r"holds 2: a\.gguf, b\.gguf"), (("m.safetensors",), "holds 0: none")]
)
def test_which_file_is_not_guessed(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    with pytest.raises(AgentFailure, match=said):
        placed(spec("llama.cpp", "-m", "{weights}"), folder(tmp_path, *names))


def test_weights_that_are_not_here_are_not_made_up() -> None:
    with pytest.raises(AgentFailure, match="which does not hold it"):
        placed(spec("vllm", "serve", "{weights}"), "")


def test_a_rate_is_of_the_last_window() -> None:
    meter = Meter(0.0)
    for step in range(100):
        meter.add(step / 10, 1000 if step < 50 else 500)

    assert meter.rate(5.0) == pytest.approx(5_000, rel=0.1)
    assert meter.rate(9.9) == pytest.approx(5_000, rel=0.1)


@pytest.mark.parametrize(
    ("now", "expected", "why"),
    [
        (10.0, 0.0, "it has only just begun"),
        (10.0 + RATE_WINDOW_S, None, "nothing came for a whole window"),
    ],
)
def test_nothing_is_told_from_nothing_yet(now: float, expected: float | None, why: str) -> None:
    meter = Meter(0.0)
    meter.add(9.0, 1000)

    meter.restart(10.0)

    assert meter.rate(now) == expected, why


def test_a_fetch_tells_what_came_from_where() -> None:
    fetch = Fetch(WEIGHTS)
    fetch.expect(100, done=20)
    fetch.source(InstanceId("i-2"))
    fetch.moved(peers=30, done=30)
    fetch.moved(peers=10)
    fetch.source(None)
    fetch.moved(origin=50, done=50)

    status = fetch.status(ArtifactState.FETCHING)

    assert (status.bytes_done, status.bytes_total) == (100, 100)
    assert (status.peer_bytes, status.origin_bytes, status.parent) == (40, 50, None)


def test_only_news_disturbs_a_fetch() -> None:
    feed = Feed(artifact=WEIGHTS, parents=(Peer(instance=InstanceId("i-2"), address="h:1"),))
    fetch = Fetch(WEIGHTS, feed)

    fetch.follow(feed)
    quiet = fetch.refed.is_set()
    fetch.follow(None)

    assert not quiet and fetch.refed.is_set()
