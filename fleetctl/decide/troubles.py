"""What goes wrong on a Service's Nodes, as one sentence of what its Node says: told once, and shown while it lasts.

It changes no count: a Node goes on trying by itself. It is what a person reads in `ps`, `explain` and `events`.
"""

from collections.abc import Iterator, Sequence

from fleetctl.decide.desired import artifacts
from fleetctl.decide.draft import Draft
from fleetctl.decide.images import unpinned
from fleetctl.model.instances import Instance, InstancePhase, Wanted
from fleetctl.model.names import InstanceId, PoolName
from fleetctl.model.nodes import Artifact, ArtifactState, ArtifactStatus, NodeStatus
from fleetctl.model.signals import Unknown
from fleetctl.model.snapshots import Intent

SILENT_S = 60.0
"""A Node that has not answered for so long is spoken of. Most machines of one's own answer within seconds; a cloud's
that boots longer is worth a word, which says that it boots."""
KEYS_MOST = 16
"""Of one Service, told one by one: a registry that is down fails on every machine, and the seventeenth is no news."""
SAID_CHARS = 400
"""Of a failure: the sentence, without the screen of an engine's last words that may follow."""
_LAST_WORDS = "; its last words:"


def of_service(draft: Draft, intent: Intent, told: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """What is wrong now, empty: nothing; and the keys of all that was told and is not over, for the next tick."""
    if not intent.up:
        return "", ()
    sentences: list[str] = []
    keys: list[str] = []
    for name, failing in _ailing(draft, intent.service.pool_name):
        instance = draft.instances[name]
        if instance.wanted is Wanted.RUNNING:
            for key, said in _on(draft, instance, failing, intent):
                if key not in keys and len(keys) < KEYS_MOST:
                    keys.append(key)
                    if key not in told:
                        draft.say("warning", f"service/{intent.service.name}", said)
                sentences.append(said)
    return _in_one(sentences), tuple(keys)


def brief(said: str) -> str:
    """The first sentence of a failure, for one line."""
    line = said.partition("\n")[0].removesuffix(_LAST_WORDS)
    return line if len(line) <= SAID_CHARS else f"{line[:SAID_CHARS]}…"


def failed_on(instance: str | None, said: str) -> str:
    """`on i-1: …`, with the Node named once."""
    return f"on {instance}: {said.removeprefix(f'{instance}: ')}"


def _ailing(draft: Draft, pool: PoolName) -> list[tuple[InstanceId, tuple[ArtifactStatus, ...]]]:
    """The Pool's Nodes with which something is wrong, whatever Service it concerns, and what they fail to get."""
    if pool not in draft.ailing:
        found = draft.ailing[pool] = []
        for instance in draft.in_pool(pool):
            status = draft.snapshot.nodes.get(instance.id)
            held = status.artifacts if isinstance(status, NodeStatus) else ()
            failing = tuple(one for one in held if one.failure and one.state is not ArtifactState.PRESENT)
            if failing or isinstance(status, Unknown):
                found.append((instance.id, failing))
    return draft.ailing[pool]


def _on(
    draft: Draft, instance: Instance, failing: Sequence[ArtifactStatus], intent: Intent
) -> Iterator[tuple[str, str]]:
    """A key and a sentence for each thing that is wrong there."""
    status = draft.snapshot.nodes.get(instance.id)
    if isinstance(status, Unknown):
        if _concerns(draft, instance, intent) and draft.now - max(status.since, instance.phase_at) >= SILENT_S:
            why = status.reason + (f"; {status.hint}" if status.hint else "")
            yield f"{instance.id} silent", f"{instance.id} does not answer: {brief(why)}"
    else:
        names = _artifacts(draft, intent)
        for one in failing:
            if one.artifact in names:
                yield f"{instance.id} {one.artifact.kind} {one.artifact.name}", _of_artifact(instance, one)


def _concerns(draft: Draft, instance: Instance, intent: Intent) -> bool:
    """Whether the Service has something there, or waits for it to boot."""
    if instance.phase is InstancePhase.BOOTING:
        return True
    return any(replica.service == intent.service.name for replica in draft.on_instance(instance.id))


def _of_artifact(instance: Instance, status: ArtifactStatus) -> str:
    said = brief(status.failure or "")
    return said if instance.id in said else f"{instance.id}: {said}"


def _artifacts(draft: Draft, intent: Intent) -> frozenset[Artifact]:
    """Image and weights of every revision that is held, by all the names that a Node may have for them."""
    found: set[Artifact] = set()
    for name in draft.revisions_of(intent):
        for artifact in artifacts(intent.running(name) or intent.service, draft.pins):
            found.update((artifact, *unpinned(artifact, draft.pins)))
    return frozenset(found)


def _in_one(sentences: list[str]) -> str:
    if len(sentences) < 2:
        return sentences[0] if sentences else ""
    return f"{sentences[0]} (and {len(sentences) - 1} more: see fleetctl events)"
