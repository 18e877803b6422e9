"""FastAPI + httpx, a lock and a request count around the choice, as SkyServe's load balancer is built: to compare with.

Its shape, written anew; run by the peers' own Python: `fastapi_proxy.py PORT UPSTREAM_PORT`.
"""

import sys
import threading
import time

import fastapi
import httpx
import uvicorn
from starlette.background import BackgroundTask

app = fastapi.FastAPI()
clients: dict[str, httpx.AsyncClient] = {}
lock = threading.Lock()
asked_at: list[float] = []
running: dict[str, int] = {}


def chosen() -> str:
    """The replica with the fewest requests."""
    with lock:
        asked_at.append(time.time())
        del asked_at[:-10_000]
        url = min(running, key=lambda one: running[one])
        running[url] += 1
        return url


def over(url: str) -> None:
    with lock:
        running[url] -= 1


@app.api_route("/{path:path}", methods=["GET", "POST", "PUT", "DELETE"])
async def forward(request: fastapi.Request) -> fastapi.responses.Response:
    url = chosen()
    client = clients[url]
    asked = client.build_request(
        request.method,
        httpx.URL(path=request.url.path, query=request.url.query.encode()),
        headers=request.headers.raw,
        content=await request.body(),
        timeout=600.0,
    )
    try:
        answer = await client.send(asked, stream=True)
    except httpx.HTTPError as error:
        over(url)
        return fastapi.responses.PlainTextResponse(str(error), status_code=502)

    async def ended() -> None:
        await answer.aclose()
        over(url)

    return fastapi.responses.StreamingResponse(
        content=answer.aiter_raw(),
        status_code=answer.status_code,
        headers=dict(answer.headers),
        background=BackgroundTask(ended),
    )


if __name__ == "__main__":
    one = f"http://127.0.0.1:{sys.argv[2]}"
    clients[one] = httpx.AsyncClient(base_url=one, limits=httpx.Limits(max_connections=None))
    running[one] = 0
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False, backlog=4096)
