"""Buckets: `s3://`, `gs://` and `az://` through obstore, with the credentials that it finds by itself.

Credentials, by kind: variables (`AWS_ACCESS_KEY_ID` …, `GOOGLE_SERVICE_ACCOUNT` …, `AZURE_STORAGE_ACCOUNT_KEY` …), web
identity, then the machine's own role. `AWS_SKIP_SIGNATURE=true` (and its kin) reads public buckets with none.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, assert_never
from urllib.parse import quote

from fleetctl.agent.origins.origin import Contents, OriginFile
from fleetctl.agent.origins.pins import pinned
from fleetctl.agent.origins.skipped import kept
from fleetctl.errors import AgentFailure

if TYPE_CHECKING:
    from obstore.store import AzureStore, ClientConfig, GCSStore, RetryConfig, S3Store

Kind = Literal["s3", "gs", "az"]

OBJECTS_MAX = 10_000
"""Under one prefix. A model has some two hundred files at most; a prefix with more is a whole bucket by mistake."""
SILENCE_S = 60
"""A store that sends nothing for this long has lost the connection."""
REQUEST_S = 600
"""For one range as a whole: 16 MiB over a line so slow that nobody would serve a model behind it."""
RETRIES = 3
"""Of one request, by obstore, after server errors and broken connections; what lasts longer is told."""
RETRY_S = 20
"""For all of them: where there is no role, the machine's metadata server is asked for one in vain."""

_REGION_S = 10.0
_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL", "GOOGLE_STORAGE_BASE_URL"),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_ACCOUNTS = ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT", "AZURE_ACCOUNT_NAME")
_STATUS = re.compile(r"status code: (\d{3})")
_ASKS_FOR_A_ROLE = ("169.254.169.254", "169.254.170.2", "metadata.google", "oauth2", "login.microsoftonline")
"""In the address of a request that failed: it was for credentials, not for what is in the bucket."""
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d")


