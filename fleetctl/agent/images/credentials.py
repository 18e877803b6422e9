"""Logins of registries, as `docker login` on this machine left them or a credential helper keeps them."""

import base64
import binascii
import json
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from fleetctl.model.images import HUB

log = logging.getLogger(__name__)

HELPER_S = 20.0
"""For a credential helper: one for a cloud's registry asks that cloud."""

_HUB_KEY = "https://index.docker.io/v1/"
"""What `docker login` without a registry writes."""

_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_IDENTITY = "<token>"
"""The user of a secret that is no password, and only Docker itself can use."""


def login(registry: str) -> tuple[str, str] | None:
    """User and password; None: ask as anybody. May take as long as a credential helper does."""
    folder = os.environ.get("DOCKER_CONFIG")
    path = (Path(folder) if folder else Path.home() / ".docker") / "config.json"
    try:
        settings = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(settings, dict):
        return None
    keys = (_HUB_KEY, HUB) if registry == HUB else (registry, f"https://{registry}", f"http://{registry}")
    helper = _first(settings.get("credHelpers"), keys) or settings.get("credsStore")
    found = _from_helper(str(helper), keys[0]) if helper else None
    return found or _from_file(_first(settings.get("auths"), keys), path)


def _first(table: object, keys: tuple[str, ...]) -> object:
    return next((table[key] for key in keys if key in table), None) if isinstance(table, Mapping) else None


def _from_file(entry: object, path: Path) -> tuple[str, str] | None:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("auth"), str):
        return None
    try:
        user, colon, password = base64.b64decode(entry["auth"]).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        log.warning("a login in %s cannot be read", path)
        return None
    return (user, password) if colon else None


def _from_helper(name: str, server: str) -> tuple[str, str] | None:
    """As Docker's own command asks it: `docker-credential-NAME get`, with the registry on its stdin."""
    program = shutil.which(f"docker-credential-{name}") if _HELPER.fullmatch(name) else None
    if program is None:
        log.warning("the credential helper docker-credential-%s is not installed here", name)
        return None
    try:
        ran = subprocess.run([program, "get"], input=server.encode(), capture_output=True, timeout=HELPER_S)
        said = json.loads(ran.stdout) if ran.returncode == 0 else {}
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        log.warning("docker-credential-%s does not answer: %s", name, error)
        return None
    if not isinstance(said, Mapping) or not said.get("Secret") or said.get("Username") == _IDENTITY:
        return None
    return str(said.get("Username", "")), str(said["Secret"])
