"""Web servers and folders of this machine as origins: real HTTP on loopback, with levers; real files."""

import asyncio
import hashlib
import json
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from fleetctl.agent.origins import Origin, open_origin
from fleetctl.agent.origins.files import FilesOrigin
from fleetctl.agent.origins.web import WHOLE_MAX_BYTES
from fleetctl.errors import AgentFailure

WEIGHTS = random.Random(3).randbytes(10_000)


class Site:
    """Files by path, and levers."""

    def __init__(self) -> None:
        self.address = ""
        self.files: dict[str, bytes] = {}
        self.deaf = False
        self.shy = False
        """Sizes are not told."""
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.query = ""
        """What must stand after `?`."""
        self.asked = 0
        self.pretended: int | None = None
        """The size told instead of the true one, with an empty body."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        if self.answers:
            status, headers = self.answers.pop(0)
            return web.Response(status=status, headers=headers)
        data = self.files.get(request.match_info["path"])
        if data is None:
            return web.Response(status=404)
        if request.rel_url.raw_query_string != self.query:
            return web.Response(status=403)
        headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()[:16]}"'}
        if self.pretended is not None:
            headers["Content-Length"] = str(self.pretended)
            started = web.StreamResponse(headers=headers)
            await started.prepare(request)
            assert request.transport is not None
            request.transport.close()
            return started
        if self.shy:
            chunked = web.StreamResponse(headers=headers)
            chunked.enable_chunked_encoding()
            await chunked.prepare(request)
            await chunked.write(data)
            await chunked.write_eof()
            return chunked
        asked = request.headers.get("Range", "")
        if self.deaf or not asked:
            return web.Response(body=data, headers=headers)
        first, _, last = asked.removeprefix("bytes=").partition("-")
        end = min(int(last), len(data) - 1)
        headers["Content-Range"] = f"bytes {first}-{end}/{len(data)}"
        return web.Response(status=206, body=data[int(first) : end + 1], headers=headers)


@asynccontextmanager
async def served(site: Site) -> AsyncIterator[None]:
    app = web.Application()
    app.add_routes([web.get("/{path:.+}", site.answer)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        site.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield
    finally:
        await runner.cleanup()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    made.files["a/model.gguf"] = WEIGHTS
    async with served(made):
        yield made


def opened(uri: str) -> Origin:
    origin = open_origin(uri)
    assert origin is not None
    return origin


async def refusal(uri: str) -> AgentFailure:
    origin = opened(uri)
    with pytest.raises(AgentFailure) as caught:
        await origin.contents()
    await origin.close()
    assert caught.value.hint
    return caught.value


async def test_one_file_in_ranges(site: Site) -> None:
    origin = opened(f"{site.address}/a/model.gguf")

    contents = await origin.contents()
    one = contents.files[0]
    parts = await asyncio.gather(*(origin.read(one, start, 1000) for start in range(0, 10_000, 1000)))
    await origin.close()

    assert (one.path, one.size, len(contents.files)) == ("model.gguf", 10_000, 1)
    assert b"".join(parts) == WEIGHTS


async def test_a_query_is_sent_to_the_letter_and_never_shown(site: Site) -> None:
    site.query = "sig=a%2Fb%3D&x=1"
    origin = opened(f"{site.address}/a/model.gguf?sig=a%2Fb%3D&x=1")
    one = (await origin.contents()).files[0]

    assert await origin.read(one, 5, 5) == WEIGHTS[5:10]
    await origin.close()
    refused = await refusal(f"{site.address}/a/model.gguf?sig=secret")
    assert "secret" not in f"{refused.message}{refused.hint}"
    assert "HTTP 403" in refused.message


async def test_a_manifest_names_the_files(site: Site) -> None:
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    listed = [
        {"path": "model.safetensors", "size": 10_000, "sha256": digest.upper()},
        {"path": "sub dir/config.json", "size": 2},
        {"path": "pytorch_model.bin", "size": 1},
        {"path": "../up.json", "size": 2},
    ]
    site.files |= {
        "b/manifest.json": json.dumps({"files": listed, "made": "today"}).encode(),
        "b/model.safetensors": WEIGHTS,
        "b/sub dir/config.json": b"{}",
    }
    origin = opened(f"{site.address}/b/manifest.json")

    files = (await origin.contents()).files

    assert [(one.path, one.size, one.sha256) for one in files] == [
        ("model.safetensors", 10_000, digest),
        ("sub dir/config.json", 2, None),
    ]
    assert await origin.read(files[0], 9_990, 10) == WEIGHTS[9_990:]
    assert await origin.read(files[1], 0, 2) == b"{}"
    await origin.close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"not json", "is no list of files"),
        (b'{"files": [{"path": "a"}]}', "is no list of files"),
        (b'{"files": []}', "lists no file"),
        (b'{"files": [{"path": "README.md", "size": 1}]}', "lists no file"),
        (b'{"files": [{"path": "a.json", "size": -1}]}', "no right size"),
        (b'{"files": [{"path": "a.json", "size": 1, "sha256": "zz"}]}', "no right size"),
    ],
)
async def test_a_wrong_manifest_is_told(site: Site, text: bytes, message: str) -> None:
    site.files["b/manifest.json"] = text

    assert message in (await refusal(f"{site.address}/b/manifest.json")).message


async def test_a_small_file_of_a_server_without_ranges_is_read_once(site: Site) -> None:
    site.deaf = True
    origin = opened(f"{site.address}/a/model.gguf")
    one = (await origin.contents()).files[0]
    await origin.read(one, 0, 100)
    asked = site.asked

    parts = [await origin.read(one, start, 1000) for start in range(0, 10_000, 1000)]
    await origin.close()

    assert b"".join(parts) == WEIGHTS
    assert site.asked == asked


async def test_a_large_file_of_a_server_without_ranges_is_refused(site: Site) -> None:
    site.deaf = True
    site.pretended = WHOLE_MAX_BYTES + 1

    refused = await refusal(f"{site.address}/a/model.gguf")

    assert "ignores ranges" in refused.message
    assert "s3://" in refused.hint


async def test_a_file_that_changed_is_refused(site: Site) -> None:
    origin = opened(f"{site.address}/a/model.gguf")
    one = (await origin.contents()).files[0]
    site.files["a/model.gguf"] = WEIGHTS[::-1]

    with pytest.raises(AgentFailure, match="has changed since it was listed"):
        await origin.read(one, 0, 10)
    await origin.close()


@pytest.mark.parametrize(
    ("answers", "message", "hint"),
    [
        ([(404, {})], "HTTP 404", "correct model:"),
        ([(401, {})], "HTTP 401", "signed address"),
        ([(429, {"Retry-After": "60"})], "HTTP 429", "fewer requests in 60 s"),
        ([(500, {})] * 9, "HTTP 500", "tried again"),
    ],
)
async def test_refusals(site: Site, answers: list[tuple[int, dict[str, str]]], message: str, hint: str) -> None:
    site.answers = list(answers)

    refused = await refusal(f"{site.address}/a/model.gguf")

    assert message in refused.message
    assert hint in refused.hint


async def test_a_server_that_does_not_tell_sizes(site: Site) -> None:
    site.shy = True

    assert "does not tell its size" in (await refusal(f"{site.address}/a/model.gguf")).message


async def test_a_server_that_is_not_there() -> None:
    refused = await refusal("http://127.0.0.1:9/model.gguf?sig=secret")

    assert "cannot be reached" in refused.message
    assert "secret" not in refused.message


@pytest.mark.parametrize(
    "model", ["org/name", "/models/a", "file:///models/a", "engine+hf://org/name", "rehearsal://x"]
)
def test_nothing_to_fetch(model: str) -> None:
    assert open_origin(model) is None


async def test_a_folder_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "model.safetensors").write_bytes(WEIGHTS)
    (tmp_path / "sub" / "x.bin").write_bytes(b"kept: nobody asked for less")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    origin = FilesOrigin(tmp_path)

    contents = await origin.contents()

    assert [(one.path, one.size) for one in contents.files] == [("model.safetensors", 10_000), ("sub/x.bin", 27)]
    assert await origin.read(contents.files[0], 100, 50) == WEIGHTS[100:150]
    assert (await origin.contents()).revision == contents.revision
    os.utime(tmp_path / "model.safetensors", ns=(1, 1))
    assert (await origin.contents()).revision != contents.revision
    with pytest.raises(AgentFailure, match="has changed while it was read"):
        await origin.read(contents.files[0], 0, 10)
    await origin.close()


async def test_one_file_of_this_machine_and_none(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    origin = FilesOrigin(tmp_path / "a.gguf")

    one = (await origin.contents()).files[0]

    assert (one.path, await origin.read(one, 1, 3)) == ("a.gguf", b"GUF")
    with pytest.raises(AgentFailure, match="are not on this node"):
        await FilesOrigin(tmp_path / "none").contents()