class ObjectsOrigin:
    """What is under one prefix, or one object of that very name."""

    def __init__(self, uri: str, kind: Kind, bucket: str, prefix: str) -> None:
        self._uri = uri
        self._kind: Kind = kind
        self._bucket = bucket
        self._prefix = prefix
        self._store: S3Store | GCSStore | AzureStore | None = None
        self._contents: Contents | None = None
        self._one = False
        """The prefix is an object, not a folder."""

    @classmethod
    def opened(cls, uri: str) -> "ObjectsOrigin":
        """Raises `AgentFailure` where obstore is not installed."""
        try:
            import obstore  # noqa: F401
        except ImportError:
            raise AgentFailure(
                f"{uri} cannot be fetched: obstore is not installed on this node",
                hint="run there: pip install 'fleetctl[node]'",
            ) from None
        scheme, _, rest = uri.partition("://")
        bucket, _, prefix = rest.partition("/")
        kind: Kind = "s3" if scheme == "s3" else "gs" if scheme == "gs" else "az"
        return cls(uri, kind, bucket, prefix.strip("/"))

    async def contents(self) -> Contents:
        import obstore

        if self._contents is not None:
            return self._contents
        store = await self._opened()
        found: list[obstore.ObjectMeta] = []
        with self._refusals():
            async for page in obstore.list(store, prefix=self._prefix or None):
                found.extend(page)
                if len(found) > OBJECTS_MAX:
                    raise AgentFailure(
                        f"{self._uri} has more than {OBJECTS_MAX} objects, which is no model", hint="correct model:"
                    )
            if not found and self._prefix:
                found = [await obstore.head_async(store, self._prefix)]
                self._one = True
        files = {self._name(one["path"]): one for one in found}
        wanted = kept(files)
        if not wanted:
            raise AgentFailure(f"{self._uri} has no file that engines read", hint="correct model:")
        self._contents = pinned(
            OriginFile(path=path, size=one["size"], version=one["e_tag"] or one["version"] or "")
            for path, one in files.items()
            if path in wanted
        )
        return self._contents

    async def read(self, file: OriginFile, start: int, length: int) -> bytes:
        import obstore

        if length == 0:
            return b""
        store = await self._opened()
        key = self._prefix if self._one else f"{self._prefix}/{file.path}".lstrip("/")
        with self._refusals(file.path):
            options: obstore.GetOptions = {"range": (start, start + length)}
            if file.version.startswith('"'):
                options["if_match"] = file.version
            answer = await obstore.get_async(store, key, options=options)
            if answer.meta["size"] != file.size:
                raise _changed(self._uri, file.path)
            data = bytes(await answer.bytes_async())
        if len(data) != length:
            raise AgentFailure(
                f"{self._uri}: {file.path} gave {len(data)} of {length} bytes", hint="it is tried again by itself"
            )
        return data

    async def close(self) -> None:
        self._store = None

    def _name(self, key: str) -> str:
        if self._one:
            return key.rpartition("/")[2]
        return key[len(self._prefix) :].lstrip("/") if self._prefix else key

    async def _opened(self) -> "S3Store | GCSStore | AzureStore":
        if self._store is None:
            with self._refusals():
                self._store = await self._made()
        return self._store

    async def _made(self) -> "S3Store | GCSStore | AzureStore":
        from obstore import store

        client: ClientConfig = {
            "timeout": timedelta(seconds=REQUEST_S),
            "read_timeout": timedelta(seconds=SILENCE_S),
        }
        if any(os.environ.get(name, "").startswith("http://") for name in _ENDPOINTS[self._kind]):
            client["allow_http"] = True  # who writes http:// in an endpoint means it
        retry: RetryConfig = {"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_S)}
        match self._kind:
            case "s3":
                known = any(os.environ.get(name) for name in (*_REGIONS, *_ENDPOINTS["s3"]))
                region = None if known else await bucket_region(self._bucket)
                if region is None:
                    return store.S3Store(self._bucket, client_options=client, retry_config=retry)
                return store.S3Store(self._bucket, region=region, client_options=client, retry_config=retry)
            case "gs":
                return store.GCSStore(self._bucket, client_options=client, retry_config=retry)
            case "az":
                if not any(os.environ.get(name) for name in (*_ACCOUNTS, "AZURE_STORAGE_USE_EMULATOR")):
                    raise AgentFailure(
                        f"{self._uri} names no storage account",
                        hint="set AZURE_STORAGE_ACCOUNT_NAME in the environment of the node agent",
                    )
                return store.AzureStore(self._bucket, client_options=client, retry_config=retry)
        assert_never(self._kind)

    @contextmanager
    def _refusals(self, path: str = "") -> Iterator[None]:
        """obstore's errors as ours. Their texts are not passed on: they hold addresses with signatures."""
        from obstore import exceptions

        where = f"{self._uri}: {path}" if path else self._uri
        try:
            yield
        except (exceptions.NotFoundError, FileNotFoundError):
            raise _absent(where) from None
        except exceptions.PreconditionError:
            raise _changed(self._uri, path) from None
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError):
            raise self._refused(where) from None
        except exceptions.BaseError as error:
            raise self._failure(where, str(error)) from None

    def _refused(self, where: str) -> AgentFailure:
        return AgentFailure(f"{where}: the store refuses this node's credentials", hint=_hint(self._kind))

    def _failure(self, where: str, text: str) -> AgentFailure:
        found = _STATUS.search(text)
        status = int(found[1]) if found is not None else 0
        if any(host in text for host in _ASKS_FOR_A_ROLE):
            return AgentFailure(f"{where}: this node has no credentials for it", hint=_hint(self._kind))
        if "without LOCATION" in text or status == 301:
            return AgentFailure(f"{where} is in another region", hint="set AWS_REGION for the node agent")
        if status in (401, 403):
            return self._refused(where)
        if status == 404:
            return _absent(where)
        if status in (429, 503):
            return AgentFailure(
                f"{where}: the store asks for fewer requests (HTTP {status})", hint="it is tried again by itself"
            )
        said = f"answered HTTP {status}" if status else "cannot be reached"
        return AgentFailure(
            f"{where}: the store {said}",
            hint=f"check the node's way out, and {_ENDPOINTS[self._kind][-1]} if it is set",
        )


async def bucket_region(bucket: str, endpoint: str = "https://s3.amazonaws.com") -> str | None:
    """The region of a bucket, which S3 tells anybody, even those whom it refuses the rest; None: it does not say."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=_REGION_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as http,
            http.head(f"{endpoint}/{quote(bucket)}", allow_redirects=False) as answer,
        ):
            region = answer.headers.get("x-amz-bucket-region", "")
    except (aiohttp.ClientError, OSError, TimeoutError):
        return None
    return region if _REGION.fullmatch(region) else None


def _absent(where: str) -> AgentFailure:
    return AgentFailure(f"{where} is not there", hint="correct model:")


def _changed(uri: str, path: str) -> AgentFailure:
    return AgentFailure(
        f"{uri}: {path} has changed since it was listed", hint="put each version under a prefix of its own"
    )


def _hint(kind: Kind) -> str:
    match kind:
        case "s3":
            return "give the machine a role that may read the bucket, or set AWS_ACCESS_KEY_ID … for the node agent"
        case "gs":
            return (
                "give the machine a service account that may read it, or set GOOGLE_SERVICE_ACCOUNT for the node agent"
            )
        case "az":
            return "give the machine an identity that may read it, or set AZURE_STORAGE_ACCOUNT_KEY for the node agent"
    assert_never(kind)
