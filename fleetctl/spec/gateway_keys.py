"""The hash of an API key: as written in the file, or made from the key where the file says that it lies."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from fleetctl.spec.gateway_documents import KeyDoc
from fleetctl.spec.problems import Problem
from fleetctl.spec.validation import Source

SECRET_CHARS_MIN = 20
"""The hash of a key is not salted: a shorter one is found by trying. `openssl rand -hex 32` makes 64."""
SECRET_BYTES_MAX = 4096
"""Of a file with a key: more is another file."""
_MAKE = "make one with: openssl rand -hex 32"


def hash_of(secret: str) -> str:
    """As the gateway compares it: SHA-256 of the key's bytes, in hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


def weakness(secret: str) -> str:
    """Why this text is no key; empty: it may be one."""
    if not secret:
        return "is empty"
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        return "has characters that no Authorization header carries: use letters, digits and - _ ."
    if len(secret) < SECRET_CHARS_MIN:
        return f"has only {len(secret)} characters, so that its hash can be guessed; {SECRET_CHARS_MIN} are the least"
    return ""


def secret_hash(
    key: KeyDoc, at: int, source: Source, folder: Path, environment: Mapping[str, str]
) -> tuple[str, Problem | None]:
    """The hash of the key at that place of the list, or what keeps it from being told."""
    where: tuple[str | int, ...] = ("keys", at)
    given = [name for name in ("sha256", "env", "file") if getattr(key, name) is not None]
    if len(given) != 1:
        what = "has none of sha256, env and file" if not given else f"has {' and '.join(given)}"
        fix = "add sha256: …, from: fleetctl gateway --hash-key < FILE" if not given else f"keep {given[0]} alone"
        return "", source.problem((*where, *given[1:2]), what, fix)
    if key.sha256 is not None:
        return key.sha256, None
    if key.env is not None:
        if key.env not in environment:
            problem = source.problem(
                (*where, "env"), f"the environment variable {key.env} is not set", f"set {key.env}, or write sha256"
            )
            return "", problem
        return _hashed(environment[key.env], (*where, "env"), source)
    assert key.file is not None, "one of the three is given"
    path = folder / Path(key.file).expanduser()
    try:
        with path.open("rb") as opened:
            content = opened.read(SECRET_BYTES_MAX + 1)
        text = content.decode()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return "", source.problem((*where, "file"), f"{path} cannot be read: {reason}", f"check it: ls -l {path}")
    except UnicodeDecodeError:
        return "", source.problem((*where, "file"), f"{path} holds no text", _MAKE)
    if len(content) > SECRET_BYTES_MAX:
        return "", source.problem((*where, "file"), f"{path} is too large for a key", _MAKE)
    return _hashed(text.rstrip("\r\n"), (*where, "file"), source)


def _hashed(secret: str, where: tuple[str | int, ...], source: Source) -> tuple[str, Problem | None]:
    weak = weakness(secret)
    return ("", source.problem(where, f"the key {weak}", _MAKE)) if weak else (hash_of(secret), None)
