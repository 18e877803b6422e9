"""A notice rehearsed: the file `notice` in the folder of a local machine stands for its cloud's word.

    echo 30 > FOLDER/notice               a spot notice of thirty seconds
    echo 30 maintenance > FOLDER/notice   the host goes down in thirty seconds
    echo rebalance > FOLDER/notice        a hint, and no more

At the deadline the machine is gone, as a cloud would have it: its folder is named away, its engines are killed.
"""

import asyncio
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from fleetctl.agent.folder import Folder
from fleetctl.model.notices import Notice, NoticeKind

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.2
"""One `stat` each time."""
SECONDS = 120.0
"""Of a notice that says none: what EC2 gives."""


class RehearsedWatch:
    """Reads the file whenever it changes; one that is removed withdraws the notice."""

    def __init__(self, folder: Folder) -> None:
        self.notice: Notice | None = None
        self._folder = folder
        self._seen: tuple[int, int] | None = None
        self.taken = False

    async def run(self, changed: Callable[[], None]) -> None:
        while not self.taken:
            before = self.notice
            self._look()
            notice = self.notice
            if notice is not None and notice.deadline_at is not None and time.time() >= notice.deadline_at:
                self._take_away()
            if notice != before or self.taken:
                changed()
            await asyncio.sleep(LOOK_EVERY_S)

    def clear(self) -> None:
        if self.taken:
            shutil.rmtree(_gone(self._folder.root), ignore_errors=True)

    def _look(self) -> None:
        path = self._folder.notice
        try:
            stat = path.stat()
            seen = (stat.st_mtime_ns, stat.st_size)
            if seen == self._seen:
                return
            self._seen = seen
            self.notice = read_notice(path.read_text(), stat.st_mtime)
        except OSError:
            self._seen = self.notice = None
        except ValueError as error:
            log.warning("%s is no notice: %s", path, error)
            self.notice = None

    def _take_away(self) -> None:
        """Name the folder as a termination does: from then on there is no such machine, and its agent ends the rest."""
        log.warning("rehearsed: this machine is taken away")
        root = self._folder.root
        try:
            root.rename(_gone(root))
        except OSError as error:
            log.warning("%s is being removed already: %s", root, error)
        self.taken = True


def _gone(root: Path) -> Path:
    """What the folder of a machine that was taken away is called until it is removed; the local Provider clears it."""
    return root.with_name(f".gone-{root.name}")


def read_notice(text: str, written_at: float) -> Notice:
    """The notice that a file's text states, counted from when it was written. Raises `ValueError`."""
    kind: NoticeKind = "spot"
    seconds = SECONDS
    for word in text.split():
        found = next((one for one in get_args(NoticeKind) if one == word), None)
        if found is not None:
            kind = found
        else:
            seconds = float(word)
            if not 0.0 <= seconds < float("inf"):
                raise ValueError(f"{word} is no number of seconds")
    deadline_at = None if kind == "rebalance" else written_at + seconds
    return Notice(kind=kind, deadline_at=deadline_at, detail="rehearsed")
