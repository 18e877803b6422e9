"""A registry of images on a host of the bed: Debian's docker-registry, with what it sent counted by itself."""

import hashlib
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bed.machines import UP_S, listens
from bed.network import BedError, Link, begin
from bed.places import cache

PORT = 5000
METRICS_PORT = 5001
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
"""Not compressed: at the rates of a bed, packing would cost more time than it saves."""

_SETTINGS = """\
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {blobs}}}, delete: {{enabled: true}}, cache: {{blobdescriptor: inmemory}}}}
http:
  addr: {address}:{port}
  debug: {{addr: "{address}:{metrics}", prometheus: {{enabled: true, path: /metrics}}}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A tar of files, as Docker unpacks it over the layers before."""

    path: Path
    digest: str
    """`sha256:…` of the tar, which is not compressed."""
    size: int


def layer(path: Path) -> Layer:
    """The tar with its digest, read once and remembered beside it."""
    note = path.with_suffix(".digest")
    size = path.stat().st_size
    if note.is_file() and note.stat().st_mtime >= path.stat().st_mtime:
        return Layer(path=path, digest=note.read_text(), size=size)
    with path.open("rb") as file:
        digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    note.write_text(digest)
    return Layer(path=path, digest=digest, size=size)


class Registry:
    """Runs until its host's namespace is cleared. Blobs outlive it, in the cache."""

    def __init__(self, link: Link, folder: Path) -> None:
        self.link = link
        self.address = f"{link.address}:{PORT}"
        blobs = cache() / "registry"
        blobs.mkdir(exist_ok=True)
        settings = folder / "registry.yml"
        settings.write_text(_SETTINGS.format(blobs=blobs, address=link.address, port=PORT, metrics=METRICS_PORT))
        self._log = folder / "registry.log"
        begin("docker-registry", "serve", str(settings), space=link.space, log=self._log)

    def wait(self) -> None:
        """Return when it answers. Raises `BedError` with its last words."""
        deadline = time.monotonic() + UP_S
        while not (listens(self.link.address, PORT) and listens(self.link.address, METRICS_PORT)):
            if time.monotonic() > deadline:
                raise BedError(f"the registry did not come up: {self._log.read_text()[-800:]}")
            time.sleep(0.05)

    def served(self) -> int:
        """Bytes of blobs (layers and configurations) that it has sent since it began, by its own count."""
        url = f"http://{self.link.address}:{METRICS_PORT}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
        found = re.search(r'^registry_http_response_size_bytes_sum\{handler="blob"\} (\S+)$', text, re.MULTILINE)
        return int(float(found[1])) if found is not None else 0

    def push(self, name: str, tag: str, layers: Iterable[Layer], config: dict[str, object]) -> str:
        """An image of these layers; its reference by digest, `host:port/name@sha256:…`.

        `config` is Docker's own: Entrypoint, Env, … Layers that are there already are not sent again.
        """
        layers = tuple(layers)
        image = {
            "architecture": "amd64",
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [one.digest for one in layers]},
        }
        body = json.dumps(image, sort_keys=True).encode()
        for one in layers:
            self._upload(name, one.digest, one.path)
        config_digest = self._upload(name, f"sha256:{hashlib.sha256(body).hexdigest()}", body)
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {"mediaType": _CONFIG, "size": len(body), "digest": config_digest},
                "layers": [{"mediaType": _LAYER, "size": one.size, "digest": one.digest} for one in layers],
            }
        ).encode()
        self._ask("PUT", f"/v2/{name}/manifests/{tag}", manifest, {"content-type": MANIFEST})
        return f"{self.address}/{name}@sha256:{hashlib.sha256(manifest).hexdigest()}"

    def _upload(self, name: str, digest: str, data: Path | bytes) -> str:
        try:
            self._ask("HEAD", f"/v2/{name}/blobs/{digest}")
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
        else:
            return digest
        begun = self._ask("POST", f"/v2/{name}/blobs/uploads/")
        where = begun["Location"].split(self.address, 1)[-1]
        where += f"{'&' if '?' in where else '?'}digest={digest}"
        headers = {"content-type": "application/octet-stream"}
        if isinstance(data, bytes):
            self._ask("PUT", where, data, headers)
        else:
            with data.open("rb") as file:
                self._ask("PUT", where, file, headers | {"content-length": str(data.stat().st_size)})
        return digest

    def _ask(self, method: str, path: str, data: Any = None, headers: dict[str, str] | None = None) -> dict[str, str]:
        if data is None and method == "POST":
            data = b""
        request = urllib.request.Request(
            f"http://{self.address}{path}", data=data, headers=headers or {}, method=method
        )
        with urllib.request.urlopen(request, timeout=300) as answer:
            return dict(answer.headers)
