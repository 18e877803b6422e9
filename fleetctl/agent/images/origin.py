"""An image at its registry, as files and ranges: what a Node reads once and others then have from it."""

import asyncio
import functools
import ipaddress
import logging
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from fleetctl.agent.images.credentials import login
from fleetctl.agent.images.manifests import INDEX_TYPES, MANIFEST_TYPES, SIZE_MAX_BYTES, digest_of, of_platform, parsed
from fleetctl.agent.images.refusals import Refusal, refusal
from fleetctl.agent.origins.origin import Contents, OriginFile
from fleetctl.agent.runtimes.images import DockerFacts
from fleetctl.errors import AgentFailure
from fleetctl.model.images import HUB, ImageName, image_name

if TYPE_CHECKING:
    import dxf
    import requests

log = logging.getLogger(__name__)

T = TypeVar("T")

READS_MAX = 10
"""Ranges asked for at once: what `max-concurrent-downloads` is for Docker. Registries count requests."""

PAUSES_S = (1.0, 5.0, 15.0)
"""Before the next attempt, where a registry says that there are too many requests, or breaks off. It is worth some
waiting here: whoever follows this Node waits with it, instead of asking the registry too."""

_RETRY_AFTER_MAX_S = 60.0
"""A registry that wants to be left alone for longer is left alone: the fetch fails, and is tried again later."""

_TIMEOUT_S = 30.0
"""Without a byte."""

_PIECE_BYTES = 256 * 1024

_HUB_HOST = "registry-1.docker.io"

MANIFESTS, CONFIG, LAYERS = "0-manifests", "1-config", "2-layers"
"""Folders of the files of an image. They come in the order of their names: Docker asks for manifests first."""


def blob_path(path: str) -> str:
    """The digest that a file of an image is named by."""
    return f"sha256:{path.rpartition('-')[2]}"


class RegistryOrigin:
    """One image of one platform. `pauses_s`: between attempts."""

    def __init__(self, name: str, node: str, facts: DockerFacts, pauses_s: tuple[float, ...] = PAUSES_S) -> None:
        """Raises `AgentFailure` when the node lacks the library that reads registries."""
        try:
            import dxf
        except ImportError:
            raise AgentFailure(
                f"image {name} cannot be passed on by {node}: the python-dxf package is not installed there",
                hint="pip install 'fleetctl[node]'",
            ) from None
        self._name = name
        self._taken = image_name(name)
        self._node = node
        self._facts = facts
        self._pauses_s = pauses_s
        self._registry: dxf.DXF | None = None
        self._opening = threading.Lock()
        self._closed = False
        self._reads = asyncio.Semaphore(READS_MAX)

    async def digest(self) -> str:
        """What the name means at its registry now."""
        return digest_of(await self._manifest(self._taken.digest or self._taken.tag or "latest"))

    async def contents(self) -> Contents:
        """Manifests, configuration and layers; the revision is the digest in the name, or what its tag means now."""
        first = await self._manifest(self._taken.digest or self._taken.tag or "latest")
        digest = digest_of(first)
        if self._taken.digest and digest != self._taken.digest:
            raise refusal(self._node, self._name, "digest mismatch")
        texts = [first]
        manifest = parsed(self._name, first)
        if manifest.is_index:
            chosen = of_platform(self._node, self._name, manifest, self._facts.platform)
            texts.append(await self._manifest(chosen.digest))
            manifest = parsed(self._name, texts[-1])
        files = [_file(MANIFESTS, number, digest_of(text), len(text)) for number, text in enumerate(texts)]
        if manifest.config is None:
            raise AgentFailure(f"image {self._name} has no configuration", hint="push the image again")
        files.append(_file(CONFIG, 0, manifest.config.digest, manifest.config.size))
        layers = {layer.digest: layer for layer in manifest.layers}  # an image may have the same layer twice
        files += [_file(LAYERS, number, layer.digest, layer.size) for number, layer in enumerate(layers.values())]
        return Contents(revision=digest, files=tuple(sorted(files, key=lambda file: file.path)))

    async def read(self, file: OriginFile, start: int, length: int) -> bytes:
        kind = "manifests" if file.path.startswith(f"{MANIFESTS}/") else "blobs"
        path = f"{kind}/{blob_path(file.path)}"
        async with self._reads:
            return await self._asked(lambda: self._range(path, start, length, whole=kind == "manifests"))

    async def close(self) -> None:
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with self._opening:
            self._closed = True  # a read that was broken off may still run in its thread
            if self._registry is not None:
                _left(self._registry)
                self._registry = None

    async def _manifest(self, reference: str) -> bytes:
        """As it was sent, so that its digest is what its name says."""
        return await self._asked(lambda: self._whole(f"manifests/{reference}"))

    async def _asked(self, call: Callable[[], T]) -> T:
        """The answer, after as many attempts as it is worth. Raises `Refusal`."""
        for pause in (*self._pauses_s, None):
            try:
                return await asyncio.to_thread(functools.partial(self._translated, call))
            except Refusal as refused:
                after = refused.after_s if refused.after_s is not None else pause
                if refused.kind not in ("busy", "other") or pause is None or after is None:
                    raise
                if after > _RETRY_AFTER_MAX_S:
                    raise
                await asyncio.sleep(after)
        raise AssertionError("the last attempt returns or raises")

    def _translated(self, call: Callable[[], T]) -> T:
        """In a thread: whatever the libraries raise, as a `Refusal`."""
        import dxf.exceptions
        import requests

        try:
            return call()
        except requests.HTTPError as error:
            answer = error.response
            status = answer.status_code if answer is not None else 0
            said = f"{status} {answer.text[:200] if answer is not None else error}"
            if answer is not None:
                answer.close()
            raise refusal(self._node, self._name, said, after_s=_retry_after_s(answer)) from None
        except dxf.exceptions.DXFError as error:
            said = f"401 {error}" if "auth" in type(error).__name__.lower() else str(error)
            raise refusal(self._node, self._name, said) from None
        except (requests.RequestException, OSError) as error:
            raise refusal(self._node, self._name, f"{self._taken.registry} does not answer: {error}") from None

    def _range(self, path: str, start: int, length: int, *, whole: bool) -> bytes:
        wanted = {"Range": f"bytes={start}-{start + length - 1}"}
        with self._get(path, {} if whole else wanted) as answer:
            if whole or answer.status_code == 200:
                if not whole and (start or int(answer.headers.get("Content-Length", -1)) != length):
                    raise AgentFailure(
                        f"{self._taken.registry} gives image {self._name} only as a whole, so it cannot be passed on",
                        hint="name a mirror that serves ranges, in registry_mirrors of kind: fleet",
                    )
                return _body(answer, start + length)[start:]
            return _body(answer, length)

    def _whole(self, path: str) -> bytes:
        with self._get(path, {}) as answer:
            text = _body(answer, SIZE_MAX_BYTES + 1)
        if len(text) > SIZE_MAX_BYTES:
            raise AgentFailure(f"the manifest of image {self._name} is too long", hint="correct image:")
        return text

    def _get(self, path: str, headers: dict[str, str]) -> "requests.Response":
        """Opens the way to the registry at the first call."""
        registry = self._registry
        if registry is None:
            with self._opening:  # reads come side by side, and one way is enough
                registry = self._registry
                if registry is None:
                    return self._open(path, headers)
        return _ask(registry, path, headers)

    def _open(self, path: str, headers: dict[str, str]) -> "requests.Response":
        import requests
        from dxf import DXF, DXFBase

        if self._closed:
            raise requests.ConnectionError("it was closed")
        known = login(self._taken.registry)

        def authenticated(registry: DXFBase, response: requests.Response) -> None:
            user, password = known or (None, None)
            with response:  # its headers say how to log in; nobody reads its body
                registry.authenticate(user, password, actions=["pull"], response=response)

        failed: Exception | None = None
        for host, plain, verify in _ways(self._taken, self._facts):
            registry = DXF(host, self._taken.path, authenticated, insecure=plain, tlsverify=verify, timeout=_TIMEOUT_S)
            registry.__enter__()
            try:
                answer = _ask(registry, path, headers)
            except (requests.ConnectionError, requests.Timeout) as error:
                _left(registry)
                failed = failed or error
                continue
            except requests.HTTPError:
                self._registry = registry  # this way leads there, and the answer is no
                raise
            except BaseException:
                _left(registry)
                raise
            self._registry = registry
            return answer
        assert failed is not None
        raise failed


