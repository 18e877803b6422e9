"""Names that a store holds, read from its file at once: for who has no time to open the store itself."""

import sqlite3

WAIT_S = 0.2
"""For a store that somebody writes to. Who presses Tab feels a longer wait."""
NAMES_MAX = 1_000
"""More are not looked through, and fill the screen."""
QUERIES = {
    "service": "SELECT name FROM services",
    "pool": "SELECT name FROM pools UNION SELECT json_extract(doc, '$.service.pool') FROM services",
    "replica": "SELECT id AS name FROM replicas",
    "instance": "SELECT id AS name FROM instances WHERE over_at IS NULL",
    "policy": "SELECT DISTINCT json_extract(doc, '$.service.scaling.preset') AS name FROM services",
}
"""By kind of thing."""


def names(path: str, kind: str) -> list[str]:
    """Sorted, of one of the kinds of `QUERIES`, in the SQLite store at `path`. Raises `sqlite3.Error`."""
    # Read only: a Tab makes no file. Not `immutable`, for another process may write to it now.
    database = sqlite3.connect(f"file:{_quoted(path)}?mode=ro", uri=True, timeout=WAIT_S)
    try:
        found = database.execute(
            f"SELECT name FROM ({QUERIES[kind]}) WHERE name IS NOT NULL ORDER BY name LIMIT ?", (NAMES_MAX,)
        )
        return [str(name) for (name,) in found if name]
    finally:
        database.close()


def _quoted(path: str) -> str:
    """As a part of a URI. Not `urllib`, whose import takes as long as the answer."""
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
