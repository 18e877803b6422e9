"""The journal played again: every recorded Decision is made once more, from what it was made from then."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fleetctl.controller.journal import Entry
from fleetctl.decide import budget
from fleetctl.decide.scaling import decide
from fleetctl.model.decisions import Decision, Memory
from fleetctl.model.names import ServiceName
from fleetctl.model.snapshots import Intent


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One Decision, as recorded and as made again."""

    recorded: Decision
    again: Decision
    intent: Intent
    memory: Memory
    """Before it."""

    @property
    def same(self) -> bool:
        return self.recorded == self.again


def replayed(entries: Iterable[Entry], *, service: ServiceName | None = None) -> Iterator[Replayed]:
    """Each recorded Decision of these entries (or of one Service), oldest first, beside the one made anew.

    Entries before the first that begins a stretch cannot be played, and are passed over.
    """
    intents: dict[ServiceName, Intent] = {}
    memories: dict[ServiceName, Memory] = {}
    for entry in entries:
        if entry.begin is not None:
            intents = {intent.service.name: intent for intent in entry.begin.intents}
            memories = dict(entry.begin.memories)
        for recorded in entry.decisions:
            intent = intents.get(recorded.service)
            if intent is None or recorded.inputs is None or service not in (None, recorded.service):
                continue
            before = memories.get(recorded.service, Memory())
            again, memories[recorded.service] = decide(intent, recorded.inputs, before)
            if recorded.stages and recorded.stages[-1].stage in budget.STAGES:
                # What the machines cost is looked at after every Service has decided, and is no part of its inputs.
                again = budget.bound(again, recorded.stages[-1])
            yield Replayed(recorded=recorded, again=again, intent=intent, memory=before)
