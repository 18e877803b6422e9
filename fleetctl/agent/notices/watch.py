"""Which watch a machine needs, and the one that asks its cloud's metadata service."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol, assert_never

from fleetctl.agent.folder import Folder
from fleetctl.agent.notices.questions import Cloud, Question, Told
from fleetctl.agent.notices.rehearsed import RehearsedWatch
from fleetctl.model.notices import Notice

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)

Notices = Literal["none", "local", "aws", "gcp", "azure"]
"""Whom a machine asks: nobody, its own folder, or its cloud."""

ANSWER_S = 2.0
"""For an answer that is not held back on purpose: it comes from the machine's own host, in milliseconds."""
TROUBLE_MOST_S = 8.0
"""Questions that fail are asked ever less often, but still several times within the shortest notice, 30 s."""
BODY_BYTES_MAX = 64 * 1024
"""Of an answer; Azure's, the longest, is a few hundred bytes for each machine of a set."""

_PRESSING = ("spot", "maintenance", "rebalance")
"""Of several notices the first of these counts."""


class Watch(Protocol):
    """Keeps the machine's present notice."""

    notice: Notice | None
    taken: bool
    """The machine was taken away, where that is rehearsed; a real one has no agent then that could say so."""

    async def run(self, changed: Callable[[], None]) -> None:
        """Watch; `changed` is called at every change of `notice`."""

    def clear(self) -> None:
        """Remove what the watch itself left on the disk, once nothing runs there any more."""


def watch(notices: Notices, *, url: str | None, folder: Folder) -> Watch:
    """The watch of a machine; `url` replaces the address of its cloud's metadata service."""
    match notices:
        case "none":
            return NoWatch()
        case "local":
            return RehearsedWatch(folder)
        case "aws":
            from fleetctl.agent.notices.aws import CLOUD as cloud
        case "gcp":
            from fleetctl.agent.notices.gcp import CLOUD as cloud
        case "azure":
            from fleetctl.agent.notices.azure import CLOUD as cloud
        case _:
            assert_never(notices)
    return MetadataWatch(cloud, url or cloud.url)


class NoWatch:
    """For machines that nobody takes away."""

    notice: Notice | None = None
    taken = False

    async def run(self, changed: Callable[[], None]) -> None:
        pass

    def clear(self) -> None:
        pass


class MetadataWatch:
    """Asks one question after the other, never two at once, each when it is due. Outlives every failure."""

    def __init__(self, cloud: Cloud, url: str) -> None:
        self.notice: Notice | None = None
        self.taken = False
        self._cloud = cloud
        self._url = url
        self._told: dict[Question, Notice] = {}
        self._etags: dict[Question, str] = {}
        self._answered: set[Question] = set()
        self._token = ""
        self._token_until = 0.0
        self._name = ""
        self._failures = 0

    async def run(self, changed: Callable[[], None]) -> None:
        import aiohttp

        due = {question: (0.0, place) for place, question in enumerate(self._cloud.questions)}
        async with aiohttp.ClientSession(headers=dict(self._cloud.headers)) as session:
            while True:
                question = min(due, key=lambda one: due[one])
                await asyncio.sleep(due[question][0] - time.monotonic())
                before = self.notice
                pause_s = await self._ask(session, question)
                if self.notice != before:
                    told = "withdrawn" if self.notice is None else self.notice.told(time.time())
                    log.warning("notice: %s", told)
                    changed()
                due[question] = (time.monotonic() + pause_s, due[question][1])

    def clear(self) -> None:
        pass

    async def _ask(self, session: "aiohttp.ClientSession", question: Question) -> float:
        """Ask once, and keep what is told. The seconds until it is to be asked again."""
        import aiohttp

        try:
            await self._prepare(session)
            limit_s = ANSWER_S + (question.held_s if question in self._answered else question.first_s)
            path = question.path.replace("{etag}", self._etags.get(question, "0"))
            status, body, etag = await self._get(session, path, limit_s)
            if status == 401:
                self._token = ""  # it expired, or the service was restarted; the next question fetches another
            if status not in (200, 404):
                raise ValueError(f"HTTP {status}")
            told = question.read(body, self._name) if status == 200 else None
        except (
            aiohttp.ClientError,
            OSError,
            TimeoutError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
        ) as error:
            # What the service said before still holds: no answer is none.
            self._failures += 1
            if self._failures == 1:
                log.warning("%s%s does not say: %r", self._url, question.path.partition("?")[0], error)
            return max(question.every_s, min(TROUBLE_MOST_S, 0.5 * 2.0 ** min(self._failures, 8)))
        self._failures = 0
        self._answered.add(question)
        if etag is not None:
            self._etags[question] = etag
        self._keep(question, told)
        return question.every_s

    async def _prepare(self, session: "aiohttp.ClientSession") -> None:
        """Fetch the token and the machine's name, where they are needed and not known."""
        wanted = self._cloud.session
        if wanted is not None and (not self._token or time.monotonic() > self._token_until):
            headers = {wanted.lifetime_header: str(wanted.lifetime_s)}
            status, body, _ = await self._get(session, wanted.path, ANSWER_S, method="PUT", headers=headers)
            if status != 200:
                raise ValueError(f"HTTP {status} for a token")
            self._token = body.decode("ascii").strip()
            self._token_until = time.monotonic() + wanted.lifetime_s / 2
        if self._cloud.name_path is not None and not self._name:
            status, body, _ = await self._get(session, self._cloud.name_path, ANSWER_S)
            if status != 200:
                raise ValueError(f"HTTP {status} for this machine's name")
            self._name = body.decode().strip()

    async def _get(
        self,
        session: "aiohttp.ClientSession",
        path: str,
        limit_s: float,
        *,
        method: str = "GET",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes, str | None]:
        import aiohttp
        from yarl import URL

        token = self._cloud.session.token_header if self._cloud.session is not None and method == "GET" else None
        async with session.request(
            method,
            URL(self._url + path, encoded=True),
            headers=headers or ({token: self._token} if token is not None else None),
            timeout=aiohttp.ClientTimeout(total=limit_s),
            allow_redirects=False,
        ) as answer:
            body = bytearray()
            async for chunk in answer.content.iter_any():
                body += chunk
                if len(body) > BODY_BYTES_MAX:
                    raise ValueError(f"an answer of more than {BODY_BYTES_MAX} bytes")
            return answer.status, bytes(body), answer.headers.get("ETag")

    def _keep(self, question: Question, told: Told | None) -> None:
        if told is None:
            self._told.pop(question, None)
        else:
            self._told[question] = _notice(told, self._told.get(question), time.time())
        self.notice = min(self._told.values(), key=_rank, default=None)


def _notice(told: Told, before: Notice | None, now: float) -> Notice:
    """What was told, as a Notice; time that is only promised counts from when it was first told."""
    deadline_at, estimated = told.deadline_at, False
    if deadline_at is None and told.within_s is not None:
        deadline_at, estimated = now + told.within_s, True
        if before is not None and before.kind == told.kind and before.deadline_at is not None:
            deadline_at = min(deadline_at, before.deadline_at)
    return Notice(kind=told.kind, deadline_at=deadline_at, estimated=estimated, detail=told.detail)


def _rank(notice: Notice) -> tuple[int, float]:
    return (_PRESSING.index(notice.kind), notice.deadline_at or 0.0)
