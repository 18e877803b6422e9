"""Layers of images made of what is installed here: Debian packages as they lie on this computer's disk, and folders.

No image is fetched from anywhere, and no second Debian is downloaded to hold a Python that is here already.
"""

import hashlib
import io
import os
import re
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from bed.places import cache
from bed.registry import Layer, layer

_LEFT_OUT = re.compile(r"^/usr/share/(doc|man|locale|info|lintian|bug|menu|icons|perl5)/|^/(etc|var|boot|run)/")
_MERGED = ("bin", "sbin", "lib", "lib64")
"""Since Debian 12 these are links into /usr; packages still name files by them."""

_KEPT_S = 7 * 86400.0
"""Of layers that take a second to make again."""

_FOLDERS = ("dev", "proc", "sys", "run", "root", "var", "etc", "tmp")

_USERS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}


def debian(*packages: str) -> Layer:
    """A root file system of these packages and all that they depend on, as installed here."""
    closure = depended_on(packages)
    versions = _query("${Package} ${Version}\n", *closure)
    path = _place("debian", versions)
    if not path.exists():
        with _whole(path) as archive:
            seen = {*_FOLDERS, *_MERGED}  # Docker refuses a layer that has a name twice
            for folder in _FOLDERS:
                _folder(archive, folder, 0o1777 if folder == "tmp" else 0o755)
            for name in _MERGED:
                if (Path("/") / name).is_symlink():
                    archive.add(f"/{name}", name)
            listed = subprocess.run(["dpkg-query", "-L", *closure], capture_output=True, text=True, check=True).stdout
            for line in sorted(set(listed.splitlines())):
                if not line.startswith("/") or line == "/." or _LEFT_OUT.match(line):
                    continue
                here = Path(os.path.realpath(Path(line).parent)) / Path(line).name
                name = str(here).lstrip("/")
                if name not in seen and os.path.lexists(here):
                    seen.add(name)
                    archive.add(here, name, recursive=False)
            for name, text in _USERS.items():
                _file(archive, name, text.encode())
    return layer(path)


def of_folder(folder: Path, inside: str, *, key: str, keep: Callable[[str], bool] = lambda name: True) -> Layer:
    """A folder's files under another path; `keep` hears their relative names. The same `key`: the same layer."""
    path = _place("folder", f"{inside} {key}")
    if not path.exists():
        with _whole(path) as archive:

            def wanted(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
                entry.uid = entry.gid = 0
                entry.uname = entry.gname = "root"
                relative = entry.name.removeprefix(inside).lstrip("/")
                return entry if not relative or keep(relative) else None

            archive.add(folder, inside, filter=wanted)
    return layer(path)


def of_files(files: dict[str, bytes], *, modes: dict[str, int] | None = None) -> Layer:
    """A small layer of these files; `modes` where it is not 644."""
    digest = hashlib.sha256()
    for name, data in sorted(files.items()):
        digest.update(f"{name} {(modes or {}).get(name, 0o644)} {len(data)}\n".encode() + data)
    path = _place("files", digest.hexdigest())
    if not path.exists():
        for old in path.parent.glob("files-*"):
            if time.time() - old.stat().st_mtime > _KEPT_S:
                old.unlink(missing_ok=True)  # each change of fleetctl makes a new one
        with _whole(path) as archive:
            for name, data in sorted(files.items()):
                _file(archive, name, data, (modes or {}).get(name, 0o644))
    return layer(path)


def depended_on(packages: Iterable[str]) -> list[str]:
    """The packages and what they depend on, as far as it is installed."""
    installed: dict[str, str] = {}
    provided: dict[str, str] = {}
    for line in _query("${Package}\t${Pre-Depends}, ${Depends}\t${Provides}\n").splitlines():
        name, needs, provides = line.split("\t")
        installed[name] = needs
        for one in provides.split(","):
            provided.setdefault(one.split("(")[0].strip(), name)
    found: dict[str, None] = {}
    wanted = list(packages)
    while wanted:
        name = wanted.pop()
        name = name if name in installed else provided.get(name, "")
        if not name or name in found:
            continue
        found[name] = None
        for group in installed[name].split(","):
            choices = [re.split(r"[ (:]", choice.strip())[0] for choice in group.split("|")]
            wanted.extend(one for one in choices if one in installed or one in provided)
    return sorted(found)


def _query(form: str, *packages: str) -> str:
    words = ["dpkg-query", "-W", "-f", form, *packages]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def _place(kind: str, key: str) -> Path:
    folder = cache() / "layers"
    folder.mkdir(exist_ok=True)
    return folder / f"{kind}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.tar"


class _whole:
    """A tar that is there whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._draft = path.with_suffix(f".{os.getpid()}")

    def __enter__(self) -> tarfile.TarFile:
        self._tar = tarfile.open(self._draft, "w", format=tarfile.PAX_FORMAT)  # closed below
        return self._tar

    def __exit__(self, kind: object, *_: object) -> None:
        self._tar.close()
        if kind is None:
            self._draft.replace(self._path)
        else:
            self._draft.unlink()


def _folder(archive: tarfile.TarFile, name: str, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    archive.addfile(entry)


def _file(archive: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    archive.addfile(entry, io.BytesIO(data))
