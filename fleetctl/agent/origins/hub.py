"""Models of the Hugging Face hub: the commit and the files as the hub lists them, ranges from where it keeps them."""

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from fleetctl.agent.origins.origin import Contents, OriginFile
from fleetctl.agent.origins.ranges import Part, Refused, Unreachable, read_part, session
from fleetctl.agent.origins.skipped import kept
from fleetctl.engines import ModelSource, model_source
from fleetctl.errors import AgentFailure

if TYPE_CHECKING:
    import aiohttp

LIST_TIMEOUT_S = 30.0
"""For the list of files: the hub takes a second or two for a repository of a thousand files."""
FILES_MAX = 10_000
"""Of one repository. The largest models have some two hundred; data sets have more and are no models."""

_CHATTY = ("httpx", "httpx2")
"""Loggers that write a line for each request."""
_EXPIRED = frozenset({401, 403, 404, 410})
"""What a place answers whose signed address is over: the hub gives a new one."""


class HubOrigin:
    """One model at one commit, which is resolved once. HF_ENDPOINT, and without `token` HF_TOKEN and what
    `hf auth login` left, are read as huggingface_hub reads them."""

    def __init__(self, source: ModelSource, token: str | None, limit_s: float) -> None:
        self._source = source
        self._token = token
        self._limit_s = limit_s
        self._contents: Contents | None = None
        self._paths: dict[str, str] = {}
        """Within the repository, by path below what `model:` names."""
        self._listing = asyncio.Lock()
        self._places: dict[str, asyncio.Task[str]] = {}
        self._http: aiohttp.ClientSession | None = None

    @classmethod
    def opened(cls, uri: str, token: str | None = None, limit_s: float | None = None) -> "HubOrigin":
        """Raises `AgentFailure` where huggingface_hub is not installed."""
        try:
            from huggingface_hub import constants
        except ImportError:
            raise AgentFailure(
                f"{uri} cannot be fetched: huggingface_hub is not installed on this node",
                hint="run there: pip install 'fleetctl[node]'",
            ) from None
        # Else it asks the hub, before anything else, which tool may be calling it.
        constants.HF_HUB_DISABLE_TELEMETRY = True
        for library in _CHATTY:
            logging.getLogger(library).setLevel(logging.WARNING)
        return cls(model_source(uri), token, limit_s or LIST_TIMEOUT_S)

    async def contents(self) -> Contents:
        async with self._listing:
            if self._contents is None:
                self._contents = await asyncio.to_thread(self._listed)
            return self._contents

    async def read(self, file: OriginFile, start: int, length: int) -> bytes:
        if length == 0:
            return b""
        part = await self._part(file, start, length, again=True)
        if part.total is not None and part.total != file.size:
            raise AgentFailure(
                f"{self._name} {file.path} is {part.total} bytes and was listed with {file.size}",
                hint="pin the commit in model:, then try again",
            )
        if part.ranged:
            return part.data
        if len(part.data) == file.size:  # a small file from a server that sends it whole
            return part.data[start : start + length]
        raise AgentFailure(
            f"{self._name} {file.path} comes whole only, and parts of it were asked for",
            hint="let HF_ENDPOINT lead to a hub or mirror that answers ranges",
        )

    async def close(self) -> None:
        for place in self._places.values():
            place.cancel()
        await asyncio.gather(*self._places.values(), return_exceptions=True)
        if self._http is not None:
            await self._http.close()

    @property
    def _name(self) -> str:
        return self._source.name

    def _listed(self) -> Contents:
        from huggingface_hub import HfApi

        source = self._source
        with self._refusals():
            found = HfApi(endpoint=_endpoint(), token=self._token).model_info(
                source.name, revision=source.revision, files_metadata=True, timeout=self._limit_s
            )
        siblings = found.siblings or []
        if found.sha is None or len(siblings) > FILES_MAX:
            raise AgentFailure(
                f"{source.name} lists {len(siblings)} files at commit {found.sha}, which is no model's list",
                hint="correct model:",
            )
        chosen = {_below(source, one.rfilename): one for one in siblings if _chosen(source, one.rfilename)}
        wanted = kept(chosen)
        files = []
        for path, one in chosen.items():
            if path not in wanted:
                continue
            if one.size is None:
                raise AgentFailure(f"the hub does not tell the size of {source.name} {one.rfilename}", hint="try again")
            self._paths[path] = one.rfilename
            sha256 = one.lfs.sha256 if one.lfs is not None else None
            files.append(OriginFile(path=path, size=one.size, sha256=sha256, version=sha256 or one.blob_id or ""))
        if not files:
            part = source.path or (f"file with {source.tag} in its name" if source.tag else "file that engines read")
            raise AgentFailure(f"{source.name} has no {part} at commit {found.sha}", hint="correct model:")
        return Contents(revision=found.sha, files=tuple(sorted(files, key=lambda file: file.path)))

    async def _part(self, file: OriginFile, start: int, length: int, *, again: bool) -> Part:
        if self._http is None:
            self._http = session()
        place = await self._place(file)
        own = _host(place) == _host(_endpoint())
        # The token is for the hub alone: where it keeps the bytes, the signature in the address opens them.
        headers = self._headers() if own else {}
        try:
            return await read_part(self._http, place, start, length, headers, most=file.size)
        except Refused as refused:
            if again and not own and refused.status in _EXPIRED:
                self._places.pop(file.path, None)
                return await self._part(file, start, length, again=False)
            raise self._failure(refused.status, refused.wait_s) from None
        except Unreachable as reason:
            raise AgentFailure(
                f"{self._name} {file.path}: {_host(place)} cannot be reached: {reason}",
                hint="check the node's way out, or set HF_ENDPOINT to a mirror it can reach",
            ) from None

    async def _place(self, file: OriginFile) -> str:
        """Where the hub keeps the file; asked for once by all who read it: a thousand ranges would be too many asks."""
        revision = (await self.contents()).revision
        place = self._places.get(file.path)
        if place is None or _failed(place):
            place = asyncio.ensure_future(asyncio.to_thread(self._asked_place, self._paths[file.path], revision))
            self._places[file.path] = place
        return await asyncio.shield(place)

    def _asked_place(self, path: str, revision: str) -> str:
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        endpoint = _endpoint()
        with self._refusals():
            url = hf_hub_url(self._name, path, revision=revision, endpoint=endpoint)
            return get_hf_file_metadata(url, token=self._token, endpoint=endpoint).location

    def _headers(self) -> dict[str, str]:
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # public, and not re-exported

        return dict(build_hf_headers(token=self._token))

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """huggingface_hub's errors as ours."""
        from huggingface_hub import errors

        # Its errors descend from those of its HTTP library, which has changed from one release to the next.
        transport = cast("type[Exception]", errors.HfHubHTTPError.__bases__[0])
        try:
            yield
        except errors.GatedRepoError:
            raise AgentFailure(
                f"{self._name} is gated on the hub, and {self._who()} may not read it",
                hint=f"accept its terms at {_endpoint()}/{self._name}, and set HF_TOKEN where the controller runs",
            ) from None
        except errors.RevisionNotFoundError:
            raise AgentFailure(
                f"{self._name} has no revision {self._source.revision} on the hub", hint="correct model: after @"
            ) from None
        except errors.RepositoryNotFoundError:
            raise self._failure(404) from None
        except errors.HFValidationError as error:
            raise AgentFailure(
                f"{self._name} is no name of a model on the hub: {error}", hint="write hf://organisation/name@revision"
            ) from None
        except errors.HfHubHTTPError as error:
            wait = error.response.headers.get("Retry-After", "")
            raise self._failure(error.response.status_code, float(wait) if wait.isdigit() else None) from None
        except (transport, OSError) as error:
            raise AgentFailure(
                f"{self._name}: the hub at {_endpoint()} cannot be reached: {type(error).__name__}",
                hint="check the node's way out, or set HF_ENDPOINT to a mirror it can reach",
            ) from None

    def _failure(self, status: int, wait_s: float | None = None) -> AgentFailure:
        match status:
            case 401 | 403:
                return AgentFailure(
                    f"{self._name}: the hub refuses {self._who()} (HTTP {status})",
                    hint="set HF_TOKEN where the controller runs to a token that may read this model",
                )
            case 404:
                return AgentFailure(
                    f"the hub has no model {self._name} that {self._who()} may see",
                    hint="correct model:, or set HF_TOKEN where the controller runs if it is private",
                )
            case 429:
                wait = f"; it asks to wait {wait_s:.0f} s" if wait_s else ""
                return AgentFailure(
                    f"{self._name}: the hub has had too many requests of {self._who()} (HTTP 429){wait}",
                    hint="it is tried again by itself; set HF_TOKEN for a larger share, or HF_ENDPOINT to a mirror",
                )
        return AgentFailure(
            f"{self._name}: the hub answered HTTP {status}",
            hint="it is tried again by itself; see status.huggingface.co",
        )

    def _who(self) -> str:
        from huggingface_hub import get_token

        return "this token" if self._token or get_token() else "somebody without a token"


def _endpoint() -> str:
    """As huggingface_hub has it, which reads the variable once, when it is first imported."""
    from huggingface_hub import constants

    return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")


def _chosen(source: ModelSource, path: str) -> bool:
    """Whether the file belongs to what `model:` names within the repository."""
    if source.path and path != source.path and not path.startswith(f"{source.path}/"):
        return False
    return not (source.tag and path.lower().endswith(".gguf")) or source.tag.lower() in path.lower()


def _below(source: ModelSource, path: str) -> str:
    """The path below the folder that `model:` names; of one file, its name."""
    if path == source.path:
        return path.rpartition("/")[2]
    return path[len(source.path) :].lstrip("/") if source.path else path


def _failed(place: asyncio.Task[str]) -> bool:
    return place.done() and (place.cancelled() or place.exception() is not None)


def _host(url: str) -> str:
    return urlsplit(url).netloc
