"""How the threads of one process take turns at a store."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fleetctl.errors import StoreFailure

TURN_TIMEOUT_S = 60.0
"""How long a thread waits for the others of its process: several of them, each waiting ten seconds for a lock."""


class Turns:
    """One thread at a time; `hint` says where to look when one of them never ends."""

    def __init__(self, store: str, *, hint: str, timeout_s: float = TURN_TIMEOUT_S) -> None:
        self._store, self._hint, self._timeout_s = store, hint, timeout_s
        self._lock = threading.Lock()

    @contextmanager
    def mine(self) -> Iterator[None]:
        """Raises StoreFailure when the others take too long."""
        if not self._lock.acquire(timeout=self._timeout_s):
            raise StoreFailure(
                f"the store {self._store} was kept busy by this process for {self._timeout_s:g} s", hint=self._hint
            )
        try:
            yield
        finally:
            self._lock.release()
