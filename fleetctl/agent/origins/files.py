"""Files of this machine: used where they are, and read like any origin by who passes them on."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

from fleetctl.agent.origins.origin import Contents, OriginFile
from fleetctl.agent.origins.pins import pinned
from fleetctl.engines import model_source
from fleetctl.errors import AgentFailure


def in_place(uri: str) -> Path | None:
    """The path that a `file://` names, which an engine is given as it is; None: the address is of another kind."""
    source = model_source(uri)
    return Path(source.name) if source.scheme == "file" else None


class FilesOrigin:
    """A file, or everything in a folder. Links out of the folder are followed, as engines follow them."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def contents(self) -> Contents:
        """The revision covers sizes and times of change: other bytes under the same names have another."""
        return await asyncio.to_thread(self._listed)

    async def read(self, file: OriginFile, start: int, length: int) -> bytes:
        return await asyncio.to_thread(self._read, file, start, length)

    async def close(self) -> None:
        """Nothing is open between two reads."""

    def _listed(self) -> Contents:
        found = list(self._walked())
        if not found:
            raise AgentFailure(f"weights {self._root} are not on this node", hint="put them there, or correct model:")
        return pinned(found)

    def _walked(self) -> Iterator[OriginFile]:
        if self._root.is_file():
            yield _described(self._root, self._root.name)
            return
        for folder, _, names in os.walk(self._root, followlinks=False):
            for name in names:
                path = Path(folder) / name
                if path.is_file():  # a link may lead nowhere
                    yield _described(path, path.relative_to(self._root).as_posix())

    def _read(self, file: OriginFile, start: int, length: int) -> bytes:
        path = self._root if self._root.is_file() else self._root / file.path
        try:
            with path.open("rb") as opened:
                data = os.pread(opened.fileno(), length, start)
        except OSError as error:
            raise AgentFailure(f"{path} cannot be read: {error.strerror}", hint="mend the file on the node") from None
        if len(data) != length or _described(path, file.path).version != file.version:
            raise AgentFailure(f"{path} has changed while it was read", hint="write each version to a path of its own")
        return data


def _described(path: Path, name: str) -> OriginFile:
    seen = path.stat()
    return OriginFile(path=name, size=seen.st_size, version=f"{seen.st_mtime_ns}")
