"""Why a signal could not be read, and what of an address may be shown."""

from urllib.parse import urlsplit


class Unread(Exception):
    """Carries the reason; never leaves this package. The reason never holds a secret."""


def shown(url: str) -> str:
    """The address without a user, a password or a query, which may hold keys."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"
