"""Unit files of systemd that fleetctl writes: each says so, and shows whether somebody changed it since."""

import hashlib
from collections.abc import Sequence

_MARK = "# Written by fleetctl; a copy of what is changed by hand is kept when it is written again. sha256="
Section = tuple[str, Sequence[tuple[str, str]]]


def unit_text(sections: Sequence[Section]) -> str:
    """The text of a unit, with a first line by which `is_ours` knows it again."""
    body = "\n".join(
        f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in settings) for name, settings in sections
    )
    return f"{_MARK}{_digest(body)}\n{body}"


def is_ours(text: str) -> bool:
    """Whether fleetctl wrote it and nobody changed it since."""
    first, _, body = text.partition("\n")
    return first.startswith(_MARK) and first.removeprefix(_MARK) == _digest(body)


def quoted(word: str) -> str:
    """One word of ExecStart or Environment: blanks, quotes, and what systemd would fill in, are meant as they stand."""
    inner = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$").replace("\n", "\\n")
    plain = word and all(char.isalnum() or char in "/._-=:,+@" for char in word)
    return word if plain else f'"{inner}"'


def environment_word(name: str, value: str) -> str:
    """One assignment of Environment=, where a $ is only a $."""
    return quoted(f"{name}={value}").replace("$$", "$")


def path_word(path: str) -> str:
    """A path of a setting such as ReadWritePaths=."""
    return quoted(path).replace("$$", "$")


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()
