"""The fleet's own SSH key, made once in its home; the secret half never leaves it."""

import importlib.util
import os
from pathlib import Path

from fleetctl.errors import MissingDependency, StoreFailure
from fleetctl.paths import Home

_FOLDER_MODE = 0o700
_SECRET_MODE = 0o600


def ssh_folder(home: Home) -> Path:
    """Where the key and the pinned host keys are."""
    return home.root / "ssh"


def secret_key(home: Home) -> Path:
    return ssh_folder(home) / "id_ed25519"


def public_key(home: Home) -> str:
    """The public half, as one line of `authorized_keys`; the pair is made where there is none.

    Raises `MissingDependency` without asyncssh, `StoreFailure` where nothing can be written.
    """
    secret = secret_key(home)
    public = secret.with_suffix(".pub")
    try:
        if not secret.exists():
            _make(home, secret)
        if not public.exists():
            _publish(secret, public)
        return public.read_text().strip()
    except OSError as error:
        raise StoreFailure(
            f"{ssh_folder(home)}: the fleet's SSH key cannot be kept there: {error.strerror}",
            hint="set FLEETCTL_HOME to a folder of yours, on a disk with free space",
        ) from error


def _make(home: Home, secret: Path) -> None:
    need_asyncssh()
    import asyncssh

    folder = ssh_folder(home)
    folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    draft = folder / f".key-{os.getpid()}"
    made = asyncssh.generate_private_key("ssh-ed25519", comment="fleetctl")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _SECRET_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(made.export_private_key())
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, secret)  # two commands at once: the first one's key stands
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _publish(secret: Path, public: Path) -> None:
    need_asyncssh()
    import asyncssh

    line = asyncssh.read_private_key(str(secret)).export_public_key()
    draft = public.with_name(f".pub-{os.getpid()}")
    draft.write_bytes(line)
    draft.replace(public)


def need_asyncssh() -> None:
    """Raises `MissingDependency` where asyncssh is not installed."""
    if importlib.util.find_spec("asyncssh") is None:
        raise MissingDependency(
            "machines are reached over SSH with the asyncssh package, which is not installed here",
            hint="pip install 'fleetctl[ssh]'",
        )
