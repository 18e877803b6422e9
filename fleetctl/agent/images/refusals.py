"""Why an image could not be had, as one sentence that names the node, the image and what to do."""

from typing import Literal

from fleetctl.errors import AgentFailure
from fleetctl.model.images import image_name

Kind = Literal["login", "missing", "busy", "damaged", "full", "platform", "other"]

_SIGNS: tuple[tuple[Kind, tuple[str, ...]], ...] = (
    ("full", ("no space left on device", "disk quota exceeded")),
    ("busy", ("toomanyrequests", "too many requests", "429", "rate limit")),
    ("damaged", ("verification failed", "digest mismatch", "did not match", "failed to verify", "unexpected digest")),
    ("platform", ("no matching manifest", "does not match the specified platform", "no match for platform")),
    ("login", ("denied", "unauthorized", "no basic auth", "authentication required", "403 forbidden", "401")),
    ("missing", ("manifest unknown", "name unknown", "not found", "does not exist", "404")),
)
"""Words of Docker, containerd and registries, lower case; the first that is found counts. A registry says `denied` also
of what does not exist, so that is looked for before `not found`."""

_SAID_CHARS = 300
"""Of what was said, in the sentence: Docker repeats whole addresses."""


class Refusal(AgentFailure):
    """An image that could not be had."""

    def __init__(self, message: str, *, kind: Kind, hint: str = "", after_s: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.kind: Kind = kind
        self.after_s = after_s
        """When the registry wants to be asked again, where it said so; seconds."""


def refusal(node: str, name: str, said: str, *, platform: str = "", after_s: float | None = None) -> Refusal:
    """`said`: by Docker or the registry; `platform`: of the node, as in `linux/arm64`."""
    low = said.lower()
    kind: Kind = next((kind for kind, signs in _SIGNS if any(sign in low for sign in signs)), "other")
    taken = image_name(name)
    where = taken.registry
    match kind:
        case "full":
            message = f"{node} has no room for image {name}: its disk is full"
            hint = "free space on the node, or write a larger disk_gb under the provider in kind: fleet"
        case "busy":
            message = f"{where} does not give image {name} to {node} now: too many requests (429)"
            hint = f"it is tried again; `docker login {where}` on the node or registry_mirrors in kind: fleet ease it"
        case "damaged":
            message = f"what {where} sent to {node} as image {name} is not what its digest says"
            hint = "it is fetched again; if it stays so, the copy at the registry or its mirror is damaged"
        case "platform":
            message = f"image {name} has no variant for {platform or 'the platform'} of {node}"
            hint = "name an image that is built for it, or another machine type"
        case "login":
            message = f"{where} does not let {node} have image {name}: {_short(said)}"
            hint = f"run `docker login {where}` on the node, give its machine a role that may, or correct image:"
        case "missing" if taken.digest:
            message = f"{where} has no {taken.path} with digest {taken.digest[:19]}…, which {node} was told to run"
            hint = "correct the digest in image:, or push that image again"
        case "missing":
            message = f"{where} has no image {name}, which {node} was told to run"
            hint = "correct image: in the service's file"
        case _:
            message = f"image {name} could not be pulled to {node}: {_short(said)}"
            hint = f"it is tried again; look at `docker pull {name}` on the node"
    return Refusal(message, kind=kind, hint=hint, after_s=after_s)


def _short(said: str) -> str:
    said = " ".join(said.split())
    return said if len(said) <= _SAID_CHARS else f"{said[:_SAID_CHARS]}…"
