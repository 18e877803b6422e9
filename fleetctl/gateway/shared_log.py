"""The gateway's own log, written by all its processes."""

import logging
import logging.handlers
import os
from pathlib import Path
from typing import Final

LIMIT_BYTES: Final = 10 * 1024 * 1024
"""Nothing is logged per request; at this size one older file is kept beside the log."""


class SharedLog(logging.handlers.RotatingFileHandler):
    """A file that one process puts aside and the others follow."""

    def __init__(self, path: Path, *, limit_bytes: int = LIMIT_BYTES) -> None:
        super().__init__(path, maxBytes=limit_bytes, backupCount=1)

    def shouldRollover(self, record: logging.LogRecord) -> bool:
        """Before each line: first follow, then see whether it is our turn."""
        if self.stream is not None:
            ours = os.fstat(self.stream.fileno())
            try:
                there = Path(self.baseFilename).stat()
            except FileNotFoundError:
                there = None
            if there is None or (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
                self.stream.close()
                self.stream = self._open()
        return bool(super().shouldRollover(record))
