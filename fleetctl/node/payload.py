"""What travels to a machine: the node script, this package's node part as a wheel, and the packages it runs on.

The wheel is made on the spot of the very files that run here, the same bytes every time, so that its digest says
whether a machine runs this build.
"""

import functools
import hashlib
import io
import re
import shlex
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import fleetctl
from fleetctl.model.nodes import PEER_PORT

SCRIPT = "bootstrap.sh"
PACKAGES = "packages"
"""The folder of wheels inside what travels."""

_PARTS = ("agent", "engines", "model", "rehearsal")
_MODULES = ("__init__.py", "errors.py", "paths.py", "py.typed")
"""What runs on a node; a change of anything else is no reason to restart its agent."""

_NEEDS = ("aiohttp", "msgspec", "psutil")
"""What the node part imports always…"""
_EXTRA = re.compile(r"""\bextra\s*==\s*['"]node['"]""")
"""…and the mark of what it imports to fetch Artifacts: an extra here, and never left out there."""

_THEN = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip file can name
_FILE_MODE = 0o644 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    name: str
    data: bytes
    build: str
    """Version and digest: what a machine is compared by."""


def release(version: str) -> tuple[int, ...]:
    """The numbers of a version, or of a build, to compare by; none for what is no version."""
    numbers = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in numbers[0].split(".")) if numbers else ()


def script() -> str:
    """The node script, as it is run over SSH."""
    return files("fleetctl.node").joinpath(SCRIPT).read_text().replace("@peer_port@", str(PEER_PORT), 1)


@functools.cache
def wheel() -> Wheel:
    """The node part as a wheel."""
    version = fleetctl.__version__
    sources = sorted(_sources())
    info = f"fleetctl-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: fleetctl\nVersion: {version}\n"]
    metadata += [f"Requires-Dist: {name}\n" for name in (*_NEEDS, *_extra())]
    said = "Wheel-Version: 1.0\nGenerator: fleetctl\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    entries = [*sources, (f"{info}/METADATA", "".join(metadata).encode()), (f"{info}/WHEEL", said.encode())]
    record = "".join(f"{name},,\n" for name, _ in entries) + f"{info}/RECORD,,\n"
    entries.append((f"{info}/RECORD", record.encode()))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            entry = zipfile.ZipInfo(name, date_time=_THEN)
            entry.external_attr = _FILE_MODE
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    digest = hashlib.sha256()
    for name, data in sources:
        digest.update(f"{name} {len(data)}\n".encode() + data)
    return Wheel(
        name=f"fleetctl-{version}-py3-none-any.whl",
        data=packed.getvalue(),
        build=f"{version}-{digest.hexdigest()[:12]}",
    )


def _sources() -> Iterator[tuple[str, bytes]]:
    package = files("fleetctl")
    for name in _MODULES:
        yield f"fleetctl/{name}", package.joinpath(name).read_bytes()
    for part in _PARTS:
        yield from _below(package.joinpath(part), f"fleetctl/{part}")


def _below(folder: Traversable, name: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name != "__pycache__":
            yield from _below(entry, f"{name}/{entry.name}")
        elif entry.is_file() and not entry.name.endswith(".pyc"):
            yield f"{name}/{entry.name}", entry.read_bytes()


@functools.cache
def pins() -> tuple[str, ...]:
    """The packages of the node part and all they need, in the versions that run here: what was tested is what runs.

    What the extra `node` names and is not installed here stands as the extra has it, such as `blake3>=1.0`.
    """
    found: dict[str, str] = {}
    extra = _extra()
    wanted = [*_NEEDS, *extra]
    while wanted:
        name = _normal(wanted.pop())
        if name in found:
            continue
        try:
            there = distribution(name)
        except PackageNotFoundError:
            continue  # for another Python, or of the extra, below
        found[name] = there.version
        for line in there.requires or ():
            requirement = re.match(r"[A-Za-z0-9._-]+", line)
            if requirement is not None and "extra ==" not in line:
                wanted.append(requirement[0])
    pinned = {name: f"{name}=={version}" for name, version in found.items()}
    return tuple((extra | pinned)[name] for name in sorted(extra | pinned))


@functools.cache
def _extra() -> dict[str, str]:
    """Requirements of our own extra by name; none where we run without having been installed."""
    try:
        lines = distribution("fleetctl").requires or ()
    except PackageNotFoundError:
        return {}
    marked = (line.partition(";") for line in lines)
    wanted = (words.replace(" ", "") for words, _, marker in marked if _EXTRA.search(marker))
    return {_normal(found[0]): line for line in wanted if (found := re.match(r"[A-Za-z0-9._-]+", line))}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def packed(contents: Sequence[tuple[str, bytes]] = ()) -> bytes:
    """The node script and these files, as a tar."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, data in ((SCRIPT, script().encode()), *contents):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return made.getvalue()


def bundled(folder: Path) -> list[tuple[str, bytes]]:
    """The wheels that the fleet's home holds for machines without a package index; usually none."""
    if not folder.is_dir():
        return []
    return [(f"{PACKAGES}/{path.name}", path.read_bytes()) for path in sorted(folder.glob("*.whl"))]


def command(words: Sequence[str]) -> str:
    """The command that takes the tar on its stdin, runs the script in it with these words and cleans up."""
    run = (
        f'd=$(mktemp -d) && tar -xf - -C "$d" && {{ sh "$d/{SCRIPT}" {shlex.join(words)} </dev/null; c=$?; '
        'rm -rf "$d"; exit "$c"; }'
    )
    return f"exec sh -c {shlex.quote(run)}"


def standalone(words: Sequence[str]) -> str:
    """The script with its words built in, for whoever runs it without arguments: cloud-init, an image's build.

    Without the lines that are comments, and not indented: clouds take 16 KB, and the packages' names want their part
    of it.
    """
    text = script().replace("#@arguments@", f"[ $# -gt 0 ] || set -- {shlex.join(words)}", 1)
    first, *others = text.splitlines(keepends=True)
    return first + "".join(_bare(others))


def _bare(lines: Iterable[str]) -> Iterator[str]:
    """What a shell reads of them. Between `<<'EOF'` and `EOF` every space counts."""
    quoted = False
    for line in lines:
        if quoted:
            quoted = line != "EOF\n"
            yield line
        elif (bare := line.lstrip()) and not bare.startswith("#"):
            quoted = "<<'EOF'" in bare
            yield bare
