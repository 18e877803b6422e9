"""Buckets as origins: obstore against moto's S3 server, and against small servers of ours for Google and Azure."""

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from bucket_servers import AzureContainer, Bucket, GoogleBucket, bucket_server

from fleetctl.agent.origins import Origin, OriginFile, open_origin
from fleetctl.agent.origins.objects import bucket_region
from fleetctl.errors import AgentFailure

pytest.importorskip("obstore", reason="pip install 'fleetctl[node]'")

WEIGHTS = random.Random(2).randbytes(40_000)
OBJECTS = {
    "llama/v1/config.json": b"{}",
    "llama/v1/model.safetensors": WEIGHTS,
    "llama/v1/pytorch_model.bin": b"x",
    "llama/v1/README.md": b"#",
    "llama/v1/sub/tokenizer.json": b"[]",
    "llama/v10/model.safetensors": b"another",
    "one.gguf": b"GGUF" * 100,
}
KINDS = ("s3", "gs", "az")


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    pytest.importorskip("moto.server")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


class World:
    """One store of one kind, with the same objects in each."""

    def __init__(self, kind: str, bucket: Bucket | None, client: Any = None) -> None:
        self.kind = kind
        self.bucket = bucket
        self.client = client

    def put(self, key: str, data: bytes) -> None:
        if self.bucket is not None:
            self.bucket.objects[key] = data
        else:
            self.client.put_object(Bucket="models", Key=key, Body=data)

    def opened(self, path: str) -> Origin:
        origin = open_origin(f"{self.kind}://models/{path}")
        assert origin is not None
        return origin


@pytest.fixture(params=KINDS)
async def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    for name in os.environ:
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_")):
            monkeypatch.delenv(name)
    if request.param == "s3":
        endpoint = request.getfixturevalue("s3_server")
        client = s3_client(endpoint)
        client.create_bucket(Bucket="models")
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        world = World("s3", None, client)
        for key, data in OBJECTS.items():
            world.put(key, data)
        yield world
        for key in client.list_objects_v2(Bucket="models").get("Contents", ()):
            client.delete_object(Bucket="models", Key=key["Key"])
        client.delete_bucket(Bucket="models")
        return
    bucket: Bucket = GoogleBucket() if request.param == "gs" else AzureContainer()
    async with bucket_server(bucket):
        if request.param == "gs":
            account = {"gcs_base_url": bucket.endpoint, "disable_oauth": True, "client_email": "", "private_key": ""}
            monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(account | {"private_key_id": ""}))
            monkeypatch.setenv("GOOGLE_BASE_URL", bucket.endpoint)
            monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "true")
        else:
            monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
            monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
            monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", bucket.endpoint)
        world = World(request.param, bucket)
        for key, data in OBJECTS.items():
            world.put(key, data)
        yield world


def s3_client(endpoint: str) -> Any:
    import boto3

    return boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )


async def file(origin: Origin, path: str) -> OriginFile:
    return next(one for one in (await origin.contents()).files if one.path == path)


async def test_what_engines_read_is_listed_under_the_prefix_alone(world: World) -> None:
    origin = world.opened("llama/v1/")

    contents = await origin.contents()
    await origin.close()

    assert [(one.path, one.size) for one in contents.files] == [
        ("config.json", 2),
        ("model.safetensors", 40_000),
        ("sub/tokenizer.json", 2),
    ]
    assert all(one.version for one in contents.files)


async def test_the_same_bytes_have_the_same_revision_and_others_another(world: World) -> None:
    async def revision() -> str:
        origin = world.opened("llama/v1")
        found = (await origin.contents()).revision
        await origin.close()
        return found

    before = await revision()
    assert await revision() == before

    world.put("llama/v1/config.json", b"[]")
    assert await revision() != before


async def test_ranges_are_read_in_parallel(world: World) -> None:
    origin = world.opened("llama/v1")
    weights = await file(origin, "model.safetensors")

    parts = await asyncio.gather(*(origin.read(weights, start, 5000) for start in range(0, 40_000, 5000)))
    await origin.close()

    assert b"".join(parts) == WEIGHTS
    assert await origin.read(weights, 0, 0) == b""


