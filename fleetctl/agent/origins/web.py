"""Weights on a web server: one file, or those that a manifest beside them lists."""

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import msgspec

from fleetctl.agent.origins.origin import Contents, OriginFile
from fleetctl.agent.origins.pins import pinned
from fleetctl.agent.origins.ranges import Part, Refused, Unreachable, read_part, session
from fleetctl.agent.origins.skipped import kept
from fleetctl.errors import AgentFailure

if TYPE_CHECKING:
    import aiohttp

MANIFEST = "manifest.json"
"""The file that lists the others: `{"files": [{"path": …, "size": …, "sha256": …}, …]}`, paths from its folder on."""
MANIFEST_MAX_BYTES = 4 * 1024**2
"""Twenty thousand files, a hundred times the largest model's."""
WHOLE_MAX_BYTES = 64 * 1024**2
"""A server that ignores ranges may send a file up to this size whole, which is then held in memory: tokenizers and
small models. A larger one would be sent from its beginning for every part of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listed:
    path: str
    size: int
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Manifest:
    files: tuple[_Listed, ...]


class WebOrigin:
    """One address. Its query, such as a signature, is sent and never shown."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._shown = uri.partition("?")[0]
        self._folder = ""
        self._contents: Contents | None = None
        self._listing = asyncio.Lock()
        self._whole: dict[str, asyncio.Task[bytes]] = {}
        self._http: aiohttp.ClientSession | None = None

    @classmethod
    def opened(cls, uri: str) -> "WebOrigin":
        return cls(uri)

    async def contents(self) -> Contents:
        async with self._listing:
            if self._contents is None:
                listed = urlsplit(self._uri).path.rpartition("/")[2].endswith(MANIFEST)
                files = await (self._manifest() if listed else self._one())
                self._contents = pinned(files)
            return self._contents

    async def read(self, file: OriginFile, start: int, length: int) -> bytes:
        if length == 0:
            return b""
        whole = self._whole.get(file.path)
        if whole is not None:
            return (await asyncio.shield(whole))[start : start + length]
        part = await self._part(self._url(file.path), start, length, most=0)
        if part.ranged:
            self._check(file, part)
            return part.data
        self._refuse_whole(file.path, file.size)
        if file.path not in self._whole:
            self._whole[file.path] = asyncio.ensure_future(self._read_whole(file))
        return (await asyncio.shield(self._whole[file.path]))[start : start + length]

    async def close(self) -> None:
        for whole in self._whole.values():
            whole.cancel()
        await asyncio.gather(*self._whole.values(), return_exceptions=True)
        if self._http is not None:
            await self._http.close()

    async def _one(self) -> tuple[OriginFile, ...]:
        name = unquote(urlsplit(self._uri).path.rpartition("/")[2])
        part = await self._part(self._uri, 0, 1, most=0)
        if part.total is None:
            raise AgentFailure(
                f"{self._shown}: the server does not tell its size",
                hint="put it on a server that sends Content-Length and answers ranges, or into a bucket",
            )
        if not part.ranged:
            self._refuse_whole(name, part.total)
        return (OriginFile(path=name, size=part.total, version=part.version),)

    async def _manifest(self) -> tuple[OriginFile, ...]:
        part = await self._part(self._uri, 0, MANIFEST_MAX_BYTES, most=MANIFEST_MAX_BYTES)
        try:
            listed = msgspec.json.decode(part.data, type=_Manifest).files
        except msgspec.DecodeError as error:
            raise AgentFailure(
                f"{self._shown} is no list of files: {error}",
                hint='write {"files": [{"path": "…", "size": 123, "sha256": "…"}]}',
            ) from None
        self._folder = self._uri.partition("?")[0].rpartition("/")[0]
        wanted = kept(one.path for one in listed)
        strange = next((one.path for one in listed if one.size < 0 or (one.sha256 and not _sha256(one.sha256))), None)
        if strange is not None:
            raise AgentFailure(f"{self._shown}: {strange} has no right size or sha256", hint="write the list again")
        if not wanted:
            raise AgentFailure(f"{self._shown} lists no file that engines read", hint="correct the list, or model:")
        return tuple(
            OriginFile(path=one.path, size=one.size, sha256=one.sha256 and one.sha256.lower(), version=one.sha256 or "")
            for one in sorted(listed, key=lambda one: one.path)
            if one.path in wanted
        )

    async def _read_whole(self, file: OriginFile) -> bytes:
        part = await self._part(self._url(file.path), 0, max(file.size, 1), most=WHOLE_MAX_BYTES)
        self._check(file, part)
        return part.data

    async def _part(self, url: str, start: int, length: int, *, most: int) -> Part:
        if self._http is None:
            self._http = session()
        shown = url.partition("?")[0]
        try:
            return await read_part(self._http, url, start, length, {}, most=most)
        except Refused as refused:
            raise AgentFailure(f"{shown}: the server answered HTTP {refused.status}", hint=_hint(refused)) from None
        except Unreachable as reason:
            raise AgentFailure(
                f"{shown}: the server cannot be reached: {reason}", hint="check the address and the node's way out"
            ) from None

    def _check(self, file: OriginFile, part: Part) -> None:
        changed = file.sha256 is None and file.version and part.version and part.version != file.version
        if changed or (part.total is not None and part.total != file.size):
            raise AgentFailure(
                f"{self._shown}: {file.path} has changed since it was listed",
                hint="put each version under a name of its own, or correct the list",
            )

    def _refuse_whole(self, path: str, size: int) -> None:
        if size > WHOLE_MAX_BYTES:
            raise AgentFailure(
                f"{self._shown}: the server ignores ranges, and {path} of {size} bytes is too large to be read at once",
                hint="put it on a server that answers ranges (nginx, Caddy), or into a bucket: s3://, gs://, az://",
            )

    def _url(self, path: str) -> str:
        if not self._folder:
            return self._uri
        split = urlsplit(self._uri)
        return urlunsplit(urlsplit(f"{self._folder}/{quote(path)}")._replace(query=split.query))


def _hint(refused: Refused) -> str:
    match refused.status:
        case 401 | 403:
            return "let the node read it there, or use a signed address"
        case 404 | 410:
            return "correct model:"
        case 429:
            wait = f" in {refused.wait_s:.0f} s" if refused.wait_s else ""
            return f"it is tried again by itself; the server asks for fewer requests{wait}"
    return "it is tried again by itself; look at the server's log"


def _sha256(text: str) -> bool:
    return len(text) == hashlib.sha256().digest_size * 2 and all(letter in "0123456789abcdefABCDEF" for letter in text)
