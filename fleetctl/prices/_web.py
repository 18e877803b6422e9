"""One GET that answers with JSON, with our errors."""

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from fleetctl.errors import AuthFailure, ProviderError, Throttled

TIMEOUT_S = 30.0
"""Of one page; the largest ones take some seconds."""
PAGES_MAX = 2_000
"""Of one list. The largest, all SKUs of GCP's Compute Engine, has fewer than ten of 5,000 entries."""
BODY_BYTES_MAX = 64 << 20
"""Of one page; the largest known has six megabytes."""
TRIES = 4
"""For a page that was refused because of too many questions, with a pause before each but the first."""
PAUSE_S = 1.0
"""Before the second try, doubled with each further one."""


def get_json(url: str, *, headers: Mapping[str, str] | None = None, who: str, pause_s: float = PAUSE_S) -> Any:
    """The answer to one GET. Raises `AuthFailure`, `Throttled` or `ProviderError`."""
    if not url.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        raise ProviderError(f"{who}: {_bare(url)} is not asked: prices come over https", hint="mend the endpoint")
    for attempt in range(1, TRIES + 1):
        try:
            return _get(url, headers or {}, who)
        except Throttled:
            if attempt == TRIES:
                raise
            time.sleep(pause_s * 2 ** (attempt - 1))
    raise AssertionError("the last try answers or raises")


def _get(url: str, headers: Mapping[str, str], who: str) -> Any:
    request = urllib.request.Request(url, headers={"Accept": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            body = answer.read(BODY_BYTES_MAX + 1)
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(500).decode(errors="replace").strip()
        raise _refused(error.code, said, url, who) from error
    except (OSError, http.client.HTTPException) as error:
        raise ProviderError(
            f"{who}: {_bare(url)} does not answer: {error}", hint="look at this machine's way out, then try again"
        ) from error
    if len(body) > BODY_BYTES_MAX:
        raise ProviderError(f"{who}: {_bare(url)} answered with more than {BODY_BYTES_MAX} bytes")
    try:
        return json.loads(body)
    except ValueError as error:
        raise ProviderError(f"{who}: {_bare(url)} answered with no JSON: {error}") from error


def _refused(status: int, said: str, url: str, who: str) -> ProviderError:
    told = f"{who}: {_bare(url)} answered {status}: {said}"
    if status in (401, 403):
        return AuthFailure(told, hint="log in with the cloud's own tool, then try again", provider_code=str(status))
    if status == 429:
        return Throttled(told, hint="try again in a minute", provider_code=str(status))
    return ProviderError(told, hint="try again", provider_code=str(status))


def _bare(url: str) -> str:
    """Without the query, which may carry a key."""
    return url.partition("?")[0]
