"""The key by which Nodes of one fleet know each other: made once in its home, given to them with what they shall be."""

import os
import secrets

from fleetctl.errors import StoreFailure
from fleetctl.paths import Home

_KEY_BYTES = 32
_FOLDER_MODE = 0o700
_SECRET_MODE = 0o600


def peer_key(home: Home) -> str:
    """In hex; made where there is none. Raises `StoreFailure` where it can neither be read nor written."""
    path = home.root / "peer_key"
    try:
        if not path.exists():
            _make(home)
        key = path.read_text().strip()
    except OSError as error:
        raise StoreFailure(
            f"{path}: the key of the fleet's nodes cannot be kept there: {error.strerror}",
            hint="set FLEETCTL_HOME to a folder of yours, on a disk with free space",
        ) from error
    if len(key) != 2 * _KEY_BYTES or not all(digit in "0123456789abcdef" for digit in key):
        raise StoreFailure(f"{path} is damaged", hint=f"remove {path}: a new one is made, and nodes get it next")
    return key


def _make(home: Home) -> None:
    home.root.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    path = home.root / "peer_key"
    draft = home.root / f".peer_key-{os.getpid()}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _SECRET_MODE)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(_KEY_BYTES) + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)  # two commands at once: the first one's key stands
    except FileExistsError:
        pass
    finally:
        draft.unlink()
