"""Secrets by the name of a variable or the path of a file, read at each use so that a changed one counts at once."""

import os
from pathlib import Path

from fleetctl.model.outside import Access, Secret
from fleetctl.scrape.outside.unread import Unread

SECRET_BYTES_MAX = 64 * 1024
"""The longest tokens have a few kilobytes."""


def secret(where: Secret) -> str:
    """The secret itself. Raises `Unread`, which names where it should be and nothing of what is there."""
    if where.env is not None:
        value = os.environ.get(where.env, "")
        place = f"the variable {where.env}"
    else:
        place = f"the file {where.file}"
        try:
            with Path(where.file or "").expanduser().open("rb") as file:
                value = file.read(SECRET_BYTES_MAX).decode()
        except (OSError, UnicodeDecodeError) as error:
            raise Unread(f"{place} cannot be read: {getattr(error, 'strerror', None) or 'not text'}") from None
    value = value.strip()
    if not value:
        raise Unread(f"{place} holds no secret")
    if not value.isprintable():
        raise Unread(f"{place} holds more than one line, or control characters")
    return value


def authorization(access: Access) -> dict[str, str]:
    """The header that says who asks; empty for a source that asks nobody."""
    if access.token is not None:
        return {"Authorization": f"Bearer {secret(access.token)}"}
    if access.user is not None and access.password is not None:
        from base64 import b64encode

        pair = f"{access.user}:{secret(access.password)}".encode()
        return {"Authorization": f"Basic {b64encode(pair).decode()}"}
    return {}
