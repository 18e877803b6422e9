"""The YAML files that the user means, and their documents."""

from collections.abc import Sequence
from pathlib import Path

from fleetctl.errors import NotFound
from fleetctl.spec.problems import Problem
from fleetctl.spec.trees import Malformed, Node, documents

DEFAULT_FOLDER = Path("fleet")
SUFFIXES = (".yaml", ".yml")
FILE_BYTES_MAX = 1024 * 1024
"""Of one file: two thousand Services. More is not a file that people wrote."""
FILES_MAX = 1000
"""Of one folder."""


def yaml_files(paths: Sequence[Path]) -> tuple[Path, ...]:
    """The files meant by `paths`: a folder means its YAML files, sorted. None given: the folder `fleet`.

    Raises `NotFound` for what is not there.
    """
    found: dict[Path, Path] = {}
    for path in paths or (DEFAULT_FOLDER,):
        try:
            for file in _files_of(path):
                found.setdefault(file.resolve(), file)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise NotFound(f"{path} cannot be looked at: {reason}", hint=f"check it: ls -ld {path}") from error
    return tuple(found.values())


def _files_of(path: Path) -> tuple[Path, ...]:
    if not path.is_dir():
        if not path.exists():
            raise NotFound(f"{path} does not exist", hint="write a first fleet with: fleetctl init")
        return (path,)
    inside = tuple(sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file()))
    if not inside:
        raise NotFound(f"no YAML files in {path}/", hint="write a first one with: fleetctl init")
    if len(inside) > FILES_MAX:
        raise NotFound(
            f"{path}/ has {len(inside)} YAML files, more than {FILES_MAX}",
            hint="name the files, or join some: one file may hold many documents",
        )
    return inside


def read(file: Path) -> tuple[tuple[Node, ...], tuple[Problem, ...]]:
    """The documents of one file, or what keeps them from being read."""
    try:
        with file.open("rb") as opened:
            content = opened.read(FILE_BYTES_MAX + 1)  # a pipe is welcome: `-f <(…)`
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return (), (_problem(file, 1, f"cannot be read: {reason}", f"check it: ls -l {file}"),)
    if len(content) > FILE_BYTES_MAX:
        return (), (_problem(file, 1, "is larger than 1 MiB", "split it into several files"),)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return (), (_problem(file, line, "is not UTF-8", "save it as UTF-8"),)
    try:
        found = documents(text)
    except Malformed as error:
        return (), (_problem(file, error.line, error.message, error.fix),)
    if not found:
        return (), (_problem(file, 1, "declares nothing", "write a first service with: fleetctl init"),)
    return found, ()


def _problem(file: Path, line: int, message: str, fix: str) -> Problem:
    return Problem(file=str(file), line=line, subject="", path="", message=message, fix=fix)
