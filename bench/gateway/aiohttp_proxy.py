"""A plain proxy with aiohttp on both sides, to compare with: `aiohttp_proxy.py PORT UPSTREAM_PORT`."""

import sys

from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

_NOT_PASSED = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host", "te", "upgrade"})


def proxy(upstream: str) -> web.Application:
    app = web.Application(client_max_size=32 * 1024 * 1024)

    async def session(app: web.Application):  # type: ignore[no-untyped-def]
        app["session"] = ClientSession(connector=TCPConnector(limit=0), timeout=ClientTimeout(total=None))
        yield
        await app["session"].close()

    async def forward(request: web.Request) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _NOT_PASSED}
        async with request.app["session"].request(
            request.method, upstream + request.path_qs, headers=headers, data=await request.read()
        ) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _NOT_PASSED}
            if answer.headers.get("Content-Length"):
                return web.Response(status=answer.status, headers=kept, body=await answer.read())
            streamed = web.StreamResponse(status=answer.status, headers=kept)
            await streamed.prepare(request)
            async for piece in answer.content.iter_any():
                await streamed.write(piece)
            return streamed

    app.cleanup_ctx.append(session)
    app.router.add_route("*", "/{path:.*}", forward)
    return app


if __name__ == "__main__":
    try:
        import uvloop
    except ImportError:
        loop = None
    else:
        loop = uvloop.new_event_loop()
    web.run_app(
        proxy(f"http://127.0.0.1:{sys.argv[2]}"), host="127.0.0.1", port=int(sys.argv[1]), access_log=None, loop=loop
    )
