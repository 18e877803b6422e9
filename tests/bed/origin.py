"""An origin of weights on a host of the bed: files over HTTPS, any range of them, every byte sent counted."""

import hashlib
import json
import os
import ssl
import sys
import time
import urllib.request
from pathlib import Path

from bed.certificates import certificate
from bed.machines import UP_S, listens
from bed.network import BedError, Link, begin
from bed.places import cache

PORT = 8000
MANIFEST = "manifest.json"
_COUNT = "/-/sent"
"""Where it says how many bytes of files it has sent."""


class Origin:
    """Serves the folder `origin` of the cache until its host's namespace is cleared."""

    def __init__(self, link: Link, folder: Path) -> None:
        self.link = link
        self.files = cache() / "origin"
        self.files.mkdir(exist_ok=True)
        self.url = f"https://{link.address}:{PORT}"
        self.certificate, key = certificate(link.address, folder)
        """A file; whoever trusts it may fetch from here."""
        self._log = folder / "origin.log"
        begin(
            *(sys.executable, __file__, str(self.files), link.address, str(PORT), str(self.certificate), str(key)),
            space=link.space,
            log=self._log,
            environment={"PYTHONPATH": str(Path(__file__).parent.parent), "PATH": os.environ.get("PATH", "")},
        )

    def wait(self) -> None:
        deadline = time.monotonic() + UP_S
        while not listens(self.link.address, PORT):
            if time.monotonic() > deadline:
                raise BedError(f"the origin did not come up: {self._log.read_text()[-800:]}")
            time.sleep(0.05)

    def publish(self, name: str, files: dict[str, bytes]) -> str:
        """These files under that name, with the manifest that lists them: the address that `model:` takes."""
        folder = self.files / name
        folder.mkdir(exist_ok=True)
        for file, data in files.items():
            (folder / file).write_bytes(data)
        return self.listed(name)

    def listed(self, name: str) -> str:
        """The same of a folder that is there already."""
        folder = self.files / name
        listed = [
            {"path": one.name, "size": one.stat().st_size, "sha256": hashlib.sha256(one.read_bytes()).hexdigest()}
            for one in sorted(folder.iterdir())
            if one.name != MANIFEST
        ]
        draft = folder / f".{MANIFEST}"
        draft.write_text(json.dumps({"files": [line for line in listed if line["path"] != draft.name]}))
        draft.replace(folder / MANIFEST)
        return f"{self.url}/{name}/{MANIFEST}"

    def sent(self) -> int:
        """Bytes of files since it began."""
        trust = ssl.create_default_context(cafile=str(self.certificate))
        with urllib.request.urlopen(self.url + _COUNT, timeout=10, context=trust) as answer:
            return int(answer.read())


def _serve(folder: Path, host: str, port: int, certificate: str, key: str) -> None:
    from aiohttp import web

    sent = 0

    async def count(request: web.Request) -> web.Response:
        return web.Response(text=str(sent))

    async def file(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        path = (folder / request.match_info["path"]).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            raise web.HTTPNotFound
        answer = web.FileResponse(path, chunk_size=1 << 20)
        prepared = await answer.prepare(request)
        if request.method == "GET":
            sent += answer.content_length or 0
        assert prepared is not None
        return answer

    app = web.Application()
    app.router.add_get(_COUNT, count)
    app.router.add_get("/{path:.+}", file)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    web.run_app(app, host=host, port=port, ssl_context=context, print=None)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5])
