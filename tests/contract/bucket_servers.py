"""Google's and Azure's object stores, for tests: ours, in the XML that they document. Not recorded from them.

Only what reading needs: a listing by prefix in pages, HEAD, and GET with a range and If-Match. S3 is judged by moto.
"""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from xml.sax.saxutils import escape

from aiohttp import web

PAGE = 2
"""Objects in one page of a listing."""


class Bucket:
    """Objects by key, and levers."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.objects: dict[str, bytes] = {}
        self.answers: list[int] = []
        """Statuses of the next answers."""
        self.pages = 0

    async def answered(self, request: web.Request) -> web.Response:
        if self.answers:
            return web.Response(status=self.answers.pop(0))
        key = request.match_info["key"]
        if not key:
            self.pages += 1
            return self.listed(request)
        data = self.objects.get(key)
        if data is None:
            return web.Response(status=404)
        headers = {"ETag": _etag(data), "Last-Modified": formatdate(0, usegmt=True), "x-goog-generation": "1"}
        wanted = request.headers.get("If-Match")
        if wanted is not None and wanted != headers["ETag"]:
            return web.Response(status=412)
        asked = request.headers.get("Range") or request.headers.get("x-ms-range") or ""
        if request.method == "HEAD" or not asked:
            return web.Response(body=data, headers=headers)
        first, _, last = asked.removeprefix("bytes=").partition("-")
        end = min(int(last), len(data) - 1)
        headers["Content-Range"] = f"bytes {first}-{end}/{len(data)}"
        return web.Response(status=206, body=data[int(first) : end + 1], headers=headers)

    def listed(self, request: web.Request) -> web.Response:
        raise NotImplementedError

    def page(self, prefix: str, after: str) -> tuple[list[str], str]:
        """Keys of one page, and what to ask the next one with."""
        keys = [key for key in sorted(self.objects) if key.startswith(prefix) and key > after]
        return keys[:PAGE], keys[PAGE - 1] if len(keys) > PAGE else ""


class GoogleBucket(Bucket):
    """The XML API of Cloud Storage."""

    def listed(self, request: web.Request) -> web.Response:
        keys, more = self.page(request.query.get("prefix", ""), request.query.get("continuation-token", ""))
        found = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00Z</LastModified>"
            f"<ETag>{escape(_etag(self.objects[key]))}</ETag><Size>{len(self.objects[key])}</Size></Contents>"
            for key in keys
        )
        token = f"<NextContinuationToken>{escape(more)}</NextContinuationToken>" if more else ""
        return _xml(f"<ListBucketResult>{token}{found}</ListBucketResult>")


class AzureContainer(Bucket):
    """List Blobs of the Blob service."""

    def listed(self, request: web.Request) -> web.Response:
        keys, more = self.page(request.query.get("prefix", ""), request.query.get("marker", ""))
        found = "".join(
            f"<Blob><Name>{escape(key)}</Name><Properties><Last-Modified>{formatdate(0, usegmt=True)}</Last-Modified>"
            f"<Etag>{escape(_etag(self.objects[key]))}</Etag><Content-Length>{len(self.objects[key])}</Content-Length>"
            f"<Content-Type>application/octet-stream</Content-Type></Properties></Blob>"
            for key in keys
        )
        return _xml(
            f'<EnumerationResults ContainerName="models"><Prefix/><Blobs>{found}</Blobs>'
            f"<NextMarker>{escape(more)}</NextMarker></EnumerationResults>"
        )


@asynccontextmanager
async def bucket_server(bucket: Bucket) -> AsyncIterator[None]:
    app = web.Application()
    app.add_routes([web.get("/models{slash:/?}{key:.*}", bucket.answered)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        bucket.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield
    finally:
        await runner.cleanup()


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


def _xml(text: str) -> web.Response:
    return web.Response(text=f'<?xml version="1.0" encoding="utf-8"?>{text}', content_type="application/xml")