async def test_one_object(world: World) -> None:
    origin = world.opened("one.gguf")

    contents = await origin.contents()

    assert [(one.path, one.size) for one in contents.files] == [("one.gguf", 400)]
    assert await origin.read(contents.files[0], 4, 4) == b"GGUF"
    await origin.close()


async def test_an_object_that_changed_is_refused(world: World) -> None:
    origin = world.opened("llama/v1")
    weights = await file(origin, "model.safetensors")

    world.put("llama/v1/model.safetensors", WEIGHTS[::-1])

    with pytest.raises(AgentFailure, match=r"model\.safetensors has changed") as caught:
        await origin.read(weights, 0, 10)
    assert "prefix of its own" in caught.value.hint
    await origin.close()


async def test_what_is_not_there_is_told(world: World) -> None:
    origin = world.opened("nowhere/at/all")

    with pytest.raises(AgentFailure, match=f"{world.kind}://models/nowhere/at/all is not there") as caught:
        await origin.contents()
    assert caught.value.hint == "correct model:"
    await origin.close()


async def test_a_folder_with_nothing_to_read_is_told(world: World) -> None:
    world.put("texts/README.md", b"#")
    origin = world.opened("texts")

    with pytest.raises(AgentFailure, match="has no file that engines read"):
        await origin.contents()
    await origin.close()


@pytest.mark.parametrize("world", ["gs", "az"], indirect=True)
@pytest.mark.parametrize(
    ("statuses", "message", "hint"),
    [
        ([403], "refuses this node's credentials", "read it"),
        ([401], "refuses this node's credentials", "read it"),
        ([429] * 9, "asks for fewer requests (HTTP 429)", "tried again"),
    ],
)
async def test_refusals_are_one_sentence(world: World, statuses: list[int], message: str, hint: str) -> None:
    assert world.bucket is not None
    origin = world.opened("llama/v1")
    world.bucket.answers = list(statuses)

    with pytest.raises(AgentFailure) as caught:
        await origin.contents()
    await origin.close()

    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("world", ["gs", "az"], indirect=True)
async def test_a_store_that_stumbles_is_asked_again(world: World) -> None:
    assert world.bucket is not None
    origin = world.opened("llama/v1")
    weights = await file(origin, "model.safetensors")
    world.bucket.answers = [503]

    assert await origin.read(weights, 3, 4) == WEIGHTS[3:7]
    await origin.close()


@pytest.mark.parametrize("world", ["s3"], indirect=True)
async def test_a_bucket_that_is_not_there(world: World) -> None:
    origin = open_origin("s3://no-such-bucket/llama")
    assert origin is not None

    with pytest.raises(AgentFailure, match="s3://no-such-bucket/llama is not there"):
        await origin.contents()
    await origin.close()


@pytest.mark.parametrize("world", KINDS, indirect=True)
async def test_a_store_that_is_not_there_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = "http://127.0.0.1:9"
    monkeypatch.setenv("AWS_ENDPOINT_URL", nobody)
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", nobody)
    monkeypatch.setenv("GOOGLE_BASE_URL", nobody)
    account = {
        "gcs_base_url": nobody,
        "disable_oauth": True,
        "client_email": "",
        "private_key": "",
        "private_key_id": "",
    }
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(account))
    origin = world.opened("llama/v1")

    with pytest.raises(AgentFailure, match="the store cannot be reached"):
        await origin.contents()
    await origin.close()


async def test_a_region_is_asked_of_s3_itself(s3_server: str) -> None:
    client = s3_client(s3_server)
    client.create_bucket(Bucket="far", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})

    assert await bucket_region("far", s3_server) == "eu-west-1"
    assert await bucket_region("far", "http://127.0.0.1:9") is None


async def test_azure_needs_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT", "AZURE_ACCOUNT_NAME"):
        monkeypatch.delenv(name, raising=False)
    origin = open_origin("az://models/llama")
    assert origin is not None

    with pytest.raises(AgentFailure, match="names no storage account") as caught:
        await origin.contents()
    assert "AZURE_STORAGE_ACCOUNT_NAME" in caught.value.hint
