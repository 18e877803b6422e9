"""A small hub of models, for tests: ours, in the shapes that the Hugging Face hub answers. Not recorded from it.

Real HTTP on loopback: `/api/models/…` with the commit and the files, `/…/resolve/…` that leads large files to a second
server with a signed address (as the hub leads to its store) and sends small ones itself. Levers make it gated, busy,
forgetful of its signatures, deaf to ranges.
"""

import asyncio
import hashlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

COMMIT = "5206a32e0bd3067aef1ce90f5528ade7d866253f"
NEWER = "9213176726f574b556790deb65791e0c5aa438b6"
GOOD = "hf_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
"""The one token that it takes."""


@dataclass
class Repository:
    files: dict[str, bytes]
    large: frozenset[str]
    commit: str = COMMIT
    gated: bool = False
    private: bool = False


@dataclass
class Hub:
    """What it has, and its levers."""

    endpoint: str = ""
    store: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    refuse: tuple[int, dict[str, str]] | None = None
    """How the hub itself answers everything."""
    store_answers: list[int] = field(default_factory=list)
    """Statuses with which the store answers its next requests, instead of with bytes."""
    deaf: bool = False
    """Ranges are ignored."""
    breaks: int = 0
    """So many answers of the store end in the middle."""
    asked: Counter[str] = field(default_factory=Counter)
    tokens_at_store: int = 0
    """Requests to the store that carried a token, which is none of its business."""
    valid: set[str] = field(default_factory=set)
    at_once: int = 0
    most_at_once: int = 0
    slow_s: float = 0.0
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def add(self, name: str, files: dict[str, bytes], *, large: tuple[str, ...] = (), **more: bool) -> Repository:
        self.repositories[name] = Repository(files=files, large=frozenset(large), **more)
        return self.repositories[name]

    def forget_signatures(self) -> None:
        self.valid.clear()

    async def _listed(self, request: web.Request) -> web.Response:
        self.asked["list"] += 1
        name = f"{request.match_info['organisation']}/{request.match_info['name']}"
        refused = self._refused(request, name)
        if refused is not None:
            return refused
        repository = self.repositories[name]
        revision = request.match_info.get("revision", "main")
        if revision != "main" and not (len(revision) >= 7 and repository.commit.startswith(revision)):
            return web.json_response({"error": "x"}, status=404, headers={"X-Error-Code": "RevisionNotFound"})
        siblings = []
        for path, data in repository.files.items():
            sibling: dict[str, object] = {"rfilename": path}
            if "blobs" in request.query:
                sibling |= {"size": len(data), "blobId": hashlib.sha1(data).hexdigest()}
                if path in repository.large:
                    digest = hashlib.sha256(data).hexdigest()
                    sibling["lfs"] = {"sha256": digest, "size": len(data), "pointerSize": 135}
            siblings.append(sibling)
        return web.json_response({"id": name, "modelId": name, "sha": repository.commit, "siblings": siblings})

    async def _resolved(self, request: web.Request) -> web.StreamResponse:
        name = f"{request.match_info['organisation']}/{request.match_info['name']}"
        path = request.match_info["path"]
        self.asked[f"{request.method} {path}"] += 1
        refused = self._refused(request, name)
        if refused is not None:
            return refused
        repository = self.repositories[name]
        if path not in repository.files or request.match_info["revision"] != repository.commit:
            return web.Response(status=404, headers={"X-Error-Code": "EntryNotFound"})
        data = repository.files[path]
        headers = {"X-Repo-Commit": repository.commit}
        if path not in repository.large:
            return _ranged(request, data, headers | {"ETag": f'"{hashlib.sha1(data).hexdigest()}"'}, deaf=self.deaf)
        signature = str(next(self._numbers))
        self.valid.add(signature)
        headers |= {
            "X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"',
            "X-Linked-Size": str(len(data)),
            "Location": f"{self.store}/{name}/{path}?Signature=a%2Fb%3D{signature}&Policy=x",
        }
        return web.Response(status=302, headers=headers)

    async def _stored(self, request: web.Request) -> web.StreamResponse:
        self.asked["store"] += 1
        self.tokens_at_store += "Authorization" in request.headers
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.slow_s)
            if self.store_answers:
                return web.Response(status=self.store_answers.pop(0))
            if request.query.get("Signature", "").removeprefix("a/b=") not in self.valid:
                return web.Response(status=403)
            name = f"{request.match_info['organisation']}/{request.match_info['name']}"
            data = self.repositories[name].files[request.match_info["path"]]
            if self.breaks:
                self.breaks -= 1
                broken = web.StreamResponse(
                    status=206, headers={"Content-Length": "1000", "Content-Range": "bytes 0-999/5000"}
                )
                await broken.prepare(request)
                await broken.write(b"x" * 10)
                assert request.transport is not None
                request.transport.abort()
                return broken
            return _ranged(request, data, {"ETag": f'"{hashlib.sha256(data).hexdigest()}"'}, deaf=self.deaf)
        finally:
            self.at_once -= 1

    async def _other(self, request: web.Request) -> web.Response:
        self.asked["other"] += 1
        return web.Response(status=404)

    def _refused(self, request: web.Request, name: str) -> web.Response | None:
        if self.refuse is not None:
            return web.Response(status=self.refuse[0], headers=self.refuse[1])
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token != GOOD:
            message = "Invalid credentials in Authorization header"
            return web.Response(status=401, headers={"X-Error-Message": message})
        repository = self.repositories.get(name)
        if repository is None or (repository.private and not token):
            return web.Response(status=404 if token else 401, headers={"X-Error-Code": "RepoNotFound"})
        if repository.gated and not token:
            return web.Response(status=401, headers={"X-Error-Code": "GatedRepo"})
        return None


def _ranged(request: web.Request, data: bytes, headers: dict[str, str], *, deaf: bool) -> web.Response:
    asked = request.headers.get("Range", "")
    if deaf or not asked:
        return web.Response(body=data, headers=headers)
    first, _, last = asked.removeprefix("bytes=").partition("-")
    start, end = int(first), min(int(last), len(data) - 1)
    if start >= len(data):
        return web.Response(status=416)
    headers |= {"Content-Range": f"bytes {start}-{end}/{len(data)}"}
    return web.Response(status=206, body=data[start : end + 1], headers=headers)


@asynccontextmanager
async def hub_server() -> AsyncIterator[Hub]:
    """A hub and its store, two servers with two hosts as far as a client can tell."""
    hub = Hub()
    where = "/{organisation}/{name}"
    front = web.Application()
    front.add_routes(
        [
            web.get(f"/api/models{where}", hub._listed),
            web.get(f"/api/models{where}/revision/{{revision}}", hub._listed),
            web.get(f"{where}/resolve/{{revision}}/{{path:.+}}", hub._resolved, allow_head=False),
            web.head(f"{where}/resolve/{{revision}}/{{path:.+}}", hub._resolved),
            web.route("*", "/{rest:.*}", hub._other),
        ]
    )
    behind = web.Application()
    behind.add_routes([web.get(f"{where}/{{path:.+}}", hub._stored)])
    runners = [web.AppRunner(front, access_log=None), web.AppRunner(behind, access_log=None)]
    try:
        for runner in runners:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
        hub.endpoint, hub.store = (f"http://127.0.0.1:{runner.addresses[0][1]}" for runner in runners)
        yield hub
    finally:
        for runner in runners:
            await runner.cleanup()