def _ask(registry: "dxf.DXF", path: str, headers: dict[str, str]) -> "requests.Response":
    # dxf itself reads blobs as a whole, and manifests as text; its request, with its logins, does what we need.
    kinds = ", ".join((*MANIFEST_TYPES, *INDEX_TYPES))
    answer: requests.Response = registry._request(  # type: ignore[no-untyped-call]
        "get", path, headers={"Accept": kinds, **headers}, stream=True
    )
    return answer


def _body(answer: "requests.Response", most: int) -> bytes:
    """What it holds, and no more than `most` bytes of it, whatever is sent."""
    found = bytearray()
    for piece in answer.iter_content(_PIECE_BYTES):
        found += piece
        if len(found) >= most:
            break
    return bytes(memoryview(found)[:most])


def _left(registry: "dxf.DXF") -> None:
    """Close its connections."""
    registry.__exit__(None, None, None)  # type: ignore[no-untyped-call]


def _ways(taken: ImageName, facts: DockerFacts) -> Iterator[tuple[str, bool, bool]]:
    """Host, whether without TLS, and whether its certificate counts: as Docker itself tries them."""
    if taken.registry == HUB:
        for mirror in facts.mirrors:
            scheme, _, rest = mirror.rstrip("/").rpartition("://")
            yield rest, scheme == "http", True
        yield _HUB_HOST, False, True
        return
    if taken.registry in facts.insecure or _on_loopback(taken.registry):
        yield taken.registry, False, False
        yield taken.registry, True, False
        return
    yield taken.registry, False, True


def _on_loopback(registry: str) -> bool:
    host = registry.rpartition(":")[0] or registry
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _retry_after_s(answer: "requests.Response | None") -> float | None:
    said = answer.headers.get("Retry-After", "") if answer is not None else ""
    return float(said) if said.isdigit() else None


def _file(folder: str, number: int, digest: str, size: int) -> OriginFile:
    digits = digest.partition(":")[2]
    return OriginFile(path=f"{folder}/{number:04d}-{digits}", size=size, sha256=digits)
