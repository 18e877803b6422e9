"""Host keys, pinned at the first contact: a machine that shows another key later is not spoken to."""

import os
from pathlib import Path

LINES_MAX = 20_000
"""Rented machines come and go and leave their lines; the oldest fall out. Far more than any fleet has at a time."""


class KnownHosts:
    """The file `known_hosts`, in OpenSSH's form, one key for each name. One process writes it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def pinned(self, name: str) -> str | None:
        """`algorithm base64` of the name's key; None: never met. The newest line counts."""
        found = None
        for line in self._lines():
            words = line.split()
            if len(words) >= 3 and name in words[0].split(","):
                found = f"{words[1]} {words[2]}"
        return found

    def pin(self, name: str, key: str) -> None:
        """Remember the key as the name's; written as a whole, so that a crash leaves the old file or the new."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lines = [*self._lines(), f"{name} {key}"][-LINES_MAX:]
        draft = self.path.with_name(f".{self.path.name}-{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write("".join(f"{line}\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)

    def _lines(self) -> list[str]:
        try:
            text = self.path.read_text()
        except FileNotFoundError:
            return []
        return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
