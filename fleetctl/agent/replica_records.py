"""What must not be forgotten of a Replica while the agent is away: on the disk at every change."""

import logging
import time
from dataclasses import dataclass, replace

from fleetctl.agent.disk import disk_failure
from fleetctl.agent.folder import Folder, read, write
from fleetctl.model.nodes import Call, ReplicaSpec
from fleetctl.model.replicas import Stage

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaRecord:
    """How far a Replica has come."""

    spec: ReplicaSpec
    """As its engine was started."""
    accepted_at: float
    stages: tuple[Stage, ...] = ()
    asleep: bool | None = False
    """None: it was asked to change and the answer is not known."""
    wake: tuple[Call, ...] = ()
    """What wakes it from the sleep that it was last sent to, whatever its spec says by now; empty: it is awake."""
    failure: str | None = None

    def stage(self, name: str) -> Stage | None:
        return next((stage for stage in self.stages if stage.name == name), None)

    def ended(self, name: str) -> bool:
        stage = self.stage(name)
        return stage is not None and stage.ended_at is not None

    @property
    def was_started(self) -> bool:
        """By an earlier life of the agent: until it is found, or found to be gone, it may run."""
        return self.stage("engine") is not None

    @property
    def was_ready(self) -> bool:
        return self.ended("engine") and (self.stage("warm_up") is None or self.ended("warm_up"))


class KeptRecord:
    """A Replica's record, found on the disk or begun there."""

    def __init__(self, spec: ReplicaSpec, folder: Folder) -> None:
        self._folder = folder
        found = read(folder.replica(spec.id), ReplicaRecord)
        self.found = found is not None
        """An earlier life of the agent began it."""
        self.now = found or ReplicaRecord(spec=spec, accepted_at=time.time())
        if found is None:
            self.keep(self.now)

    def keep(self, record: ReplicaRecord) -> None:
        self.now = record
        try:
            write(self._folder.replica(record.spec.id), record)
        except OSError as error:  # it lives on; only an agent that is started again now would know less of it
            what = f"the record of replica {record.spec.id}"
            log.warning("%s", disk_failure(what, error, self._folder.root).message)

    def end_stage(self, name: str, *, then: Stage | None = None) -> None:
        """Kept in one with the stage that follows: no crash comes between the two."""
        at = time.time()
        stages = tuple(
            replace(stage, ended_at=at) if stage.name == name and stage.ended_at is None else stage
            for stage in self.now.stages
        )
        self.keep(replace(self.now, stages=(*stages, then) if then is not None else stages))

    def forget(self) -> None:
        """Of a Replica that was removed."""
        self._folder.replica(self.now.spec.id).unlink(missing_ok=True)
