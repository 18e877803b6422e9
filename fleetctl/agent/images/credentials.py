"""Logins of registries, as `docker login` on this machine left them."""

import base64
import binascii
import json
import logging
import os
from pathlib import Path

from fleetctl.model.images import HUB

log = logging.getLogger(__name__)

_HUB_KEY = "https://index.docker.io/v1/"
"""What `docker login` without a registry writes."""


def login(registry: str) -> tuple[str, str] | None:
    """User and password; None: ask as anybody. What a credential helper keeps is not read: Docker itself asks those."""
    folder = os.environ.get("DOCKER_CONFIG")
    path = (Path(folder) if folder else Path.home() / ".docker") / "config.json"
    try:
        auths = json.loads(path.read_text())["auths"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    keys = (_HUB_KEY, HUB) if registry == HUB else (registry, f"https://{registry}", f"http://{registry}")
    entry = next((auths[key] for key in keys if isinstance(auths, dict) and key in auths), None)
    if not isinstance(entry, dict) or not isinstance(entry.get("auth"), str):
        return None
    try:
        user, colon, password = base64.b64decode(entry["auth"]).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        log.warning("the login of %s in %s cannot be read", registry, path)
        return None
    return (user, password) if colon else None
