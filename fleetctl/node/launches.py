"""What a launch carries from this computer: the fleet's public key, and the first boot's script; no secret."""

import re
from collections.abc import Sequence
from dataclasses import replace

from fleetctl.errors import InvalidRequest
from fleetctl.model.instances import LaunchSpec
from fleetctl.node.payload import pins, standalone

USER_DATA_MAX_BYTES = 16 * 1024
"""What EC2 takes, which is the least of the clouds."""

GIVE_NOTICE = frozenset(("aws", "gcp", "azure"))
"""Clouds whose machines can ask whether they are about to be taken away."""

_SECRETS = (
    ("a private key", re.compile(r"PRIVATE KEY-----")),
    ("a key of AWS", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("a token of Hugging Face", re.compile(r"\bhf_[A-Za-z0-9]{20,}")),
    ("a token of GitHub", re.compile(r"\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_[A-Za-z0-9_]{30,}")),
    ("an API key", re.compile(r"\bsk-[A-Za-z0-9_-]{20,}")),
    ("a token", re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.")),
    ("a password in an address", re.compile(r"://[^/\s:@]+:[^/\s@]+@|(?<![\w/])[\w.+-]+:[^\s/:@]+@[\w.-]+/")),
    ("a password", re.compile(r"(?i)\b(?:password|passwd|secret|api_?key|access_?token)\s*[=:]\s*[^\s$\"']{6,}")),
)
"""What secrets look like. Whoever is on a machine, and whoever may look at it in the cloud, reads its user-data."""


def completed(spec: LaunchSpec, key: str, mirrors: Sequence[str] = ()) -> LaunchSpec:
    """The launch with key and user-data. Raises `InvalidRequest` where the latter would tell a secret.

    `mirrors`: the fleet's, of Docker's hub; the Pool's own count before them.
    """
    cloud = spec.offer.provider if spec.offer.provider in GIVE_NOTICE else ""
    made = first_boot(spec.images, cloud=cloud, mirrors=tuple(dict.fromkeys((*spec.registry_mirrors, *mirrors))))
    return replace(spec, ssh_key=spec.ssh_key or key, user_data=spec.user_data or made)


def first_boot(images: Sequence[str], *, cloud: str = "", mirrors: Sequence[str] = ()) -> str:
    """The node script as cloud-init runs it at the first boot: packages and images, before anybody connects."""
    words = ["prepare", "--pins", " ".join(pins())]
    if cloud:
        words += ["--cloud", cloud]
    if mirrors:
        words += ["--mirrors", " ".join(mirrors)]
    if images:
        words += ["--images", " ".join(images)]
    text = standalone(words)
    found = secret_in(text)
    if found:
        raise InvalidRequest(
            f"the first boot's script would carry {found}, for everybody on the machine to read",
            hint="name images without credentials; a registry's login belongs on the machine, by its role",
        )
    size = len(text.encode())
    if size > USER_DATA_MAX_BYTES:
        raise InvalidRequest(
            f"the first boot's script has {size} bytes, and clouds take {USER_DATA_MAX_BYTES}",
            hint="fewer services with images of their own in one pool",
        )
    return text


def secret_in(text: str) -> str:
    """What kind of secret the text seems to hold; empty: none."""
    return next((name for name, form in _SECRETS if form.search(text)), "")
