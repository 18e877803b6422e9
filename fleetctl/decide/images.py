"""Images by digest: what a name meant when the fleet first fetched it is what it means until nobody names it."""

from collections.abc import Iterable, Iterator, Mapping

from fleetctl.decide.feeds import Member, feeds
from fleetctl.model.images import image_name
from fleetctl.model.names import InstanceId
from fleetctl.model.nodes import Artifact, ArtifactState, ArtifactStatus, Feed, NodeStatus
from fleetctl.model.services import Service
from fleetctl.model.snapshots import Intent, Snapshot


def pins(snapshot: Snapshot) -> dict[str, str]:
    """Digest by name, of the images that any Service names by tag, up or down, now or in a revision that is kept.

    A name that was never fetched is absent. Of several Nodes that report one at once, the first by its identifier
    counts; what the others hold is fetched again by the digest.
    """
    named = {name for name in _named(snapshot.intents) if not image_name(name).digest}
    found = {name: digest for name, digest in snapshot.pins.items() if name in named}
    if len(found) == len(named):
        return found
    for instance in sorted(snapshot.nodes):
        status = snapshot.nodes[instance]
        if not isinstance(status, NodeStatus):
            continue
        for one in status.artifacts:
            if one.artifact.kind == "image" and one.digest and one.artifact.name in named:
                found.setdefault(one.artifact.name, one.digest)
    return found


def _named(intents: Iterable[Intent]) -> Iterator[str]:
    for intent in intents:
        services: list[Service] = [intent.service, *(revision.service for revision in intent.revisions)]
        for service in services:
            if service.image is not None:
                yield service.image


def image_feeds(artifact: Artifact, members: Iterable[Member], coming: frozenset[str]) -> dict[InstanceId, Feed]:
    """Who follows whom for an image. `coming`: zones in which further Nodes that want it are on their way.

    Only in chunks can an image be passed on, and a Node keeps it so only as long as a Feed says it is wanted: so the
    Nodes that have it in chunks get one too, with nobody to follow. Who has it in Docker alone takes no part.
    """
    usable = [member for member in members if not _apart(member)]
    found = feeds(artifact, usable)
    busy = {member.zone for member in usable if member.instance in found} | coming
    for member in usable:
        if member.zone in busy:
            found.setdefault(member.instance, Feed(artifact=artifact))
    return found


def _apart(member: Member) -> bool:
    """Whether it has the image, or fetches it, in a way that is of no use to others."""
    status = member.status
    if status is None or status.shared:
        return False
    return status.state is ArtifactState.PRESENT or (status.state is ArtifactState.FETCHING and bool(status.bytes_done))


def by_digest(status: ArtifactStatus) -> Artifact:
    """What a Node holds by the name that says its digest."""
    if status.artifact.kind != "image":
        return status.artifact
    return Artifact(kind="image", name=image_name(status.artifact.name).at(status.digest))


def unpinned(artifact: Artifact, pins: Mapping[str, str]) -> tuple[Artifact, ...]:
    """The Artifacts by tag that a Node may have begun before it was told the digest."""
    if artifact.kind != "image" or "@" not in artifact.name:
        return ()
    return tuple(
        Artifact(kind="image", name=name)
        for name, digest in pins.items()
        if image_name(name).at(digest) == artifact.name
    )
