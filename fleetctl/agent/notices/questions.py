"""What a cloud's metadata service is asked, as tables: one `Cloud` per file beside this one."""

from collections.abc import Callable
from dataclasses import dataclass

from fleetctl.model.notices import NoticeKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one answer says of the machine's end."""

    kind: NoticeKind
    deadline_at: float | None = None
    """Unix seconds; None: the service gives no time…"""
    within_s: float | None = None
    """…and the cloud promises this many seconds from when it is first said; None: no promise either."""
    detail: str = ""


Reader = Callable[[bytes, str], Told | None]
"""From the body of an answer, and the machine's own name at its cloud, to what it says; None: nothing. Raises
`ValueError`, `LookupError` or `TypeError` on what is no such answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One GET that is asked again and again. An answer of 404 says: nothing."""

    path: str
    """With its query. `{etag}` stands for the ETag of the last answer, `0` at first."""
    read: Reader
    every_s: float
    held_s: float = 0.0
    """The service may keep the question this long before it answers."""
    first_s: float = 0.0
    """It may keep the very first one this long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A token that has to be fetched by PUT and sent along with every question."""

    path: str
    lifetime_header: str
    lifetime_s: int
    token_header: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """How one cloud tells its machines of their end."""

    url: str
    """Where every machine of it finds its metadata service."""
    questions: tuple[Question, ...]
    headers: tuple[tuple[str, str], ...] = ()
    session: Session | None = None
    name_path: str | None = None
    """Where the machine learns its own name, if answers speak of others too."""
