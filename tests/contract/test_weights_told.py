"""What is said of weights before anything is done: by the hub's own list where it answers, else by the name."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hub_server import COMMIT, Hub, hub_server

from fleetctl.cli.weights import weights_told
from fleetctl.model.names import ServiceName
from fleetctl.model.services import Gpu, Service

pytest.importorskip("huggingface_hub", reason="pip install 'fleetctl[node]'")


@pytest.fixture
async def hub(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    async with hub_server() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        server.add("org/name-8B", {"model.safetensors": b"x" * 3_000_000, "config.json": b"{}"})
        yield server


def service(name: str, model: str, engine: str = "vllm") -> Service:
    return Service(name=ServiceName(name), engine=engine, model=model, gpu=(Gpu(name="L4"),), concurrency=4)


async def told(*services: Service) -> list[str]:
    return await asyncio.to_thread(weights_told, services)


async def test_the_files_tell_the_size_and_the_commit(hub: Hub) -> None:
    assert await told(service("chat", "hf://org/name-8B")) == [
        "chat: weights 0.003 GB, ≈ 1 s at 5 Gbps",
        f"chat is not pinned; write model: hf://org/name-8B@{COMMIT}",
    ]
    assert await told(service("chat", f"hf://org/name-8B@{COMMIT}")) == ["chat: weights 0.003 GB, ≈ 1 s at 5 Gbps"]


async def test_the_name_tells_what_the_hub_does_not(hub: Hub) -> None:
    hub.refuse = (500, {})

    lines = await told(
        service("chat", "hf://org/name-8B"),
        service("large", "s3://bucket/llama-70b"),
        service("odd", "gs://bucket/odd"),
    )

    assert lines == [
        "chat: weights ≈ 16 GB, ≈ 40 s at 5 Gbps",
        "large: weights ≈ 140 GB, ≈ 6 min at 5 Gbps",
        "odd: weights of a size that nobody tells",
    ]


async def test_what_no_node_fetches_is_not_spoken_of(hub: Hub) -> None:
    assert await told(service("play", "hf://org/name-8B", "rehearsal"), service("own", "file:///models/a-8B")) == []
    assert hub.asked["list"] == 0
